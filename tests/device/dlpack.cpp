#include <rondel/device/array.hpp>
#include <rondel/device/dlpack.hpp>
#include <rondel/device/host.hpp>

#include "archetypes.hpp"
#include "stream.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#define RONDEL_TEST_DLPACK_HEADER 1
#endif

namespace dlpack = rondel::dlpack;
using conformance::thrown_by;
using rondel::from_dlpack;
using rondel::host_device;
using rondel::to_dlpack;
using shape_type = std::vector<std::int64_t>;

namespace {

constexpr dlpack::device cpu{dlpack::device_kind::cpu, 0};

// A tensor lent by somebody else, who counts how often it comes back.
template <class M>
struct lender {
  lender(void* data, dlpack::data_type type, shape_type extents,
         std::optional<shape_type> steps = std::nullopt)
      : shape(std::move(extents)), strides(std::move(steps)) {
    managed.dl_tensor = {.data = data,
                         .device = cpu,
                         .ndim = static_cast<std::int32_t>(shape.size()),
                         .dtype = type,
                         .shape = shape.empty() ? nullptr : shape.data(),
                         .strides = strides ? strides->data() : nullptr,
                         .byte_offset = 0};
    managed.manager_ctx = this;
    managed.deleter = [](M* self) { ++static_cast<lender*>(self->manager_ctx)->returned; };
    if constexpr (std::is_same_v<M, dlpack::managed_tensor_versioned>) {
      managed.version = {1, 0};
    }
  }
  lender(const lender&) = delete;
  lender& operator=(const lender&) = delete;

  [[nodiscard]] rondel::borrowed_tensor lend() { return from_dlpack(device, &managed); }
  // What the refusal says; it must have given the tensor back once.
  [[nodiscard]] std::string refusal() {
    const int before = returned;
    const std::string text = thrown_by([&] { const auto tensor = lend(); });
    CHECK(returned == before + 1);
    return text;
  }

  host_device device;
  shape_type shape;
  std::optional<shape_type> strides;
  M managed{};
  int returned = 0;
};

using versioned = lender<dlpack::managed_tensor_versioned>;
using legacy = lender<dlpack::managed_tensor>;

constexpr auto f32 = dlpack::type_of<float>;

template <class T>
shape_type listed(const T& values) {
  return {values.begin(), values.end()};
}

// A device whose memory has another name.
struct other_device : archetype::device {};

}  // namespace

template <>
struct rondel::dlpack_memory<other_device> {
  static dlpack::device id(const other_device&) { return {dlpack::device_kind::cuda, 1}; }
  static bool takes(const other_device&, dlpack::device id) {
    return id == dlpack::device{dlpack::device_kind::cuda, 1};
  }
};

static_assert(dlpack::managed_with_flags<dlpack::managed_tensor_versioned>);
static_assert(dlpack::managed<dlpack::managed_tensor>);
static_assert(!dlpack::managed_with_flags<dlpack::managed_tensor>);
static_assert(!dlpack::managed<dlpack::tensor>);
static_assert(rondel::lending_device<host_device>);
static_assert(rondel::lending_device<other_device>);
static_assert(!rondel::lending_device<archetype::device>);
static_assert(std::is_nothrow_move_constructible_v<rondel::borrowed_tensor>);
static_assert(!std::is_copy_constructible_v<rondel::borrowed_tensor>);

// The layout where pointers have 64 bits, which the Python packages rely on.
static_assert(sizeof(void*) != 8 ||
              (sizeof(dlpack::tensor) == 48 && sizeof(dlpack::managed_tensor) == 64 &&
               sizeof(dlpack::managed_tensor_versioned) == 80 &&
               offsetof(dlpack::managed_tensor_versioned, manager_ctx) == 8 &&
               offsetof(dlpack::managed_tensor_versioned, deleter) == 16 &&
               offsetof(dlpack::managed_tensor_versioned, flags) == 24 &&
               offsetof(dlpack::managed_tensor_versioned, dl_tensor) == 32));

#if defined(RONDEL_TEST_DLPACK_HEADER)
#define RONDEL_SAME(ours, our_member, official, official_member)                    \
  static_assert(offsetof(ours, our_member) == offsetof(official, official_member)); \
  static_assert(sizeof(ours::our_member) == sizeof(official::official_member))

