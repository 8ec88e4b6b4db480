#include <rondel/checkpoint/manifest.hpp>
#include <rondel/checkpoint/name.hpp>

#include "message_of.hpp"
#include "support.hpp"

#include <limits>
#include <string>
#include <string_view>

using rondel::checkpoint_manifest;
using rondel::invalid_data;
using rondel::to_json;
using test::message_of;

namespace {

const checkpoint_manifest sample{
    .step = 12,
    .world = {{"data", 2}, {"tensor", 4}},
    .files = {{"a.safetensors", 100, 0xab}, {"\xe2\x82\xac \"b\"", ~std::uint64_t{0}, 0}},
    .metadata = {{"--lr", "0.0035"}, {"\n", "\xf0\x9d\x84\x9e"}}};

std::string problem_of(std::string_view text) {
  std::string out = message_of<invalid_data>(
      [&] { static_cast<void>(rondel::parse_checkpoint_manifest(text, "'m'")); });
  if (out.starts_with("'m': ")) out.erase(0, 5);
  return out;
}

// The sample with a part replaced, and the checksum that the new text needs.
std::string problem_with(const std::string& from, const std::string& to) {
  std::string text = to_json(sample);
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  const std::size_t field = text.rfind("\"crc32c\": \"");
  REQUIRE(field != std::string::npos);
  const std::string sum = rondel::detail::crc_text(
      rondel::detail::checksum_of_text(std::string_view(text).substr(0, field)));
  return problem_of(text.replace(field + 11, 8, sum));
}

}  // namespace

TEST_CASE("a manifest comes back as it was written") {
  CHECK(rondel::parse_checkpoint_manifest(to_json(sample), "m") == sample);
  const checkpoint_manifest least;
  CHECK(rondel::parse_checkpoint_manifest(to_json(least), "m") == least);
  CHECK(to_json({.step = 1,
                 .world = {{"data", 1}},
                 .files = {{"f", 3, 0xab}},
                 .metadata = {{"a", "b"}}}) ==
        R"({
  "format": "rondel checkpoint 1",
  "step": 1,
  "world": [{"axis": "data", "size": 1}],
  "files": [
    {"name": "f", "bytes": 3, "crc32c": "000000ab"}
  ],
  "metadata": {
    "a": "b"
  },
  "crc32c": "d6bcd23a"
}
)");
}

TEST_CASE("each defect of a manifest has its own words") {
  CHECK(problem_with("\"step\": 12", "\"step\": 13").empty());
  CHECK(problem_with("rondel checkpoint 1", "rondel checkpoint 2") ==
        "format is \"rondel checkpoint 2\"; expected \"rondel checkpoint 1\"");
  CHECK(problem_with("\"format\"", "\"other\"") == "the whole document has no member \"format\"");
  CHECK(problem_with("\"step\": 12", "\"step\": -1") ==
        "step is -1; expected a whole number from 0 to 18446744073709551615");
  CHECK(problem_with("\"step\": 12,", "") == "the whole document has no member \"step\"");
  CHECK(problem_with("\"axis\"", "\"Axis\"") == "world[0] has no member \"axis\"");
  CHECK(problem_with("\"size\": 4", "\"size\": \"4\"") ==
        "world[1].size is \"4\"; expected a whole number from 0 to 18446744073709551615");
  for (const char* name : {"../a", "/a", "a/b", ".", "..", "", "a\\u0000b"}) {
    CAPTURE(name);
    CHECK(problem_with("a.safetensors", name) ==
          "files[0].name is \"" + std::string(name) +
              "\"; expected the name of a file, without a folder");
  }
  CHECK(problem_with("a.safetensors", std::string(256, 'a')).find("expected the name of a file") !=
        std::string::npos);
  CHECK(problem_with("a.safetensors", "\\u20ac \\\"b\\\"") ==
        "files[1] has the name \"\xe2\x82\xac \\\"b\\\"\" again");
  CHECK(problem_with("000000ab", "000000AB") ==
        "files[0].crc32c is \"000000AB\"; expected eight lower-case hexadecimal digits");
  CHECK(problem_with("\"bytes\": 100", "\"bytes\": 1e2") ==
        "files[0].bytes is 1e2; expected a whole number from 0 to 18446744073709551615");
  CHECK(problem_with("\"0.0035\"", "0.0035") == "metadata.--lr is 0.0035; expected a string");
  CHECK(problem_with("\"0.0035\"", "[]") == "metadata.--lr is an array; expected a string");
  CHECK(problem_of("").find("the text ends too soon") != std::string::npos);
  CHECK(problem_of("{}") == "the whole document has no member \"format\"");
  std::string text = to_json(sample);
  CHECK(problem_of(text + "\n").find("which is not the checksum of the text before it") !=
        std::string::npos);
  CHECK(problem_of(text.insert(1, " ")).find("not the checksum") != std::string::npos);
}

