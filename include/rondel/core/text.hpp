#pragma once
#include <concepts>
#include <string>
#include <string_view>

namespace rondel {
namespace detail {

inline void append_text(std::string& out, std::string_view text) { out += text; }

template <std::integral T>
void append_text(std::string& out, T value) {
  if constexpr (std::same_as<T, bool>) {
    out += value ? "true" : "false";
  } else {
    out += std::to_string(value);
  }
}

template <std::floating_point T>
void append_text(std::string& out, T value) {
  out += std::to_string(value);
}

}  // namespace detail

/// Joins strings and numbers into one string, in order, with nothing between them.
///
/// Serves error messages, where `<sstream>` would cost every includer a quarter of a second.
template <class... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::string out;
  (detail::append_text(out, parts), ...);
  return out;
}

/// `bytes` for a reader: `"512 B"`, `"1.5 KiB"`, `"3.2 GiB"`; one decimal above a KiB.
[[nodiscard]] inline std::string format_bytes(unsigned long long bytes) {
  constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= (unit == 0 ? 1024 : 1023.95) && unit < 6) {  // 1023.95 prints as 1024.0
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return concat(bytes, " B");
  auto tenths = static_cast<unsigned long long>(value * 10 + 0.5);
  return concat(tenths / 10, ".", tenths % 10, " ", units[unit]);
}

}  // namespace rondel
