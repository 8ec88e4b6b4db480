#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace rondel {
namespace detail {

// tables[k][b] is the remainder of byte `b` followed by `k` zero bytes: slicing by 8, after
// Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC
// Generators", 2005.
[[nodiscard]] inline std::array<std::array<std::uint32_t, 256>, 8> make_crc32c_tables() noexcept {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[k - 1][byte];
      tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xffU];
    }
  }
  return tables;
}

// Both advance the inverted checksum `crc` over `size` bytes.
[[nodiscard]] inline std::uint32_t crc32c_by_tables(std::uint32_t crc, const std::byte* data,
                                                    std::size_t size) noexcept {
  static const auto t = make_crc32c_tables();  // a constant would cost each compilation more
  const auto at = [](std::size_t table, std::uint32_t value, int shift) {
    return t[table][(value >> shift) & 0xffU];
  };
  if constexpr (std::endian::native == std::endian::little) {
    for (; size >= 8; data += 8, size -= 8) {
      std::uint32_t low = 0, high = 0;
      std::memcpy(&low, data, 4);
      std::memcpy(&high, data + 4, 4);
      low ^= crc;
      crc = at(7, low, 0) ^ at(6, low, 8) ^ at(5, low, 16) ^ at(4, low, 24) ^ at(3, high, 0) ^
            at(2, high, 8) ^ at(1, high, 16) ^ at(0, high, 24);
    }
  }
  for (; size > 0; ++data, --size) {
    crc = (crc >> 8) ^ t[0][(crc ^ std::to_integer<std::uint32_t>(*data)) & 0xffU];
  }
  return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
[[nodiscard]] inline bool has_crc32c_instruction() noexcept {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_SSE4_2) != 0;
  }();
  return has;
}

// The instruction of SSE4.2. Written as assembly, which needs no option of the compiler.
[[nodiscard]] inline std::uint32_t crc32c_by_instruction(std::uint32_t crc, const std::byte* data,
                                                         std::size_t size) noexcept {
  std::uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    __asm__("crc32q %1, %0" : "+r"(wide) : "rm"(word));
  }
  crc = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++data, --size) {
    const auto byte = std::to_integer<unsigned char>(*data);
    __asm__("crc32b %1, %0" : "+r"(crc) : "qm"(byte));
  }
  return crc;
}
#endif

}  // namespace detail

/// CRC-32C (Castagnoli), of bytes that may come in pieces.
///
/// Detects every error of up to 32 consecutive bits, and others but for one in 2^32. It protects
/// from accidents, not from people. Uses the instruction of x86-64 where there is one.
class crc32c {
 public:
  /// Goes on with `bytes`.
  void update(std::span<const std::byte> bytes) noexcept {
#if defined(__x86_64__) && defined(__GNUC__)
    if (detail::has_crc32c_instruction()) {
      state_ = detail::crc32c_by_instruction(state_, bytes.data(), bytes.size());
      return;
    }
#endif
    state_ = detail::crc32c_by_tables(state_, bytes.data(), bytes.size());
  }

  /// The checksum of all bytes so far.
  [[nodiscard]] std::uint32_t value() const noexcept { return ~state_; }

  /// The checksum of `bytes`.
  [[nodiscard]] static std::uint32_t of(std::span<const std::byte> bytes) noexcept {
    crc32c sum;
    sum.update(bytes);
    return sum.value();
  }

 private:
  std::uint32_t state_ = 0xffffffffU;
};

namespace detail {

// Eight lower-case hexadecimal digits, and back.
[[nodiscard]] inline std::string crc_text(std::uint32_t value) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out(8, '0');
  for (std::size_t i = 8; i-- > 0; value >>= 4) out[i] = digits[value & 15U];
  return out;
}

[[nodiscard]] inline std::optional<std::uint32_t> crc_value(std::string_view text) noexcept {
  if (text.size() != 8) return std::nullopt;
  std::uint32_t out = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) return std::nullopt;
    out = out << 4 | static_cast<std::uint32_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return out;
}

}  // namespace detail
}  // namespace rondel