RONDEL_SAME(dlpack::device, device_type, DLDevice, device_type);
RONDEL_SAME(dlpack::device, device_id, DLDevice, device_id);
RONDEL_SAME(dlpack::data_type, code, DLDataType, code);
RONDEL_SAME(dlpack::data_type, bits, DLDataType, bits);
RONDEL_SAME(dlpack::data_type, lanes, DLDataType, lanes);
RONDEL_SAME(dlpack::tensor, data, DLTensor, data);
RONDEL_SAME(dlpack::tensor, device, DLTensor, device);
RONDEL_SAME(dlpack::tensor, ndim, DLTensor, ndim);
RONDEL_SAME(dlpack::tensor, dtype, DLTensor, dtype);
RONDEL_SAME(dlpack::tensor, shape, DLTensor, shape);
RONDEL_SAME(dlpack::tensor, strides, DLTensor, strides);
RONDEL_SAME(dlpack::tensor, byte_offset, DLTensor, byte_offset);
RONDEL_SAME(dlpack::managed_tensor, dl_tensor, DLManagedTensor, dl_tensor);
RONDEL_SAME(dlpack::managed_tensor, manager_ctx, DLManagedTensor, manager_ctx);
RONDEL_SAME(dlpack::managed_tensor, deleter, DLManagedTensor, deleter);
static_assert(sizeof(dlpack::managed_tensor) == sizeof(DLManagedTensor));
static_assert(static_cast<int>(dlpack::device_kind::cpu) == kDLCPU);
static_assert(static_cast<int>(dlpack::device_kind::cuda) == kDLCUDA);
static_assert(static_cast<int>(dlpack::device_kind::cuda_host) == kDLCUDAHost);
static_assert(static_cast<int>(dlpack::device_kind::rocm) == kDLROCM);
static_assert(static_cast<int>(dlpack::device_kind::rocm_host) == kDLROCMHost);
static_assert(static_cast<int>(dlpack::device_kind::cuda_managed) == kDLCUDAManaged);
static_assert(static_cast<int>(dlpack::type_code::signed_integer) == kDLInt);
static_assert(static_cast<int>(dlpack::type_code::unsigned_integer) == kDLUInt);
static_assert(static_cast<int>(dlpack::type_code::floating) == kDLFloat);
static_assert(static_cast<int>(dlpack::type_code::opaque) == kDLOpaqueHandle);
static_assert(static_cast<int>(dlpack::type_code::bfloat) == kDLBfloat);
static_assert(static_cast<int>(dlpack::type_code::complex) == kDLComplex);
#if defined(DLPACK_MAJOR_VERSION)
RONDEL_SAME(dlpack::version_number, major, DLPackVersion, major);
RONDEL_SAME(dlpack::version_number, minor, DLPackVersion, minor);
RONDEL_SAME(dlpack::managed_tensor_versioned, version, DLManagedTensorVersioned, version);
RONDEL_SAME(dlpack::managed_tensor_versioned, manager_ctx, DLManagedTensorVersioned, manager_ctx);
RONDEL_SAME(dlpack::managed_tensor_versioned, deleter, DLManagedTensorVersioned, deleter);
RONDEL_SAME(dlpack::managed_tensor_versioned, flags, DLManagedTensorVersioned, flags);
RONDEL_SAME(dlpack::managed_tensor_versioned, dl_tensor, DLManagedTensorVersioned, dl_tensor);
static_assert(sizeof(dlpack::managed_tensor_versioned) == sizeof(DLManagedTensorVersioned));
static_assert(dlpack::version.major == DLPACK_MAJOR_VERSION);
static_assert(dlpack::flag_read_only == DLPACK_FLAG_BITMASK_READ_ONLY);
static_assert(static_cast<int>(dlpack::type_code::boolean) == kDLBool);
#endif

