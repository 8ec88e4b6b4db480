#pragma once
#include <rondel/checkpoint/durable_file.hpp>
#include <rondel/core/text.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace rondel {

/// Names a checkpoint in its folder. Trivially copyable, so that one rank can tell the others.
struct checkpoint_id {
  /// Counts the saves in the folder, those that failed too; the newest has the greatest.
  std::uint64_t serial = 0;
  /// Steps that were done.
  std::uint64_t step = 0;

  friend bool operator==(const checkpoint_id&, const checkpoint_id&) = default;
};

/// `"checkpoint-000003-step-1200"`, with which the names of its files begin.
[[nodiscard]] inline std::string to_string(const checkpoint_id& id) {
  std::string serial = std::to_string(id.serial);
  serial.insert(0, 6 - std::min<std::size_t>(6, serial.size()), '0');
  return concat("checkpoint-", serial, "-step-", id.step);
}

/// Name of the manifest of checkpoint `id`.
[[nodiscard]] inline std::string manifest_name(const checkpoint_id& id) {
  return to_string(id) + ".json";
}

/// Name of shard `index` of `count` of checkpoint `id`.
[[nodiscard]] inline std::string shard_name(const checkpoint_id& id, std::size_t index,
                                            std::size_t count) {
  return concat(to_string(id), "-shard-", index, "-of-", count, ".safetensors");
}

namespace detail {

// What a file in the folder is.
struct checkpoint_entry {
  checkpoint_id id;
  bool manifest = false;
  bool temporary = false;
};

// Takes a decimal number off `text`.
[[nodiscard]] inline std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return out;
}

[[nodiscard]] inline bool take(std::string_view& text, std::string_view expected) noexcept {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

// No folder sees as many saves; a greater number is none that this code gave.
inline constexpr std::uint64_t most_serial = 1'000'000'000'000;

// Nothing if the name is none that checkpoints give: such a file is never touched.
[[nodiscard]] inline std::optional<checkpoint_entry> parse_entry(const std::string& name) {
  checkpoint_entry out;
  std::string_view rest = name;
  if (rest.ends_with(temporary_suffix)) {
    out.temporary = true;
    rest.remove_suffix(temporary_suffix.size());
  }
  const std::string_view whole = rest;
  if (!take(rest, "checkpoint-")) return std::nullopt;
  const auto serial = take_number(rest);
  if (!serial || *serial > most_serial || !take(rest, "-step-")) return std::nullopt;
  const auto step = take_number(rest);
  if (!step) return std::nullopt;
  out.id = {*serial, *step};
  if (whole == manifest_name(out.id)) {
    out.manifest = true;
    return out;
  }
  if (!take(rest, "-shard-")) return std::nullopt;
  const auto index = take_number(rest);
  if (!index || !take(rest, "-of-")) return std::nullopt;
  const auto count = take_number(rest);
  if (!count || whole != shard_name(out.id, *index, *count)) return std::nullopt;
  return out;
}

}  // namespace detail
}  // namespace rondel