TEST_CASE("every cut and every changed byte of a manifest is refused") {
  const std::string text = to_json(sample);
  for (std::size_t size = 0; size < text.size(); ++size) {
    CHECK_FALSE(problem_of(std::string_view(text).substr(0, size)).empty());
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[at] = static_cast<char>(byte);
      if (changed != text) CHECK_FALSE(problem_of(changed).empty());
    }
  }
}

TEST_CASE("a manifest that could not be read back is not written") {
  const auto refusal = [](const checkpoint_manifest& manifest) {
    return message_of<rondel::invalid_argument>([&] { static_cast<void>(to_json(manifest)); });
  };
  CHECK(refusal({.files = {{"a/b", 0, 0}}}) ==
        "manifest: \"a/b\" is a path or there twice; expected different file names");
  CHECK(refusal({.files = {{"a", 0, 0}, {"a", 0, 0}}}) ==
        "manifest: \"a\" is a path or there twice; expected different file names");
  CHECK(refusal({.metadata = {{"a", "\xff"}}}) == "manifest: \"\xef\xbf\xbd\" is not UTF-8");
}

TEST_CASE("names say what a file is, and others are nobody's") {
  using rondel::manifest_name;
  using rondel::shard_name;
  using rondel::detail::parse_entry;
  const rondel::checkpoint_id id{3, 1200};
  CHECK(manifest_name(id) == "checkpoint-000003-step-1200.json");
  CHECK(shard_name(id, 1, 4) == "checkpoint-000003-step-1200-shard-1-of-4.safetensors");
  CHECK(manifest_name(rondel::checkpoint_id{1234567, 0}) == "checkpoint-1234567-step-0.json");
  const auto manifest = parse_entry(manifest_name(id));
  REQUIRE(manifest);
  CHECK((manifest->id == id && manifest->manifest && !manifest->temporary));
  const auto shard = parse_entry(shard_name(id, 1, 4) + ".tmp");
  REQUIRE(shard);
  CHECK((shard->id == id && !shard->manifest && shard->temporary));
  for (const char* name :
       {"", "a", "checkpoint-", "checkpoint-3-step-1200.json", "checkpoint-0000003-step-1200.json",
        "checkpoint-000003-step-01200.json", "checkpoint-000003-step-1200",
        "checkpoint-000003-step-1200.json.", "checkpoint-000003-step-1200.json.tmp.tmp",
        "checkpoint-000003-step-1200-shard-1.safetensors",
        "checkpoint-000003-step-1200-shard-1-of-4", "checkpoint-000003-step--1.json",
        "checkpoint-99999999999999999999-step-1.json",
        "checkpoint-18446744073709551615-step-1.json", "checkpoint-000003-step-1200.JSON",
        "notes.json", "checkpoint-000003-step-1200.json~"}) {
    CAPTURE(name);
    CHECK_FALSE(parse_entry(name));
  }
}
