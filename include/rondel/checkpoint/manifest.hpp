#pragma once
#include <rondel/checkpoint/crc32c.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/json.hpp>
#include <rondel/core/text.hpp>
#include <rondel/core/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// A file of a checkpoint.
struct checkpoint_file {
  /// Name in the folder of the checkpoint.
  std::string name{};
  /// Number of bytes.
  std::uint64_t bytes = 0;
  /// `crc32c` of them.
  std::uint32_t checksum = 0;

  friend bool operator==(const checkpoint_file&, const checkpoint_file&) = default;
};

/// A named axis of the ranks that saved.
struct world_axis {
  /// `"data"`, for example.
  std::string name{};
  /// Ranks along it.
  std::uint64_t size = 1;

  friend bool operator==(const world_axis&, const world_axis&) = default;
};

/// What a checkpoint consists of.
struct checkpoint_manifest {
  /// Steps that were done.
  std::uint64_t step = 0;
  /// The ranks that saved, the slowest axis first.
  std::vector<world_axis> world{};
  /// The files.
  std::vector<checkpoint_file> files{};
  /// Whatever the saver wants to find again; UTF-8.
  std::map<std::string, std::string> metadata{};

  friend bool operator==(const checkpoint_manifest&, const checkpoint_manifest&) = default;
};

namespace detail {

inline constexpr std::string_view manifest_format = "rondel checkpoint 1";
inline constexpr std::string_view manifest_sum_field = "\"crc32c\": \"";
inline constexpr std::string_view manifest_end = "\"\n}\n";
inline constexpr std::size_t manifest_tail = manifest_sum_field.size() + 8 + manifest_end.size();

// Whether `name` is one file in a folder: neither a path nor the folder itself.
[[nodiscard]] inline bool is_file_name(std::string_view name) noexcept {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

[[nodiscard]] inline checkpoint_file parse_checkpoint_file(const json_value& value) {
  checkpoint_file out{.name = std::string(value.at("name").string()),
                      .bytes = value.at("bytes").unsigned_integer()};
  if (!is_file_name(out.name)) {
    throw invalid_data(concat(value.at("name").where(), " is ", in_quotes(out.name),
                              "; expected the name of a file, without a folder"));
  }
  const json_value sum = value.at("crc32c");
  const auto checksum = crc_value(sum.string());
  if (!checksum) {
    throw invalid_data(concat(sum.where(), " is ", in_quotes(sum.string()),
                              "; expected eight lower-case hexadecimal digits"));
  }
  out.checksum = *checksum;
  return out;
}

[[nodiscard]] inline std::uint32_t checksum_of_text(std::string_view text) noexcept {
  return crc32c::of(std::as_bytes(std::span(text)));
}

}  // namespace detail

/// `manifest` as JSON, with a checksum of itself as its last member. Throws `invalid_argument` if a
/// string is not UTF-8, a file's name is a path, or two files have the same.
[[nodiscard]] inline std::string to_json(const checkpoint_manifest& manifest) {
  std::string out = concat("{\n  \"format\": \"", detail::manifest_format,
                           "\",\n  \"step\": ", manifest.step, ",\n  \"world\": [");
  const auto append_string = [&](std::string_view text) {
    if (first_invalid_utf8(text) != text.size()) {
      throw invalid_argument(concat("manifest: ", detail::in_quotes(text), " is not UTF-8"));
    }
    detail::append_json_string(out, text);
  };
  for (const world_axis& axis : manifest.world) {
    out += &axis == manifest.world.data() ? "{\"axis\": " : ", {\"axis\": ";
    append_string(axis.name);
    out += concat(", \"size\": ", axis.size, "}");
  }
  out += "],\n  \"files\": [";
  std::set<std::string_view> names;
  for (const checkpoint_file& file : manifest.files) {
    if (!detail::is_file_name(file.name) || !names.insert(file.name).second) {
      throw invalid_argument(concat("manifest: ", detail::in_quotes(file.name),
                                    " is a path or there twice; expected different file names"));
    }
    out += names.size() == 1 ? "\n    {\"name\": " : ",\n    {\"name\": ";
    append_string(file.name);
    out += concat(", \"bytes\": ", file.bytes, ", \"crc32c\": \"", detail::crc_text(file.checksum),
                  "\"}");
  }
  out += "\n  ],\n  \"metadata\": {";
  bool first = true;
  for (const auto& [key, value] : manifest.metadata) {
    out += std::exchange(first, false) ? "\n    " : ",\n    ";
    append_string(key);
    out += ": ";
    append_string(value);
  }
  out += "\n  },\n  ";
  const std::uint32_t sum = detail::checksum_of_text(out);
  return concat(out, detail::manifest_sum_field, detail::crc_text(sum), detail::manifest_end);
}

/// Reads what `to_json` wrote; `what` names it in messages. A pure function.
///
/// Throws `invalid_data` if it is no such JSON, a member is missing or of another kind, a file's
/// name is a path or there twice, or the checksum is not that of the text.
[[nodiscard]] inline checkpoint_manifest parse_checkpoint_manifest(std::string_view text,
                                                                   std::string_view what) {
  const json_document document(text, std::string(what), {.depth = 3});
  const json_value root = document.root();
  if (const json_value format = root.at("format"); format.string() != detail::manifest_format) {
    throw invalid_data(concat(format.where(), " is ", detail::in_quotes(format.string()),
                              "; expected \"", detail::manifest_format, "\""));
  }
  checkpoint_manifest out;
  out.step = root.at("step").unsigned_integer();
  for (const json_value axis : root.at("world").array()) {
    out.world.push_back(
        {std::string(axis.at("axis").string()), axis.at("size").unsigned_integer()});
  }
  std::set<std::string_view> names;
  for (const json_value file : root.at("files").array()) {
    out.files.push_back(detail::parse_checkpoint_file(file));
    const std::string_view name = file.at("name").string();
    if (!names.insert(name).second) {
      throw invalid_data(concat(file.where(), " has the name ", detail::in_quotes(name), " again"));
    }
  }
  for (const json_value entry : root.at("metadata").object()) {
    out.metadata.emplace(entry.key(), entry.string());
  }
  const json_value sum = root.at("crc32c");
  const std::string_view tail =
      text.substr(text.size() < detail::manifest_tail ? 0 : text.size() - detail::manifest_tail);
  const std::string expected =
      concat(detail::manifest_sum_field,
             detail::crc_text(detail::checksum_of_text(text.substr(0, text.size() - tail.size()))),
             detail::manifest_end);
  if (tail != expected) {
    throw invalid_data(concat(sum.where(), " is ", detail::in_quotes(sum.string()),
                              ", which is not the checksum of the text before it"));
  }
  return out;
}

}  // namespace rondel
