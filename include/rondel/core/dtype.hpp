#pragma once
#include <rondel/core/float16.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace rondel {

/// Element types that travel between ranks.
enum class dtype : std::uint8_t { f64, f32, bf16, f16, i64, i32, u8 };

/// Name of `type`, as a string literal: `"f32"`.
[[nodiscard]] constexpr const char* to_string(dtype type) noexcept {
  constexpr std::array<const char*, 7> names = {"f64", "f32", "bf16", "f16", "i64", "i32", "u8"};
  return names[static_cast<std::size_t>(type)];
}

/// Bytes of one element of `type`.
[[nodiscard]] constexpr std::size_t size_of(dtype type) noexcept {
  constexpr std::array<std::size_t, 7> sizes = {8, 4, 2, 2, 8, 4, 1};
  return sizes[static_cast<std::size_t>(type)];
}

/// A C++ type that is an element type: `double`, `float`, `bfloat16`, `float16`,
/// `std::int64_t`, `std::int32_t` or `std::uint8_t`.
template <class T>
concept element = std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, bfloat16> ||
    std::same_as<T, float16> || std::same_as<T, std::int64_t> || std::same_as<T, std::int32_t> ||
    std::same_as<T, std::uint8_t>;

/// The element type of the C++ type `T`.
template <element T>
inline constexpr dtype dtype_of = std::same_as<T, double>         ? dtype::f64
                                  : std::same_as<T, float>        ? dtype::f32
                                  : std::same_as<T, bfloat16>     ? dtype::bf16
                                  : std::same_as<T, float16>      ? dtype::f16
                                  : std::same_as<T, std::int64_t> ? dtype::i64
                                  : std::same_as<T, std::int32_t> ? dtype::i32
                                                                  : dtype::u8;

}  // namespace rondel
