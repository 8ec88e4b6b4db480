#pragma once
#include <rondel/checkpoint/folder.hpp>
#include <rondel/checkpoint/safetensors_file.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace test {

// `count` bytes that depend on `salt`.
[[nodiscard]] inline std::vector<std::byte> pattern(std::size_t count, std::uint64_t salt) {
  std::vector<std::byte> out(count);
  std::uint64_t x = salt * 0x9e3779b97f4a7c15U + 1;
  for (std::byte& byte : out) {
    x = x * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(x >> 56);
  }
  return out;
}

[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// A safetensors file with the header `json`, as it is, and `data` bytes behind it.
[[nodiscard]] inline std::string file_with(std::string_view json, std::size_t data) {
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(json.size() >> (8 * i) & 0xffU);
  return out.append(json).append(data, 'x');
}

// Reads a whole file from memory; throws what a reader of the file would.
[[nodiscard]] inline rondel::safetensors_header parse_file(std::string_view file) {
  const std::uint64_t length = rondel::parse_safetensors_length(
      as_bytes(file).first(std::min<std::size_t>(8, file.size())), file.size(), "'f'");
  return rondel::parse_safetensors_header(file.substr(8, static_cast<std::size_t>(length)),
                                          file.size(), "'f'");
}

}  // namespace test
