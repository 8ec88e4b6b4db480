#include <rondel/core/reduction.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include <doctest/doctest.h>

namespace {

struct first_of_two {
  int operator()(int a, int) const { return a; }
};
struct named {
  static constexpr const char* name = "named";
  float operator()(float a, float b) const { return a * b; }
};
struct move_only {
  move_only() = default;
  move_only(move_only&&) = default;
  move_only& operator=(move_only&&) = default;
  float operator()(float a, float b) const { return a + b; }
};

}  // namespace

TEST_CASE("sums of integers wrap around") {
  using i64 = std::numeric_limits<std::int64_t>;
  using i32 = std::numeric_limits<std::int32_t>;
  constexpr rondel::sum add;
  CHECK(add(i64::max(), std::int64_t{1}) == i64::min());
  CHECK(add(i64::min(), std::int64_t{-1}) == i64::max());
  CHECK(add(i32::max(), 1) == i32::min());
  CHECK(add(i32::min(), i32::min()) == 0);
  CHECK(add(std::uint8_t{200}, std::uint8_t{100}) == 44);
  CHECK(add(1.5, 2.25) == 3.75);
  CHECK(rondel::mean{}(i32::max(), 1) == i32::min());
  static_assert(std::is_same_v<decltype(add(std::uint8_t{1}, std::uint8_t{1})), std::uint8_t>);
}

TEST_CASE("largest and smallest") {
  CHECK(rondel::max{}(2, 3) == 3);
  CHECK(rondel::max{}(3, 2) == 3);
  CHECK(rondel::min{}(2, 3) == 2);
  CHECK(rondel::min{}(-1.0F, 1.0F) == -1.0F);
  CHECK(rondel::max{}(rondel::bfloat16(1.0F), rondel::bfloat16(2.0F)) == 2.0F);
}

TEST_CASE("a mean is divided once, towards zero for integers") {
  using rondel::detail::finish;
  CHECK(finish(rondel::mean{}, 7.0F, 2) == 3.5F);
  CHECK(finish(rondel::mean{}, std::int32_t{7}, 2) == 3);
  CHECK(finish(rondel::mean{}, std::int32_t{-7}, 2) == -3);
  CHECK(finish(rondel::mean{}, std::int64_t{-9}, 4) == -2);
  CHECK(finish(rondel::mean{}, std::numeric_limits<std::int64_t>::min(), 1) ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(finish(rondel::sum{}, 7.0F, 2) == 7.0F);
  static_assert(rondel::detail::has_finish<rondel::mean> &&
                !rondel::detail::has_finish<rondel::sum>);
}

TEST_CASE("a mean over more ranks than the element type can count") {
  CHECK(rondel::detail::finish(rondel::mean{}, std::uint8_t{255}, 256) == 0);
  CHECK(rondel::detail::finish(rondel::mean{}, std::uint8_t{255}, 257) == 0);
}

TEST_CASE("16-bit floats are kept in float by the built-in reductions") {
  using rondel::detail::accumulator_t;
  static_assert(std::is_same_v<accumulator_t<rondel::sum, rondel::bfloat16>, float>);
  static_assert(std::is_same_v<accumulator_t<rondel::max, rondel::float16>, float>);
  static_assert(std::is_same_v<accumulator_t<rondel::sum, double>, double>);
  static_assert(std::is_same_v<accumulator_t<named, rondel::bfloat16>, rondel::bfloat16>);
  CHECK(rondel::detail::element_cast<rondel::bfloat16>(1.00390625F) == 1.0F);
}

TEST_CASE("names of reductions") {
  using rondel::detail::reduction_name;
  CHECK(std::string(reduction_name(rondel::sum{})) == "sum");
  CHECK(std::string(reduction_name(rondel::mean{})) == "mean");
  CHECK(std::string(reduction_name(rondel::max{})) == "max");
  CHECK(std::string(reduction_name(rondel::min{})) == "min");
  CHECK(std::string(reduction_name(named{})) == "named");
  CHECK(std::string(reduction_name(first_of_two{})) == "user");
  CHECK(std::string(reduction_name(rondel::in_rank_order(rondel::sum{}))) == "sum");
}

TEST_CASE("what is a reduction") {
  using rondel::reduction;
  static_assert(reduction<rondel::sum, rondel::bfloat16> && reduction<rondel::mean, std::uint8_t>);
  static_assert(reduction<rondel::in_rank_order<rondel::sum>, float>);
  static_assert(reduction<named, float> && reduction<rondel::in_rank_order<named>, float>);
  static_assert(!reduction<rondel::sum, short> && !reduction<rondel::sum, bool>);
  static_assert(!reduction<int, float> && !reduction<move_only, float>);
  CHECK(reduction<first_of_two, std::int32_t>);
}
