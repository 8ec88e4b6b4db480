#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rondel {
namespace detail {

inline constexpr std::uint32_t replacement_character = 0xfffd;
inline constexpr std::uint32_t no_code_point = 0xffffffff;

// Takes the first code point off `text`, which is not empty. Of what is not UTF-8 it takes one byte
// and returns `no_code_point`.
[[nodiscard]] inline std::uint32_t take_code_point(std::string_view& text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  bool valid = length > 0 && length <= text.size();
  std::uint32_t point = length < 2 ? first : first & (0x7fU >> length);
  for (std::size_t i = 1; valid && i < length; ++i) {
    valid = (byte(i) & 0xc0U) == 0x80;
    point = point << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  valid = valid && point >= smallest[length] && point <= 0x10ffff && (point >> 11) != 0x1b;
  text.remove_prefix(valid ? length : 1);
  return valid ? point : no_code_point;
}

// The same; what is not UTF-8 comes out as the replacement character, one per byte.
[[nodiscard]] inline std::uint32_t next_code_point(std::string_view& text) noexcept {
  const std::uint32_t point = take_code_point(text);
  return point == no_code_point ? replacement_character : point;
}

inline void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&](std::uint32_t value) { out += static_cast<char>(value); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

// Number of code points in `text`.
[[nodiscard]] inline std::size_t code_points(std::string_view text) noexcept {
  std::size_t count = 0;
  for (; !text.empty(); ++count) static_cast<void>(next_code_point(text));
  return count;
}

// `text`, cut with an ellipsis to at most `limit` code points.
[[nodiscard]] inline std::string shortened(std::string_view text, std::size_t limit) {
  if (code_points(text) <= limit) return std::string(text);
  std::string out;
  for (std::size_t i = 0; i + 1 < limit; ++i) append_utf8(out, next_code_point(text));
  return out + "\xe2\x80\xa6";
}

// Appends `text` as a JSON string with its quotes.
inline void append_json_string(std::string& out, std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const std::uint32_t point = next_code_point(text);
    if (point == '"' || point == '\\') {
      out += '\\';
      append_utf8(out, point);
    } else if (point < 0x20) {
      out.append("\\u00").append(1, digits[point >> 4]).append(1, digits[point & 15]);
    } else {
      append_utf8(out, point);
    }
  }
  out += '"';
}

// `text` in a message: quoted, escaped as in JSON, and cut to what a reader can take in.
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  std::string out;
  append_json_string(out, shortened(text, 80));
  return out;
}

}  // namespace detail

/// Offset of the first byte of `text` that is not part of UTF-8 as RFC 3629 has it; the size of
/// `text` if all are.
[[nodiscard]] inline std::size_t first_invalid_utf8(std::string_view text) noexcept {
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t at = text.size() - rest.size();
    if (detail::take_code_point(rest) == detail::no_code_point) return at;
  }
  return text.size();
}

}  // namespace rondel
