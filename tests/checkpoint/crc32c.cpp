#include <rondel/checkpoint/crc32c.hpp>

#include "support.hpp"

#include <string>
#include <vector>

using rondel::crc32c;

namespace {

// Bit by bit, by the definition.
std::uint32_t reference(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc % 2 * 0x82f63b78U);
  }
  return ~crc;
}

std::vector<std::byte> counting(int first, int step) {
  std::vector<std::byte> out;
  for (int i = 0; i < 32; ++i) out.push_back(static_cast<std::byte>(first + step * i));
  return out;
}

}  // namespace

TEST_CASE("checksums of the vectors in RFC 3720, appendix B.4") {
  CHECK(crc32c::of(counting(0, 0)) == 0x8a9136aa);
  CHECK(crc32c::of(counting(0xff, 0)) == 0x62a8ab43);
  CHECK(crc32c::of(counting(0, 1)) == 0x46dd794e);
  CHECK(crc32c::of(counting(31, -1)) == 0x113fdb5c);
  CHECK(crc32c::of(test::as_bytes("123456789")) == 0xe3069283);
  CHECK(crc32c::of({}) == 0);
}

TEST_CASE("tables and instruction agree with the definition, at any size and place") {
  const auto bytes = test::pattern(300, 7);
  for (std::size_t first = 0; first < 9; ++first) {
    for (std::size_t size = 0; size + first <= bytes.size(); size += size < 40 ? 1 : 17) {
      const auto part = std::span(bytes).subspan(first, size);
      const std::uint32_t expected = reference(part);
      CHECK(~rondel::detail::crc32c_by_tables(~0U, part.data(), part.size()) == expected);
#if defined(__x86_64__)
      if (rondel::detail::has_crc32c_instruction()) {
        CHECK(~rondel::detail::crc32c_by_instruction(~0U, part.data(), part.size()) == expected);
      } else {
        MESSAGE("skipped: this machine has no SSE4.2");
      }
#endif
      CHECK(crc32c::of(part) == expected);
    }
  }
}

TEST_CASE("a checksum in pieces is that of the whole") {
  const auto bytes = test::pattern(1000, 3);
  for (const std::size_t piece : {1U, 2U, 7U, 8U, 9U, 333U}) {
    crc32c sum;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      sum.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    CHECK(sum.value() == crc32c::of(bytes));
  }
}

TEST_CASE("checksums are written as eight digits and read back") {
  CHECK(rondel::detail::crc_text(0xab) == "000000ab");
  CHECK(rondel::detail::crc_value("000000ab") == 0xab);
  CHECK(rondel::detail::crc_value("ffffffff") == 0xffffffff);
  for (const char* text : {"", "0", "0000000", "000000000", "000000AB", "0x0000ab", "0000 0ab"}) {
    CHECK_FALSE(rondel::detail::crc_value(text));
  }
}
