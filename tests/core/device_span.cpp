#include <rondel/core/device_span.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

using rondel::device_span;

TEST_CASE("subspans inside the span") {
  std::vector<float> memory(8);
  const device_span<float> span(memory.data(), memory.size());
  CHECK(span.size() == 8);
  CHECK(span.size_bytes() == 32);
  CHECK(span.subspan(3, 4).data() == memory.data() + 3);
  CHECK(span.subspan(3, 4).size() == 4);
  CHECK(span.subspan(8, 0).empty());
  CHECK(span.subspan(8, 0).data() == memory.data() + 8);
  CHECK(span.first(8).size() == 8);
  CHECK(span.first(0).empty());
}

TEST_CASE("subspans that reach outside name their bounds") {
  std::vector<float> memory(8);
  const device_span<float> span(memory.data(), memory.size());
  CHECK_THROWS_AS((void)span.subspan(9, 0), rondel::invalid_argument);
  CHECK_THROWS_AS((void)span.subspan(0, 9), rondel::invalid_argument);
  CHECK_THROWS_AS((void)span.subspan(7, 2), rondel::invalid_argument);
  CHECK_THROWS_AS((void)span.subspan(SIZE_MAX, 2), rondel::invalid_argument);
  CHECK_THROWS_AS((void)span.subspan(2, SIZE_MAX), rondel::invalid_argument);
  CHECK_THROWS_AS((void)span.first(9), rondel::invalid_argument);
  try {
    (void)span.subspan(7, 2);
  } catch (const rondel::invalid_argument& e) {
    CHECK(std::string(e.what()) ==
          "device_span::subspan: elements [7, 7 + 2) are not inside a span of 8");
  }
}

TEST_CASE("an empty span") {
  const device_span<double> none;
  CHECK(none.empty());
  CHECK(none.data() == nullptr);
  CHECK(none.size_bytes() == 0);
  CHECK(none.subspan(0, 0).empty());
  CHECK_THROWS_AS((void)none.first(1), rondel::invalid_argument);
}

TEST_CASE("read-only views of the same elements") {
  std::vector<std::int32_t> memory(4);
  const device_span<std::int32_t> span(memory.data(), 4);
  const device_span<const std::int32_t> constant = span;
  CHECK(constant.data() == memory.data());
  CHECK(constant.size() == 4);
  static_assert(!std::is_convertible_v<device_span<const int>, device_span<int>>);
  static_assert(!std::is_convertible_v<device_span<int>, device_span<const long>>);
  static_assert(!std::is_constructible_v<device_span<std::byte>, device_span<int>>);
}

TEST_CASE("bytes of a span") {
  std::vector<std::int32_t> memory(4);
  const device_span<std::int32_t> span(memory.data(), 4);
  static_assert(std::is_same_v<decltype(as_bytes(span)), device_span<const std::byte>>);
  static_assert(std::is_same_v<decltype(as_writable_bytes(span)), device_span<std::byte>>);
  CHECK(as_bytes(span).size() == 16);
  CHECK(static_cast<const void*>(as_writable_bytes(span).data()) == memory.data());
}
