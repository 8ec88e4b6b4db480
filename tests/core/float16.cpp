#include <rondel/core/float16.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::bfloat16;
using rondel::float16;

// The value of a bit pattern by the definition of the format, in double, where it is exact.
double defined_value(unsigned bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = static_cast<int>(bits) & ((1 << fraction_bits) - 1);
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

struct bf16 {
  using type = bfloat16;
  static constexpr int exponent_bits = 8;
};
struct f16 {
  using type = float16;
  static constexpr int exponent_bits = 5;
};

// All finite values that are not negative, in order, then the value that infinity stands for
// in rounding: the next one, were there a larger exponent.
template <class Format>
std::vector<double> positive_values() {
  constexpr unsigned infinity = ((1U << Format::exponent_bits) - 1) << (15 - Format::exponent_bits);
  std::vector<double> out;
  for (unsigned bits = 0; bits < infinity; ++bits) {
    out.push_back(defined_value(bits, Format::exponent_bits));
  }
  out.push_back(out.back() + (out.back() - out[out.size() - 2]));
  return out;
}

// Nearest by search among all values; of two at the same distance, the one with even bits.
template <class Format>
unsigned nearest_bits(float value, const std::vector<double>& values) {
  const unsigned sign = std::signbit(value) ? 0x8000U : 0;
  const double wanted = std::fabs(static_cast<double>(value));
  const auto above = std::lower_bound(values.begin(), values.end(), wanted);
  if (above == values.end()) return sign | static_cast<unsigned>(values.size() - 1);
  const auto high = static_cast<unsigned>(above - values.begin());
  if (*above == wanted) return sign | high;
  const double to_high = *above - wanted;
  const double to_low = wanted - values[high - 1];
  if (to_high == to_low) return sign | (high % 2 == 0 ? high : high - 1);
  return sign | (to_high < to_low ? high : high - 1);
}

template <class Format>
std::uint64_t wrong_roundings(const std::vector<float>& inputs) {
  const std::vector<double> values = positive_values<Format>();
  std::uint64_t wrong = 0;
  for (const float input : inputs) {
    if (typename Format::type(input).bits() != nearest_bits<Format>(input, values)) {
      if (wrong++ == 0) {
        MESSAGE("first wrong rounding: ", input, " gives ", typename Format::type(input).bits());
      }
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE_TEMPLATE("every bit pattern has the value of its format", Format, bf16, f16) {
  int wrong = 0;
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const float value = Format::type::from_bits(static_cast<std::uint16_t>(bits));
    const double expected = defined_value(bits, Format::exponent_bits);
    const bool same = std::isnan(expected) ? std::isnan(value)
                                           : static_cast<double>(value) == expected &&
                                                 std::signbit(value) == std::signbit(expected);
    if (!same) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("every bit pattern survives the way through float", Format, bf16, f16) {
  using type = typename Format::type;
  int wrong = 0;
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const auto before = type::from_bits(static_cast<std::uint16_t>(bits));
    const type after(static_cast<float>(before));
    const bool nan = std::isnan(static_cast<float>(before));
    const bool same = nan ? std::isnan(static_cast<float>(after)) &&
                                ((before.bits() ^ after.bits()) & 0x8000U) == 0
                          : before.bits() == after.bits();
    if (!same) ++wrong;
  }
  CHECK(wrong == 0);
}

// A rounding is monotone, so that its value at, just below and just above the middle of every
// two neighbours decides it everywhere.
TEST_CASE_TEMPLATE("rounding is to nearest, ties to even, between all neighbours", Format, bf16,
                   f16) {
  const std::vector<double> values = positive_values<Format>();
  std::vector<float> inputs;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    const double middle = (values[i] + values[i + 1]) / 2;
    const auto tie = static_cast<float>(middle);
    REQUIRE(static_cast<double>(tie) == middle);
    for (const float x : {static_cast<float>(values[i]), tie, std::nextafter(tie, 0.0F),
                          std::nextafter(tie, std::numeric_limits<float>::infinity())}) {
      inputs.push_back(x);
      inputs.push_back(-x);
    }
  }
  CHECK(inputs.size() > 200'000);
  CHECK(wrong_roundings<Format>(inputs) == 0);
}

TEST_CASE_TEMPLATE("rounding of random floats", Format, bf16, f16) {
  std::mt19937 random(1);
  std::vector<float> inputs;
  while (inputs.size() < 500'000) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isnan(x)) inputs.push_back(x);
  }
  CHECK(wrong_roundings<Format>(inputs) == 0);
}

TEST_CASE("boundaries of binary16") {
  CHECK(float16(65504.0F).bits() == 0x7bff);
  CHECK(float16(65519.996F).bits() == 0x7bff);
  CHECK(float16(65520.0F).bits() == 0x7c00);
  CHECK(float16(-65520.0F).bits() == 0xfc00);
  CHECK(float16(0x1p-14F).bits() == 0x0400);
  CHECK(float16(0x1p-24F).bits() == 0x0001);
  CHECK(float16(0x1p-25F).bits() == 0x0000);  // half of the least: a tie, to even
  CHECK(float16(0x1.000002p-25F).bits() == 0x0001);
  CHECK(float16(0x1.8p-24F).bits() == 0x0002);
  CHECK(float16(-0.0F).bits() == 0x8000);
  CHECK(float16(std::numeric_limits<float>::denorm_min()).bits() == 0);
}

TEST_CASE("boundaries of bfloat16") {
  constexpr float largest = std::numeric_limits<float>::max();
  CHECK(bfloat16(largest).bits() == 0x7f80);  // beyond the middle to infinity
  CHECK(bfloat16(std::bit_cast<float>(0x7f7f0000U)).bits() == 0x7f7f);
  CHECK(bfloat16(std::bit_cast<float>(0x7f7f7fffU)).bits() == 0x7f7f);
  CHECK(bfloat16(std::bit_cast<float>(0x7f7f8000U)).bits() == 0x7f80);
  CHECK(bfloat16(std::numeric_limits<float>::denorm_min()).bits() == 0);
  CHECK(bfloat16(std::bit_cast<float>(0x00008001U)).bits() == 1);
  CHECK(bfloat16(-0.0F).bits() == 0x8000);
}

TEST_CASE_TEMPLATE("infinities and NaN of both signs", Format, bf16, f16) {
  using type = typename Format::type;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(static_cast<float>(type(infinity)) == infinity);
  CHECK(static_cast<float>(type(-infinity)) == -infinity);
  for (const std::uint32_t bits : {0x7fc00000U, 0x7f800001U, 0x7fffffffU, 0x7f80ffffU}) {
    for (const std::uint32_t sign : {0U, 0x80000000U}) {
      CAPTURE(bits);
      const type nan(std::bit_cast<float>(bits | sign));
      CHECK(std::isnan(static_cast<float>(nan)));
      CHECK((nan.bits() & 0x8000U) == sign >> 16);
    }
  }
}

TEST_CASE("conversions are constant expressions and default to zero") {
  static_assert(float16(1.5F).bits() == 0x3e00 && float16::from_bits(0x3e00) == 1.5F);
  static_assert(bfloat16(1.5F).bits() == 0x3fc0 && bfloat16::from_bits(0x3fc0) == 1.5F);
  static_assert(float16(0x1p-24F).bits() == 1 && float16::from_bits(1) == 0x1p-24F);
  static_assert(float16().bits() == 0 && bfloat16().bits() == 0);
  static_assert(!std::is_convertible_v<float, float16> && !std::is_convertible_v<float, bfloat16>);
  CHECK(float16() == 0.0F);
  CHECK(bfloat16() == 0.0F);
}

#if defined(__FLT16_MAX__) && defined(__GNUC__) && !defined(__clang__)
TEST_CASE("binary16 rounds as the compiler's own type does") {
  std::mt19937 random(2);
  std::uint64_t wrong = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(x)) continue;
    const auto theirs = static_cast<_Float16>(x);
    if (std::bit_cast<std::uint16_t>(theirs) != float16(x).bits()) ++wrong;
  }
  CHECK(wrong == 0);
}
#endif
