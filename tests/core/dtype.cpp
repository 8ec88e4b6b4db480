#include <rondel/core/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

namespace {

template <class T>
bool is(rondel::dtype type, const char* name) {
  return rondel::dtype_of<T> == type && rondel::size_of(type) == sizeof(T) &&
         std::string(rondel::to_string(type)) == name;
}

}  // namespace

TEST_CASE("each element type has its name and size") {
  using rondel::dtype;
  CHECK(is<double>(dtype::f64, "f64"));
  CHECK(is<float>(dtype::f32, "f32"));
  CHECK(is<rondel::bfloat16>(dtype::bf16, "bf16"));
  CHECK(is<rondel::float16>(dtype::f16, "f16"));
  CHECK(is<std::int64_t>(dtype::i64, "i64"));
  CHECK(is<std::int32_t>(dtype::i32, "i32"));
  CHECK(is<std::uint8_t>(dtype::u8, "u8"));
}

TEST_CASE("nothing else is an element type") {
  static_assert(!rondel::element<bool> && !rondel::element<char> && !rondel::element<std::byte>);
  static_assert(!rondel::element<unsigned> && !rondel::element<std::int16_t>);
  static_assert(!rondel::element<std::uint64_t> && !rondel::element<long double>);
  static_assert(!rondel::element<const float> && !rondel::element<float&>);
  CHECK_FALSE(rondel::element<void>);
}
