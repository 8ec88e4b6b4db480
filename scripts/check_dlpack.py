#!/usr/bin/env python3
"""Lends tensors of NumPy, and of PyTorch where it is installed, to rondel and back.

The argument is the library that tests/dlpack/library.cpp becomes. Everything happens in the memory of the
lender: addresses, values, types, strides and the ends of the loans are compared.
"""

import ctypes
import gc
import json
import sys

import numpy

NAMES = {True: b"dltensor_versioned", False: b"dltensor"}
USED_NAMES = {True: b"used_dltensor_versioned", False: b"used_dltensor"}
VERSIONED_NUMPY = numpy.lib.NumpyVersion(numpy.__version__) >= "2.1.0"

capsule_new = ctypes.pythonapi.PyCapsule_New
capsule_new.restype = ctypes.py_object
capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype = ctypes.c_void_p
capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
capsule_is = ctypes.pythonapi.PyCapsule_IsValid
capsule_is.argtypes = [ctypes.py_object, ctypes.c_char_p]
capsule_rename = ctypes.pythonapi.PyCapsule_SetName
capsule_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


class Refused(Exception):
    pass


def load(path):
    library = ctypes.CDLL(path)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    signatures = {
        "error": (ctypes.c_char_p,),
        "live_bytes": (ctypes.c_uint64,),
        "borrow": (pointer, pointer, ctypes.c_int),
        "give_back": (None, pointer),
        "describe": (ctypes.c_char_p, pointer),
        "address_f64": (ctypes.c_uint64, pointer),
        "double_all": (ctypes.c_bool, pointer),
        "read_matrix": (ctypes.c_bool, pointer, pointer),
        "lend_on": (pointer, pointer, ctypes.c_int),
        "lend_counted": (pointer, integer, integer, ctypes.c_int),
        "end_loan": (None, pointer, ctypes.c_int),
    }
    for name, (result, *arguments) in signatures.items():
        getattr(library, name).restype = result
        getattr(library, name).argtypes = arguments
    return library


class Lender:
    """What numpy.from_dlpack and torch.from_dlpack take: a tensor that `make(versioned)` gives."""

    def __init__(self, library, make):
        self.library, self.make = library, make

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, *, max_version=None, **_):
        versioned = max_version is not None and max_version[0] >= 1
        tensor = self.make(versioned)
        if tensor is None:
            raise BufferError(self.library.error().decode())
        return capsule_new(tensor, NAMES[versioned], None)


class Borrowed(Lender):
    """A tensor that rondel borrows from `owner`."""

    def __init__(self, library, owner, versioned):
        self.handle = None
        super().__init__(library, lambda flags: library.lend_on(self.handle, flags))
        capsule = owner.__dlpack__(max_version=(1, 3)) if versioned else owner.__dlpack__()
        versioned = bool(capsule_is(capsule, NAMES[True]))
        tensor = capsule_pointer(capsule, NAMES[versioned])
        capsule_rename(capsule, USED_NAMES[versioned])
        self.handle = library.borrow(tensor, versioned)
        if self.handle is None:
            raise Refused(library.error().decode())

    def describe(self):
        return json.loads(self.library.describe(self.handle))

    def double(self):
        if not self.library.double_all(self.handle):
            raise Refused(self.library.error().decode())

    def close(self):
        self.library.give_back(self.handle)
        self.handle = None


def refusal(function):
    try:
        function()
    except Refused as refused:
        return str(refused)
    raise AssertionError("nothing was refused")


def check_numpy_types(library, versioned):
    """Each type in place: NumPy -> rondel, which doubles -> NumPy."""
    names = {"float64": "f64", "float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32", "uint8": "u8"}
    for name, ours in names.items():
        values = numpy.arange(6, dtype=name).reshape(2, 3)
        references = sys.getrefcount(values)
        borrowed = Borrowed(library, values, versioned)
        assert sys.getrefcount(values) == references + 1
        assert borrowed.describe() == {
            "type": ours, "device": "cpu:0", "shape": [2, 3], "strides": [3, 1], "read_only": False,
            "contiguous": True,
        }, borrowed.describe()
        borrowed.double()
        assert values.tolist() == [[0, 2, 4], [6, 8, 10]], values
        back = numpy.from_dlpack(borrowed)
        assert back.dtype == values.dtype and back.shape == (2, 3)
        assert back.ctypes.data == values.ctypes.data and numpy.shares_memory(back, values)
        values[1, 1] = 5
        assert back[1, 1] == 5
        borrowed.close()
        gc.collect()
        assert sys.getrefcount(values) == references + 1, "the array that came back keeps the loan"
        del back
        gc.collect()
        assert sys.getrefcount(values) == references, "a loan did not end"
    if VERSIONED_NUMPY:  # older ones lend no bool
        borrowed = Borrowed(library, numpy.array([True, False]), versioned)
        assert borrowed.describe()["type"] == "bool8"
        assert numpy.from_dlpack(borrowed).tolist() == [True, False]
        assert refusal(borrowed.double) == "cannot double bool8"
        borrowed.close()
    borrowed = Borrowed(library, numpy.zeros(2, dtype="complex64"), versioned)
    assert borrowed.describe()["type"] == "c64"
    assert not library.address_f64(borrowed.handle)
    assert library.error() == b"borrowed_tensor: the elements are c64, not f64"
    borrowed.close()


