#pragma once
#include <rondel/core/dtype.hpp>
#include <rondel/core/text.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

/// The structures of DLPack 1.3 (https://dmlc.github.io/dlpack), bit for bit and with its names
/// of members. Those of the official header can stand wherever these do.
namespace rondel::dlpack {

/// `DLPackVersion`.
struct version_number {
  /// Structures of another major version are laid out differently.
  std::uint32_t major;
  /// A minor version adds codes only.
  std::uint32_t minor;
};

/// The version that the structures here are of.
inline constexpr version_number version{1, 3};

/// `DLDeviceType`: kinds of memory. These have a name here, others are just numbers.
enum class device_kind : std::int32_t {
  /// Of the host.
  cpu = 1,
  /// Of an NVIDIA GPU.
  cuda = 2,
  /// Of the host, pinned by CUDA.
  cuda_host = 3,
  /// Of an AMD GPU.
  rocm = 10,
  /// Of the host, pinned by ROCm.
  rocm_host = 11,
  /// Migrates between host and GPU.
  cuda_managed = 13,
};

/// `DLDevice`: whose memory it is.
struct device {
  /// Kind of memory.
  device_kind device_type;
  /// Which of that kind; 0 for the host.
  std::int32_t device_id;

  /// Equality.
  friend constexpr bool operator==(device, device) = default;
};

/// `DLDataTypeCode`: kinds of numbers. These have a name here, others are just numbers.
enum class type_code : std::uint8_t {
  /// Two's complement.
  signed_integer = 0,
  /// Without sign.
  unsigned_integer = 1,
  /// IEEE 754.
  floating = 2,
  /// A handle.
  opaque = 3,
  /// bfloat16.
  bfloat = 4,
  /// Two of IEEE 754.
  complex = 5,
  /// 0 or 1.
  boolean = 6,
};

/// `DLDataType`: the type of an element.
struct data_type {
  /// Kind of number.
  type_code code;
  /// Bits of one number.
  std::uint8_t bits;
  /// Numbers of one element; more than 1 for vector types.
  std::uint16_t lanes;

  /// Equality.
  friend constexpr bool operator==(data_type, data_type) = default;
};

/// `DLTensor`: a view of memory.
struct tensor {
  /// Start of the memory; may be null if there are no elements.
  void* data;
  /// Whose memory it is.
  dlpack::device device;
  /// Number of dimensions.
  std::int32_t ndim;
  /// Type of the elements.
  data_type dtype;
  /// `ndim` extents; may be null if there are none.
  std::int64_t* shape;
  /// `ndim` distances in elements. Null, before version 1.2, for compact rows.
  std::int64_t* strides;
  /// Bytes from `data` to the first element.
  std::uint64_t byte_offset;
};

/// `DLManagedTensor`, from before version 1: Python's capsule "dltensor".
struct managed_tensor {
  /// The view.
  tensor dl_tensor;
  /// The lender's own.
  void* manager_ctx;
  /// Ends the loan and destroys `self`; may be null.
  void (*deleter)(managed_tensor* self);
};

/// `DLManagedTensorVersioned`: Python's capsule "dltensor_versioned".
struct managed_tensor_versioned {
  /// What the lender's structure is of.
  version_number version;
  /// The lender's own.
  void* manager_ctx;
  /// Ends the loan and destroys `self`; may be null.
  void (*deleter)(managed_tensor_versioned* self);
  /// Bits `flag_*`.
  std::uint64_t flags;
  /// The view.
  tensor dl_tensor;
};

/// Flag: the borrower must not write.
inline constexpr std::uint64_t flag_read_only = 1;

/// A structure that carries ownership: one of those here or of the official header.
template <class M>
concept managed = std::is_class_v<M> && requires(M m) {
  requires std::same_as<decltype(m.manager_ctx), void*>;
  requires std::same_as<decltype(m.deleter), void (*)(M*)>;
  requires sizeof(m.dl_tensor) == sizeof(tensor);
};

/// One that carries a version and flags too.
template <class M>
concept managed_with_flags = managed<M> && requires(M m) {
  requires std::same_as<decltype(m.flags), std::uint64_t>;
  requires sizeof(m.version) == sizeof(version_number);
};

/// Ends a loan.
struct end_loan {
  /// Calls the lender's deleter, if it gave one.
  template <managed M>
  void operator()(M* tensor) const noexcept {
    if (tensor->deleter != nullptr) tensor->deleter(tensor);
  }
};

/// A tensor on its way to a borrower, who takes it by `release()`.
template <managed M>
using managed_ptr = std::unique_ptr<M, end_loan>;

/// A C++ type whose arrays can be lent: an element type, an integer or `bool`.
template <class T>
concept exchangeable = element<T> || std::integral<T>;

/// The type of an element `T`.
template <exchangeable T>
inline constexpr data_type type_of = [] {
  constexpr auto bits = static_cast<std::uint8_t>(8 * sizeof(T));
  if constexpr (std::same_as<T, bool>) return data_type{type_code::boolean, bits, 1};
  if constexpr (std::same_as<T, bfloat16>) return data_type{type_code::bfloat, bits, 1};
  if constexpr (!std::integral<T>) return data_type{type_code::floating, bits, 1};
  return data_type{std::is_signed_v<T> ? type_code::signed_integer : type_code::unsigned_integer,
                   bits, 1};
}();

/// rondel's name of `type`; none if rondel has no such element type.
[[nodiscard]] constexpr std::optional<rondel::dtype> element_type(data_type type) noexcept {
  if (type == type_of<double>) return rondel::dtype::f64;
  if (type == type_of<float>) return rondel::dtype::f32;
  if (type == type_of<bfloat16>) return rondel::dtype::bf16;
  if (type == type_of<float16>) return rondel::dtype::f16;
  if (type == type_of<std::int64_t>) return rondel::dtype::i64;
  if (type == type_of<std::int32_t>) return rondel::dtype::i32;
  if (type == type_of<std::uint8_t>) return rondel::dtype::u8;
  return std::nullopt;
}

/// `type` for a reader: `"f32"`, `"bool8"`, `"i64 x 4 lanes"`, `"code 9 of 8 bits"`.
[[nodiscard]] inline std::string to_string(data_type type) {
  constexpr std::array<const char*, 7> names = {"i", "u", "f", "opaque", "bf", "c", "bool"};
  const auto code = static_cast<unsigned>(type.code);
  std::string text = code < names.size()
                         ? concat(names[code], unsigned{type.bits})
                         : concat("code ", code, " of ", unsigned{type.bits}, " bits");
  if (type.lanes != 1) text += concat(" x ", unsigned{type.lanes}, " lanes");
  return text;
}

/// `where` for a reader: `"cuda:1"`, or `"device type 7:0"` where it has no name here.
[[nodiscard]] inline std::string to_string(device where) {
  const auto name = [&]() -> std::string {
    switch (where.device_type) {
      case device_kind::cpu:
        return "cpu";
      case device_kind::cuda:
        return "cuda";
      case device_kind::cuda_host:
        return "cuda_host";
      case device_kind::rocm:
        return "rocm";
      case device_kind::rocm_host:
        return "rocm_host";
      case device_kind::cuda_managed:
        return "cuda_managed";
    }
    return concat("device type ", static_cast<std::int32_t>(where.device_type));
  };
  return concat(name(), ":", where.device_id);
}

}  // namespace rondel::dlpack
