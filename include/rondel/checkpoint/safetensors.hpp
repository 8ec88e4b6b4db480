#pragma once
#include <rondel/core/dtype.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/json.hpp>
#include <rondel/core/text.hpp>
#include <rondel/core/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// Element types that a safetensors file can name.
enum class tensor_dtype : std::uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

namespace detail {

struct tensor_dtype_entry {
  const char* name;
  unsigned bits;
  std::optional<dtype> element;
};

inline constexpr std::array<tensor_dtype_entry, 22> tensor_dtypes = {{
    {"BOOL", 8, std::nullopt},
    {"F4", 4, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"U8", 8, dtype::u8},
    {"I8", 8, std::nullopt},
    {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},
    {"I16", 16, std::nullopt},
    {"U16", 16, std::nullopt},
    {"F16", 16, dtype::f16},
    {"BF16", 16, dtype::bf16},
    {"I32", 32, dtype::i32},
    {"U32", 32, std::nullopt},
    {"F32", 32, dtype::f32},
    {"C64", 64, std::nullopt},
    {"F64", 64, dtype::f64},
    {"I64", 64, dtype::i64},
    {"U64", 64, std::nullopt},
}};

}  // namespace detail

/// Name of `type` in a file: `"F32"`.
[[nodiscard]] constexpr const char* to_string(tensor_dtype type) noexcept {
  return detail::tensor_dtypes[static_cast<std::size_t>(type)].name;
}

/// Bits of one element of `type`: 4 or 6 for the small floats, 8 for `boolean`.
[[nodiscard]] constexpr unsigned bits_of(tensor_dtype type) noexcept {
  return detail::tensor_dtypes[static_cast<std::size_t>(type)].bits;
}

/// The element type of rondel with the same bits and meaning, if there is one.
[[nodiscard]] constexpr std::optional<dtype> element_of(tensor_dtype type) noexcept {
  return detail::tensor_dtypes[static_cast<std::size_t>(type)].element;
}

/// The type of a file for the element type `type`.
[[nodiscard]] constexpr tensor_dtype file_dtype(dtype type) noexcept {
  for (std::size_t i = 0; i < detail::tensor_dtypes.size(); ++i) {
    if (detail::tensor_dtypes[i].element == type) return static_cast<tensor_dtype>(i);
  }
  return tensor_dtype::u8;  // not reached: every element type is in the table
}

/// One tensor of a safetensors file.
struct tensor_info {
  /// Name, unique in the file; UTF-8.
  std::string name{};
  /// Element type.
  tensor_dtype type = tensor_dtype::f32;
  /// Sizes, the slowest first; none for a scalar.
  std::vector<std::uint64_t> shape{};
  /// First byte of the tensor, counted from the first byte after the header.
  std::uint64_t offset = 0;
  /// Number of bytes.
  std::uint64_t bytes = 0;

  friend bool operator==(const tensor_info&, const tensor_info&) = default;
};

/// What a safetensors file says of itself.
struct safetensors_header {
  /// The tensors, in the order of their bytes.
  std::vector<tensor_info> tensors;
  /// The entries of `__metadata__`.
  std::map<std::string, std::string> metadata;
  /// Bytes before the first tensor: the length field and the header.
  std::uint64_t data_offset = 0;
  /// Bytes of all tensors.
  std::uint64_t data_bytes = 0;
};

/// The most bytes that the header of a safetensors file may have.
inline constexpr std::uint64_t most_safetensors_header_bytes = 100'000'000;

namespace detail {

inline constexpr std::string_view metadata_key = "__metadata__";

// The bytes of a tensor, or what is wrong with its shape.
struct tensor_size {
  std::uint64_t bytes = 0;
  std::string problem{};
};

[[nodiscard]] inline std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i == 8) return concat(out, ", ... ", shape.size(), " sizes]");
    out += concat(i == 0 ? "" : ", ", shape[i]);
  }
  return out + "]";
}

[[nodiscard]] inline tensor_size size_of_tensor(tensor_dtype type,
                                                std::span<const std::uint64_t> shape) {
  const auto described = [&] { return concat(to_string(type), " ", shape_text(shape)); };
  std::uint64_t bits = bits_of(type);
  // A size of zero makes the whole zero, and the other sizes must fit all the same.
  std::uint64_t product = 1;
  for (const std::uint64_t size : shape) {
    if (__builtin_mul_overflow(product, size == 0 ? 1 : size, &product)) {
      return {0, concat(described(), " has more elements than 64 bits can count")};
    }
  }
  const bool empty = std::find(shape.begin(), shape.end(), 0U) != shape.end();
  if (empty) return {};
  if (__builtin_mul_overflow(bits, product, &bits)) {
    return {0, concat(described(), " has more bits than 64 bits can count")};
  }
  if (bits % 8 != 0) return {0, concat(described(), " is not a whole number of bytes")};
  return {bits / 8, {}};
}