def check_numpy_shapes(library, versioned):
    """Scalars, empty tensors and strides of every sign."""
    for shape in [(), (1,), (0,), (3, 0), (2, 1, 3)]:
        values = numpy.ones(shape)
        borrowed = Borrowed(library, values, versioned)
        description = borrowed.describe()
        assert description["shape"] == list(shape) and description["contiguous"], description
        borrowed.double()
        assert numpy.all(values == 2)
        assert numpy.from_dlpack(borrowed).shape == shape
        borrowed.close()

    whole = numpy.arange(24, dtype="float64").reshape(4, 6)
    views = [whole, whole.T, whole[::2], whole[:, ::-1], whole[::-1, ::3], whole[1:2], whole[:, 2:3]]
    for view in views:
        borrowed = Borrowed(library, view, versioned)
        description = borrowed.describe()
        if view.size:
            assert library.address_f64(borrowed.handle) == view.ctypes.data
        assert description["contiguous"] == view.flags.c_contiguous, description
        assert description["strides"] == [stride // 8 for stride in view.strides]
        read = numpy.empty(view.shape)
        assert library.read_matrix(borrowed.handle, read.ctypes.data)
        assert numpy.array_equal(read, view)
        if not view.flags.c_contiguous:
            assert "is not contiguous" in refusal(borrowed.double)
        borrowed.close()


def check_numpy_read_only(library):
    values = numpy.arange(4, dtype="float32")
    values.flags.writeable = False
    references = sys.getrefcount(values)
    borrowed = Borrowed(library, values, True)
    assert borrowed.describe()["read_only"]
    assert refusal(borrowed.double) == "borrowed_tensor: the tensor is read-only, ask for const f32"
    back = numpy.from_dlpack(borrowed)
    assert not back.flags.writeable
    borrowed.close()
    del back
    assert sys.getrefcount(values) == references


def check_own_memory(library, from_dlpack):
    """rondel's memory is the consumer's until it lets go of it, and is freed once."""
    assert library.live_bytes() == 0
    tensor = from_dlpack(Lender(library, lambda flags: library.lend_counted(2, 3, flags)))
    assert library.live_bytes() == 24
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]
    part = tensor[1:]
    del tensor
    gc.collect()
    assert library.live_bytes() == 24
    assert part.tolist() == [[3, 4, 5]]
    del part
    gc.collect()
    assert library.live_bytes() == 0
    for versioned in (False, True):  # nobody takes it
        tensor = library.lend_counted(5, 2, versioned)
        assert library.live_bytes() == 40
        library.end_loan(tensor, versioned)
        assert library.live_bytes() == 0


def check_torch(library, torch, versioned):
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8"]
    ours = ["f64", "f32", "f16", "bf16", "i64", "i32", "u8"]
    for name, expected in zip(names, ours):
        values = torch.arange(6, dtype=getattr(torch, name)).reshape(2, 3)
        address = values.data_ptr()
        borrowed = Borrowed(library, values, versioned)
        assert borrowed.describe()["type"] == expected
        borrowed.double()
        assert values.tolist() == [[0, 2, 4], [6, 8, 10]]
        back = torch.from_dlpack(borrowed)
        assert back.dtype == values.dtype and back.data_ptr() == address
        del values
        borrowed.close()
        gc.collect()
        assert back.tolist() == [[0, 2, 4], [6, 8, 10]], "the loan keeps the memory"
        del back
    matrix = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    borrowed = Borrowed(library, matrix.T, versioned)
    assert borrowed.describe()["strides"] == [1, 3]
    assert "is not contiguous" in refusal(borrowed.double)
    borrowed.close()
    scalar = Borrowed(library, torch.tensor(3.0), versioned)
    scalar.double()
    assert torch.from_dlpack(scalar).item() == 6
    scalar.close()


def main():
    library = load(sys.argv[1])
    checked = [f"NumPy {numpy.__version__}"]
    kinds = [False, True] if VERSIONED_NUMPY else [False]
    for versioned in kinds:
        check_numpy_types(library, versioned)
        check_numpy_shapes(library, versioned)
    if VERSIONED_NUMPY:
        check_numpy_read_only(library)
    else:
        print(f"NumPy {numpy.__version__} is older than 2.1: tensors without version only")
    check_own_memory(library, numpy.from_dlpack)

    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: NumPy only")
    else:
        for versioned in kinds:
            check_torch(library, torch, versioned)
        check_own_memory(library, torch.from_dlpack)
        checked.append(f"PyTorch {torch.__version__}")
    assert library.live_bytes() == 0
    print(f"lent to rondel and back: {', '.join(checked)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
