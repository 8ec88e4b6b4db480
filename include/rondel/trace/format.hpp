#pragma once
#include <rondel/core/text.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rondel {
namespace detail {

// The absolute value; <cmath> would cost a fifth of a header's time to compile.
[[nodiscard]] constexpr double magnitude(double value) noexcept {
  return value < 0 ? -value : value;
}

// Appends `value` with at most `decimals` digits after the point, whatever the locale, without
// trailing zeros. A value that is not finite becomes 0.
inline void append_number(std::string& out, double value, int decimals) {
  char buffer[400];
  if (value - value != 0) value = 0;
  const auto written =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, decimals);
  std::string_view digits(buffer, static_cast<std::size_t>(written.ptr - buffer));
  if (digits.find('.') != std::string_view::npos) {
    while (digits.back() == '0') digits.remove_suffix(1);
    if (digits.back() == '.') digits.remove_suffix(1);
  }
  out += digits == "-0" ? "0" : digits;
}

// `value` to three significant digits: "0.123", "1.23", "12.3", "123", "1234".
[[nodiscard]] inline std::string three_digits(double value) {
  const double size = magnitude(value);
  std::string out;
  append_number(out, value, size < 0.9995 ? 3 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
  return out;
}

inline constexpr std::uint32_t replacement_character = 0xfffd;

// Takes the first code point off `text`, which is not empty. What is not UTF-8 comes out as the
// replacement character, one per byte.
[[nodiscard]] inline std::uint32_t next_code_point(std::string_view& text) noexcept {
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
  return valid ? point : replacement_character;
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

// Appends `text` as XML character data, also fit for attributes. Characters that XML cannot
// hold become the replacement character.
inline void append_xml(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::uint32_t point = next_code_point(text);
    switch (point) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '\t':
        out += "&#9;";
        break;
      case '\n':
        out += "&#10;";
        break;
      case '\r':
        out += "&#13;";
        break;
      default:
        append_utf8(out, point < 0x20 || point == 0xfffe || point == 0xffff ? replacement_character
                                                                            : point);
    }
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

}  // namespace detail

/// `seconds` for a reader, with three digits: `"1.23 s"`, `"45.6 ms"`, `"7 us"`, `"120 ns"`.
[[nodiscard]] inline std::string format_seconds(double seconds) {
  const double size = detail::magnitude(seconds);
  if (size == 0) return "0 s";
  if (size >= 0.9995) return concat(detail::three_digits(seconds), " s");
  if (size >= 0.9995e-3) return concat(detail::three_digits(seconds * 1e3), " ms");
  if (size >= 0.9995e-6) return concat(detail::three_digits(seconds * 1e6), " us");
  return concat(detail::three_digits(seconds * 1e9), " ns");
}

/// `per_second` of `unit` for a reader, with three digits: `"1.23 TFLOP/s"` for the unit
/// `"FLOP"`.
[[nodiscard]] inline std::string format_rate(double per_second, std::string_view unit) {
  constexpr std::string_view prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t prefix = 0;
  while (detail::magnitude(per_second) >= 999.5 && prefix < 6) {
    per_second /= 1000;
    ++prefix;
  }
  return concat(detail::three_digits(per_second), " ", prefixes[prefix], unit, "/s");
}

}  // namespace rondel
