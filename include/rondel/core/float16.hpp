#pragma once
#include <rondel/core/host_device.hpp>

#include <cstdint>

namespace rondel {
namespace detail {

// `std::bit_cast` is a host function to a CUDA compiler.
template <class To, class From>
[[nodiscard]] RONDEL_HOST_DEVICE constexpr To same_bits(From value) noexcept {
  return __builtin_bit_cast(To, value);
}

// Round to nearest, ties to even; a NaN stays a (quiet) NaN.
[[nodiscard]] RONDEL_HOST_DEVICE constexpr std::uint16_t bfloat16_bits(float value) noexcept {
  const auto bits = same_bits<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

[[nodiscard]] RONDEL_HOST_DEVICE constexpr float bfloat16_value(std::uint16_t bits) noexcept {
  return same_bits<float>(static_cast<std::uint32_t>(bits) << 16);
}

[[nodiscard]] RONDEL_HOST_DEVICE constexpr std::uint16_t float16_bits(float value) noexcept {
  const auto bits = same_bits<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // >= 65520
  if (magnitude < 0x38800000U) {
    // Subnormal: adding 0.5 shifts the value's units to the low bits, and rounds on the way.
    const float shifted = same_bits<float>(magnitude) + 0.5F;
    const auto low = same_bits<std::uint32_t>(shifted) - same_bits<std::uint32_t>(0.5F);
    return static_cast<std::uint16_t>(sign | low);
  }
  const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

[[nodiscard]] RONDEL_HOST_DEVICE constexpr float float16_value(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00U) {
    return same_bits<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  }
  if (magnitude >= 0x400U) return same_bits<float>(sign | ((magnitude << 13) + 0x38000000U));
  const float value = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -value : value;
}

}  // namespace detail

/// A float with 8 exponent and 7 fraction bits (bf16). Storage only: arithmetic happens in
/// `float`, and each conversion back rounds to nearest, ties to even.
class bfloat16 {
 public:
  /// Zero.
  constexpr bfloat16() noexcept = default;
  /// `value` rounded to nearest, ties to even.
  RONDEL_HOST_DEVICE constexpr explicit bfloat16(float value) noexcept
      : bits_(detail::bfloat16_bits(value)) {}
  /// The number with the representation `bits`.
  [[nodiscard]] RONDEL_HOST_DEVICE static constexpr bfloat16 from_bits(
      std::uint16_t bits) noexcept {
    bfloat16 out;
    out.bits_ = bits;
    return out;
  }
  /// The representation.
  [[nodiscard]] RONDEL_HOST_DEVICE constexpr std::uint16_t bits() const noexcept { return bits_; }
  /// The value, exactly.
  RONDEL_HOST_DEVICE constexpr operator float()
      const noexcept {  // NOLINT: lossless, as between built-in floats
    return detail::bfloat16_value(bits_);
  }

 private:
  std::uint16_t bits_ = 0;
};

/// An IEEE 754 binary16 float (f16). Storage only: arithmetic happens in `float`, and each
/// conversion back rounds to nearest, ties to even.
class float16 {
 public:
  /// Zero.
  constexpr float16() noexcept = default;
  /// `value` rounded to nearest, ties to even; beyond 65504 infinity.
  RONDEL_HOST_DEVICE constexpr explicit float16(float value) noexcept
      : bits_(detail::float16_bits(value)) {}
  /// The number with the representation `bits`.
  [[nodiscard]] RONDEL_HOST_DEVICE static constexpr float16 from_bits(std::uint16_t bits) noexcept {
    float16 out;
    out.bits_ = bits;
    return out;
  }
  /// The representation.
  [[nodiscard]] RONDEL_HOST_DEVICE constexpr std::uint16_t bits() const noexcept { return bits_; }
  /// The value, exactly.
  RONDEL_HOST_DEVICE constexpr operator float()
      const noexcept {  // NOLINT: lossless, as between built-in floats
    return detail::float16_value(bits_);
  }

 private:
  std::uint16_t bits_ = 0;
};

static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2);

}  // namespace rondel
