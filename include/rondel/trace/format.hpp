#pragma once
#include <rondel/core/text.hpp>
#include <rondel/core/utf8.hpp>

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