// Lends values in a structure M of the official header, and takes them back in one.
template <class M>
void check_official() {
  std::array<float, 3> values{1, 2, 3};
  std::int64_t extent = 3;
  int returned = 0;
  M official{};
  if constexpr (dlpack::managed_with_flags<M>) official.version.major = 1;
  official.dl_tensor.data = values.data();
  official.dl_tensor.device = {kDLCPU, 0};
  official.dl_tensor.ndim = 1;
  official.dl_tensor.dtype = {kDLFloat, 32, 1};
  official.dl_tensor.shape = &extent;
  official.manager_ctx = &returned;
  official.deleter = [](M* self) { ++*static_cast<int*>(self->manager_ctx); };
  const host_device device;
  {
    const rondel::borrowed_tensor lent = from_dlpack(device, &official);
    CHECK(lent.span<float>().data() == values.data());
    CHECK(lent.size() == 3);
  }
  CHECK(returned == 1);

  const auto owner = std::make_shared<int>();
  M* const given =
      to_dlpack<M>(device, rondel::device_span<float>(values.data(), 3), owner).release();
  CHECK(given->dl_tensor.data == values.data());
  CHECK(given->dl_tensor.shape[0] == 3);
  CHECK(given->dl_tensor.strides[0] == 1);
  CHECK(given->dl_tensor.dtype.code == kDLFloat);
  CHECK(given->dl_tensor.device.device_type == kDLCPU);
  if constexpr (dlpack::managed_with_flags<M>) CHECK(given->version.major == 1);
  given->deleter(given);
  CHECK(owner.use_count() == 1);
}

TEST_CASE("structures of the official header are taken and given") {
  check_official<DLManagedTensor>();
#if defined(DLPACK_MAJOR_VERSION)
  check_official<DLManagedTensorVersioned>();
#else
  MESSAGE("the installed dlpack/dlpack.h is older than version 1: DLManagedTensor only");
#endif
}
#else
TEST_CASE("the layout against the official header") {
  MESSAGE("skipped: dlpack/dlpack.h is not installed (Debian: libdlpack-dev)");
}
#endif

TEST_CASE_TEMPLATE("an array moves into a tensor and comes back in place", T, double, float,
                   rondel::bfloat16, rondel::float16, std::int64_t, std::int32_t, std::uint8_t,
                   std::int8_t, std::uint16_t, bool) {
  host_device device;
  auto stream = device.make_stream();
  auto array = rondel::make_array<T>(device, stream, 6);
  T* const address = array.span().data();
  stream.launch({}, [x = array.span()] {
    for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<T>(static_cast<float>(i));
  });
  auto tensor = to_dlpack(device, std::move(array), shape_type{2, 3});
  CHECK(array.size() == 0);
  CHECK(tensor->version.major == 1);
  CHECK(tensor->version.minor == 3);
  CHECK(tensor->flags == 0);
  CHECK(device.memory().live == 6 * sizeof(T));
  {
    const rondel::borrowed_tensor lent = from_dlpack(device, tensor.release());
    CHECK(lent.span<T>().data() == address);
    CHECK(listed(lent.shape()) == shape_type{2, 3});
    CHECK(listed(lent.strides()) == shape_type{3, 1});
    CHECK(lent.rank() == 2);
    CHECK(lent.size() == 6);
    CHECK(lent.device() == cpu);
    CHECK(lent.type() == dlpack::type_of<T>);
    if constexpr (rondel::element<T>) {
      CHECK(dlpack::element_type(lent.type()) == rondel::dtype_of<T>);
    } else {
      CHECK(!dlpack::element_type(lent.type()));
    }
    stream.launch({}, [x = lent.span<const T>()] {
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto expected = static_cast<T>(static_cast<float>(i));
        CHECK(static_cast<float>(x.data()[i]) == static_cast<float>(expected));
      }
    });
    stream.synchronize();
    CHECK(device.memory().allocations == 1);
  }
  CHECK(device.memory().live == 0);
}

TEST_CASE("what the types are called") {
  CHECK(dlpack::to_string(dlpack::type_of<float>) == "f32");
  CHECK(dlpack::to_string(dlpack::type_of<rondel::bfloat16>) == "bf16");
  CHECK(dlpack::to_string(dlpack::type_of<rondel::float16>) == "f16");
  CHECK(dlpack::to_string(dlpack::type_of<std::int64_t>) == "i64");
  CHECK(dlpack::to_string(dlpack::type_of<std::uint8_t>) == "u8");
  CHECK(dlpack::to_string(dlpack::type_of<bool>) == "bool8");
  CHECK(dlpack::to_string({dlpack::type_code::complex, 64, 1}) == "c64");
  CHECK(dlpack::to_string({dlpack::type_code::floating, 32, 4}) == "f32 x 4 lanes");
  CHECK(dlpack::to_string({static_cast<dlpack::type_code>(9), 8, 1}) == "code 9 of 8 bits");
  CHECK(dlpack::to_string({dlpack::device_kind::cuda, 2}) == "cuda:2");
  CHECK(dlpack::to_string({static_cast<dlpack::device_kind>(8), 0}) == "device type 8:0");
}