[[nodiscard]] inline tensor_dtype parse_tensor_dtype(const json_value& value) {
  const std::string_view name = value.string();
  for (std::size_t i = 0; i < tensor_dtypes.size(); ++i) {
    if (name == tensor_dtypes[i].name) return static_cast<tensor_dtype>(i);
  }
  throw invalid_data(concat(value.where(), " is ", in_quotes(name), ", which is no element type"));
}

[[nodiscard]] inline tensor_info parse_tensor(const json_value& value, std::uint64_t data_bytes) {
  tensor_info out;
  out.name = value.key();
  for (const json_value member : value.object()) {
    const std::string_view key = member.key();
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      throw invalid_data(
          concat(member.where(), " is not expected; a tensor has dtype, shape and data_offsets"));
    }
  }
  out.type = parse_tensor_dtype(value.at("dtype"));
  const json_value shape = value.at("shape").array();
  out.shape.reserve(shape.size());
  for (const json_value size : shape) out.shape.push_back(size.unsigned_integer());

  const json_value offsets = value.at("data_offsets").array();
  if (offsets.size() != 2) {
    throw invalid_data(concat(offsets.where(), " has ", offsets.size(),
                              " elements; expected 2, the first byte and the one after the last"));
  }
  auto next = offsets.begin();
  out.offset = (*next).unsigned_integer();
  const std::uint64_t end = (*++next).unsigned_integer();
  if (end < out.offset || end > data_bytes) {
    throw invalid_data(concat(offsets.where(), " is [", out.offset, ", ", end,
                              "]; expected a range inside the ", data_bytes,
                              " B that follow the header"));
  }
  const tensor_size size = size_of_tensor(out.type, out.shape);
  if (!size.problem.empty()) throw invalid_data(concat(value.where(), ": ", size.problem));
  out.bytes = size.bytes;
  if (end - out.offset != out.bytes) {
    throw invalid_data(concat(value.where(), ": ", to_string(out.type), " ", shape_text(out.shape),
                              " takes ", out.bytes, " B, but data_offsets are ", end - out.offset,
                              " B apart"));
  }
  return out;
}

}  // namespace detail

/// The length of the header in a file of `file_bytes` that begins with `prefix`. `what` names the
/// file in messages. Throws `invalid_data` if the file is too short for any header, or the length
/// is more than the file or `most_safetensors_header_bytes` allow.
[[nodiscard]] inline std::uint64_t parse_safetensors_length(std::span<const std::byte> prefix,
                                                            std::uint64_t file_bytes,
                                                            std::string_view what) {
  if (file_bytes < 8 || prefix.size() < 8) {
    throw invalid_data(
        concat(what, ": the file has ", file_bytes, " B, not even the 8 of the header's length"));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;)
    length = length << 8 | std::to_integer<std::uint64_t>(prefix[i]);
  if (length > most_safetensors_header_bytes) {
    throw invalid_data(concat(what, ": the header's length is ", length, " B; at most ",
                              most_safetensors_header_bytes, " are allowed"));
  }
  if (length > file_bytes - 8) {
    throw invalid_data(concat(what, ": the header's length is ", length, " B, but only ",
                              file_bytes - 8, " B follow it"));
  }
  return length;
}

