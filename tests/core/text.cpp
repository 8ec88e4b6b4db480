#include <rondel/core/text.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using rondel::concat;
using rondel::format_bytes;

TEST_CASE("concat joins strings and numbers") {
  CHECK(concat() == "");
  CHECK(concat("rank ", 3, " of ", std::size_t{8}, std::string("!"), std::string_view("?")) ==
        "rank 3 of 8!?");
  CHECK(concat(true, false) == "truefalse");
  CHECK(concat(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
  CHECK(concat(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
  CHECK(concat(std::uint8_t{200}) == "200");
  CHECK(concat(1.5) == "1.500000");
}

TEST_CASE("bytes for a reader") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(1) == "1 B");
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(1024) == "1.0 KiB");
  CHECK(format_bytes(1536) == "1.5 KiB");
  CHECK(format_bytes(1ULL << 20) == "1.0 MiB");
  CHECK(format_bytes((1ULL << 30) * 32 / 10) == "3.2 GiB");
  CHECK(format_bytes(1ULL << 40) == "1.0 TiB");
  CHECK(format_bytes(std::numeric_limits<unsigned long long>::max()) == "16.0 EiB");
}

TEST_CASE("bytes never round up to 1024 of a unit") {
  CHECK(format_bytes((1ULL << 20) - 1) == "1.0 MiB");
  CHECK(format_bytes((1ULL << 30) - 1) == "1.0 GiB");
  CHECK(format_bytes(1024 * 1023) == "1023.0 KiB");
  CHECK(format_bytes(1024 * 1023 + 921) == "1023.9 KiB");
}