TEST_CASE_TEMPLATE("a loan ends exactly once", M, dlpack::managed_tensor,
                   dlpack::managed_tensor_versioned) {
  float value = 0;
  lender<M> one(&value, f32, {1}), two(&value, f32, {1});
  {
    auto a = one.lend();
    auto b = std::move(a);
    CHECK(b.size() == 1);
    CHECK(a.size() == 0);
    CHECK(a.rank() == 0);
    CHECK(one.returned == 0);
    b = two.lend();
    CHECK(one.returned == 1);
    CHECK(two.returned == 0);
  }
  CHECK(one.returned == 1);
  CHECK(two.returned == 1);

  one.managed.deleter = nullptr;
  CHECK(one.lend().size() == 1);
  CHECK(one.returned == 1);
  CHECK(thrown_by([&] { const auto none = from_dlpack(one.device, static_cast<M*>(nullptr)); }) ==
        "from_dlpack: the tensor is null");
}

TEST_CASE("a tensor that nobody took frees its memory") {
  host_device device;
  auto stream = device.make_stream();
  {
    const auto tensor = to_dlpack(device, rondel::make_array<float>(device, stream, 5));
    CHECK(device.memory().live == 20);
    CHECK(tensor->dl_tensor.ndim == 1);
    CHECK(tensor->dl_tensor.shape[0] == 5);
  }
  CHECK(device.memory().live == 0);
}

TEST_CASE("an array of a worker stream is freed on that stream, which the tensor keeps") {
  struct seat {
    host_device device{{.streams = rondel::stream_mode::worker}};
    rondel::host_stream stream = device.make_stream();
  };
  auto owner = std::make_shared<seat>();
  const std::weak_ptr<seat> watched = owner;
  auto array = rondel::make_array<int>(owner->device, owner->stream, 4);
  host_device& device = owner->device;
  auto tensor = to_dlpack(device, std::move(array), std::nullopt, std::move(owner));
  CHECK(!watched.expired());
  std::thread([taken = std::move(tensor)]() mutable { taken.reset(); }).join();
  CHECK(watched.expired());
}

TEST_CASE("a view keeps its owner alive for as long as it is lent") {
  host_device device;
  const auto owner = std::make_shared<std::vector<float>>(6, 2.0F);
  const rondel::device_span<float> span(owner->data(), owner->size());
  {
    const auto lent =
        from_dlpack(device, to_dlpack(device, span, owner, shape_type{3, 2}).release());
    CHECK(owner.use_count() == 2);
    CHECK(lent.span<float>().data() == owner->data());
    CHECK(!lent.read_only());
  }
  CHECK(owner.use_count() == 1);
  {
    const rondel::device_span<const float> constant = span;
    const auto lent = from_dlpack(device, to_dlpack(device, constant, owner).release());
    CHECK(lent.read_only());
    CHECK(lent.span<const float>().size() == 6);
    CHECK(thrown_by([&] { (void)lent.span<float>(); }) ==
          "borrowed_tensor: the tensor is read-only, ask for const f32");
  }
  CHECK(owner.use_count() == 1);
}

TEST_CASE("what is borrowed can be lent on") {
  float value = 4;
  versioned first(&value, f32, {1});
  {
    const auto lent = std::make_shared<rondel::borrowed_tensor>(first.lend());
    const auto again = to_dlpack(first.device, lent->span<float>(), lent);
    CHECK(again->dl_tensor.data == &value);
    CHECK(first.returned == 0);
  }
  CHECK(first.returned == 1);
}