/// Reads the header `text` of a file of `file_bytes`. `what` names the file in messages. A pure
/// function: looks at nothing else.
///
/// Throws `invalid_data` unless the text is a JSON object without white space before it, with
/// spaces at most behind it; every tensor has a known type, a size that fits its range, and no
/// other member; the ranges follow each other without holes or overlaps from the end of the header
/// to the end of the file; and `__metadata__` holds strings.
[[nodiscard]] inline safetensors_header parse_safetensors_header(std::string_view text,
                                                                 std::uint64_t file_bytes,
                                                                 std::string_view what) {
  if (file_bytes < 8 || text.size() > file_bytes - 8) {
    throw invalid_data(concat(what, ": a header of ", text.size(), " B is not inside a file of ",
                              file_bytes, " B"));
  }
  if (!text.starts_with('{')) {
    throw invalid_data(concat(what, ": the header does not begin with '{'"));
  }
  const std::size_t behind = text.find_last_not_of(' ');
  if (text[behind] != '}') {
    throw invalid_data(concat(what, ": the header does not end with '}' and spaces"));
  }
  safetensors_header out;
  out.data_offset = 8 + text.size();
  out.data_bytes = file_bytes - out.data_offset;
  const json_document document(
      text, std::string(what),
      {.bytes = most_safetensors_header_bytes, .depth = 3, .values = 1U << 22});
  for (const json_value entry : document.root()) {
    if (entry.key() == detail::metadata_key) {
      for (const json_value text_entry : entry.object()) {
        out.metadata.emplace(text_entry.key(), text_entry.string());
      }
    } else {
      out.tensors.push_back(detail::parse_tensor(entry, out.data_bytes));
    }
  }
  // Empty tensors come before the one that begins where they lie.
  std::stable_sort(out.tensors.begin(), out.tensors.end(),
                   [](const tensor_info& a, const tensor_info& b) {
                     return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
                   });
  std::uint64_t end = 0;
  for (const tensor_info& tensor : out.tensors) {
    if (tensor.offset != end) {
      throw invalid_data(concat(what, ": tensor ", detail::in_quotes(tensor.name),
                                " begins at byte ", tensor.offset,
                                ", but the one before it ends at ", end,
                                tensor.offset < end ? ": they overlap" : ": there is a hole"));
    }
    end += tensor.bytes;
  }
  if (end != out.data_bytes) {
    throw invalid_data(concat(what, ": the tensors end at byte ", end, " of ", out.data_bytes,
                              " B that follow the header"));
  }
  return out;
}

/// Places `tensors` one after the other in the given order, and returns the bytes of a file up to
/// the first tensor; the header is filled up with spaces to a multiple of 8 bytes. Sets `offset`
/// and `bytes` of each tensor.
///
/// Throws `invalid_argument` if a name or an entry of `metadata` is not UTF-8, a name is there
/// twice or is `__metadata__`, a size does not fit, or the header gets longer than readers allow.
[[nodiscard]] inline std::string make_safetensors_header(
    std::vector<tensor_info>& tensors, const std::map<std::string, std::string>& metadata) {
  const auto refuse = [](std::string_view problem) {
    throw invalid_argument(concat("safetensors: ", problem));
  };
  const auto check_text = [&](std::string_view role, std::string_view text) {
    if (first_invalid_utf8(text) != text.size()) {
      refuse(concat(role, " ", detail::in_quotes(text), " is not UTF-8"));
    }
  };
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      check_text("the metadata key", key);
      check_text("the metadata value", value);
      if (json.back() != '{') json += ',';
      detail::append_json_string(json, key);
      json += ':';
      detail::append_json_string(json, value);
    }
    json += '}';
  }
  std::vector<std::string_view> names;
  std::uint64_t end = 0;
  for (tensor_info& tensor : tensors) {
    check_text("the tensor name", tensor.name);
    names.push_back(tensor.name);
    const detail::tensor_size size = detail::size_of_tensor(tensor.type, tensor.shape);
    if (!size.problem.empty()) refuse(concat(detail::in_quotes(tensor.name), ": ", size.problem));
    tensor.offset = end;
    tensor.bytes = size.bytes;
    if (__builtin_add_overflow(end, tensor.bytes, &end) ||
        end > std::numeric_limits<std::uint64_t>::max() / 2) {
      refuse(concat(detail::in_quotes(tensor.name), ": the file gets longer than any can be"));
    }
    if (json.back() != '{') json += ',';
    detail::append_json_string(json, tensor.name);
    json += concat(":{\"dtype\":\"", to_string(tensor.type), "\",\"shape\":[");
    for (const std::uint64_t one : tensor.shape) {
      if (json.back() != '[') json += ',';
      json += std::to_string(one);
    }
    json += concat("],\"data_offsets\":[", tensor.offset, ",", end, "]}");
  }
  json += '}';
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    refuse(concat("two tensors have the name ", detail::in_quotes(*twice)));
  }
  if (std::binary_search(names.begin(), names.end(), detail::metadata_key)) {
    refuse("a tensor has the name \"__metadata__\", which the format keeps for itself");
  }
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > most_safetensors_header_bytes) {
    refuse(concat("the header has ", json.size(), " B; readers accept at most ",
                  most_safetensors_header_bytes));
  }
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(json.size() >> (8 * i) & 0xffU);
  return out + json;
}

}  // namespace rondel