TEST_CASE("what cannot be lent is refused, and stays as it was") {
  host_device device;
  auto stream = device.make_stream();
  auto array = rondel::make_array<float>(device, stream, 6);
  const auto refused = [&](const shape_type& shape) {
    const std::string text =
        thrown_by([&] { const auto tensor = to_dlpack(device, std::move(array), shape); });
    CHECK(array.size() == 6);
    return text;
  };
  CHECK(refused({2, 2}) == "to_dlpack: shape (2, 2) has 4 elements, the memory 6");
  CHECK(refused({}) == "to_dlpack: shape () has 1 elements, the memory 6");
  CHECK(refused({6, 0}) == "to_dlpack: shape (6, 0) has 0 elements, the memory 6");
  CHECK(refused({-2, -3}) == "to_dlpack: the shape is (-2, -3), extent 1 must not be negative");
  CHECK(thrown_by([&] { const auto tensor = to_dlpack(device, array.span(), nullptr); }) ==
        "to_dlpack: keep_alive is null, expected the owner of the elements");
  CHECK(device.memory().live == 24);
}

TEST_CASE_TEMPLATE("strides of null mean compact rows", M, dlpack::managed_tensor,
                   dlpack::managed_tensor_versioned) {
  std::array<float, 24> values{};
  lender<M> without(values.data(), f32, {2, 3, 4});
  const rondel::borrowed_tensor lent = without.lend();
  CHECK(listed(lent.strides()) == shape_type{12, 4, 1});
  CHECK(lent.contiguous());
  CHECK(lent.span<float>().size() == 24);
}

TEST_CASE("strides are kept, and rows that are not compact give no span") {
  std::array<float, 6> values{};
  const auto strided = [&](shape_type shape, shape_type strides) {
    versioned given(values.data(), f32, std::move(shape), std::move(strides));
    const auto lent = given.lend();
    CHECK(listed(lent.strides()) == *given.strides);
    CHECK(lent.data<float>() == values.data());
    std::size_t size = lent.size();
    const std::string text = thrown_by([&] { size = lent.span<float>().size(); });
    CHECK(size == lent.size());
    CHECK(lent.contiguous() == text.empty());
    return text;
  };
  CHECK(strided({2, 3}, {3, 1}).empty());
  CHECK(strided({2, 3}, {1, 2}) ==
        "borrowed_tensor: a tensor of shape (2, 3) and strides (1, 2) is not contiguous; use "
        "data() and the strides, or have the lender copy it");
  CHECK(!strided({3}, {2}).empty());
  CHECK(!strided({2, 3}, {0, 1}).empty());
  CHECK(!strided({3}, {-1}).empty());
  CHECK(!strided({2, 2}, {3, 1}).empty());
  // The stride of a dimension with one element moves to no other, and of none to none.
  CHECK(strided({1, 3}, {77, 1}).empty());
  CHECK(strided({3, 1}, {1, -9}).empty());
  CHECK(strided({0, 3}, {5, 7}).empty());
}

TEST_CASE("a scalar has rank 0 and one element") {
  double value = 7;
  versioned given(&value, dlpack::type_of<double>, {});
  const auto lent = given.lend();
  CHECK(lent.rank() == 0);
  CHECK(lent.size() == 1);
  CHECK(*lent.span<double>().data() == 7);

  const auto owner = std::make_shared<double>(3);
  const auto back =
      to_dlpack(given.device, rondel::device_span<double>(owner.get(), 1), owner, shape_type{});
  CHECK(back->dl_tensor.ndim == 0);
  CHECK(
      from_dlpack(given.device, to_dlpack(given.device, rondel::device_span<double>(owner.get(), 1),
                                          owner, shape_type{})
                                    .release())
          .size() == 1);
}

TEST_CASE("a tensor without elements needs no memory") {
  versioned given(nullptr, f32, {4, 0, 3});
  const auto lent = given.lend();
  CHECK(lent.size() == 0);
  CHECK(lent.contiguous());
  CHECK(lent.span<float>().empty());
  CHECK(listed(lent.strides()) == shape_type{3, 3, 1});

  auto stream = given.device.make_stream();
  const auto out =
      to_dlpack(given.device, rondel::make_array<float>(given.device, stream, 0), shape_type{0, 3});
  CHECK(out->dl_tensor.data == nullptr);
  CHECK(out->dl_tensor.shape[1] == 3);
}

TEST_CASE("the byte offset is added, and the alignment checked") {
  std::array<float, 4> values{0, 1, 2, 3};
  versioned given(values.data(), f32, {2});
  given.managed.dl_tensor.byte_offset = 8;
  CHECK(given.lend().span<float>().data() == values.data() + 2);
  given.managed.dl_tensor.byte_offset = 6;
  CHECK(thrown_by([&] { (void)given.lend().span<float>(); }) ==
        "borrowed_tensor: the elements start 2 bytes after a multiple of 4, where f32 cannot be "
        "read");
}

TEST_CASE("only the type of the elements is given out") {
  std::array<double, 4> memory{};
  const auto asked = [&]<class T>(dlpack::data_type type, T) {
    versioned given(memory.data(), type, {2});
    return thrown_by([&] { (void)given.lend().template span<T>(); });
  };
  CHECK(asked(f32, 1.0F).empty());
  CHECK(asked(f32, 1.0) == "borrowed_tensor: the elements are f32, not f64");
  CHECK(asked(dlpack::type_of<std::int32_t>, 1.0F) ==
        "borrowed_tensor: the elements are i32, not f32");
  CHECK(asked(dlpack::type_of<bool>, std::uint8_t{}) ==
        "borrowed_tensor: the elements are bool8, not u8");
  CHECK(asked(dlpack::type_of<rondel::float16>, rondel::bfloat16{}) ==
        "borrowed_tensor: the elements are f16, not bf16");
  CHECK(asked({dlpack::type_code::floating, 32, 2}, 1.0F) ==
        "borrowed_tensor: the elements are f32 x 2 lanes, not f32");
}

TEST_CASE("what cannot be borrowed is refused, and given back once") {
  std::array<float, 6> values{};
  {
    versioned given(values.data(), f32, {6});
    given.managed.version = {2, 1};
    given.managed.dl_tensor.ndim = -7;  // behind another layout nothing may be read
    CHECK(given.refusal() == "from_dlpack: the tensor is of DLPack 2.1, expected 1.x");
    given.managed.version = {0, 8};
    CHECK(given.refusal() == "from_dlpack: the tensor is of DLPack 0.8, expected 1.x");
    given.managed.version = {1, 99};
    CHECK(given.refusal() == "from_dlpack: the tensor has -7 dimensions and a shape");
    given.managed.dl_tensor.ndim = 1;
    CHECK(given.lend().size() == 6);
  }
  {
    versioned given(values.data(), f32, {6});
    given.managed.dl_tensor.device = {dlpack::device_kind::cuda, 2};
    CHECK(given.refusal() ==
          "from_dlpack: the tensor is in memory of cuda:2, which a device of cpu:0 cannot use");
    given.managed.dl_tensor.device = {dlpack::device_kind::cuda_host, 0};
    CHECK(given.lend().size() == 6);
  }
  {
    versioned given(values.data(), f32, {6});
    given.managed.dl_tensor.shape = nullptr;
    CHECK(given.refusal() == "from_dlpack: the tensor has 1 dimensions and no shape");
  }
  CHECK(versioned(nullptr, f32, {2, 3}).refusal() ==
        "from_dlpack: the tensor has 6 elements and no memory");
  CHECK(versioned(values.data(), f32, {2, -1}).refusal() ==
        "from_dlpack: the shape is (2, -1), extent 1 must not be negative");
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  CHECK(versioned(values.data(), f32, {most / 4 + 1}).refusal() ==
        "from_dlpack: (2305843009213693952) elements of 4 bytes are more than an address space");
  CHECK(versioned(values.data(), f32, {most, most}).refusal().find("more than an address space") !=
        std::string::npos);
}

TEST_CASE("another device takes and gives its own memory") {
  float value = 0;
  versioned given(&value, f32, {1});
  const other_device other;
  CHECK(thrown_by([&] { const auto lent = from_dlpack(other, &given.managed); }) ==
        "from_dlpack: the tensor is in memory of cpu:0, which a device of cuda:1 cannot use");
  const auto owner = std::make_shared<int>();
  auto tensor = to_dlpack(other, rondel::device_span<float>(&value, 1), owner);
  CHECK(dlpack::to_string(tensor->dl_tensor.device) == "cuda:1");
  CHECK(from_dlpack(other, tensor.release()).size() == 1);
}
