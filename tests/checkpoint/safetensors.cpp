#include <rondel/checkpoint/posix_disk.hpp>
#include <rondel/checkpoint/safetensors.hpp>
#include <rondel/checkpoint/safetensors_file.hpp>
#include <rondel/core/file.hpp>

#include "memory_disk.hpp"
#include "message_of.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

using rondel::invalid_argument;
using rondel::invalid_data;
using rondel::tensor_dtype;
using rondel::tensor_info;
using test::file_with;
using test::message_of;
using test::parse_file;

namespace {

// What is wrong with the file, without its name.
std::string problem_of(std::string_view file) {
  std::string out = message_of<invalid_data>([&] { static_cast<void>(parse_file(file)); });
  const std::string name = "'f': ";
  if (out.starts_with(name)) out.erase(0, name.size());
  return out;
}

std::string tensor(const std::string& members) { return "{\"t\":{" + members + "}}"; }

// Of a file with one tensor and 4 bytes of data.
std::string problem_of_tensor(const std::string& members) {
  return problem_of(file_with(tensor(members), 4));
}

struct sample {
  std::vector<tensor_info> tensors;
  std::map<std::string, std::string> metadata;
  std::vector<std::vector<std::byte>> data;
};

// Tensors of every type, scalars, empty ones, and names that need escapes.
sample random_sample(std::mt19937_64& random) {
  sample out;
  const std::vector<std::string> words = {"a",  "b.",       "weight",           "\"", "\\",
                                          "\n", "\xc3\xa9", "\xf0\x9d\x84\x9e", " "};
  const std::size_t count = random() % 8;
  for (std::size_t i = 0; i < count; ++i) {
    tensor_info one;
    one.name = std::to_string(i);
    for (std::size_t w = random() % 4; w > 0; --w) one.name += words[random() % words.size()];
    one.type = static_cast<tensor_dtype>(random() % 22);
    std::uint64_t bits = bits_of(one.type);
    for (std::size_t d = random() % 4; d > 0; --d) {
      one.shape.push_back(random() % 5);
      bits *= one.shape.back();
    }
    while (bits % 8 != 0) {
      one.shape.push_back(4);
      bits *= 4;
    }
    out.data.push_back(test::pattern(static_cast<std::size_t>(bits / 8), random()));
    out.tensors.push_back(std::move(one));
  }
  for (std::size_t i = random() % 3; i > 0; --i) out.metadata["k" + words[i]] = words[random() % 9];
  return out;
}

void write(rondel::disk& disk, const sample& s, std::size_t piece) {
  rondel::safetensors_writer writer(disk, "d", "f", s.tensors, s.metadata);
  for (std::size_t i = 0; i < s.tensors.size(); ++i) {
    for (std::size_t at = 0; at < s.data[i].size(); at += piece) {
      writer.write(s.tensors[i].name,
                   std::span(s.data[i]).subspan(at, std::min(piece, s.data[i].size() - at)));
    }
  }
  writer.publish();
}

std::string text_of(const test::file_bytes& all) {
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

}  // namespace

TEST_CASE("what is written is read back, whatever the types, shapes and pieces") {
  std::mt19937_64 random(5);
  for (int i = 0; i < 300; ++i) {
    const sample s = random_sample(random);
    test::memory_disk disk;
    write(disk, s, 1 + random() % 64);
    const rondel::safetensors_reader reader(disk, "d/f");
    CHECK(reader.header().metadata == s.metadata);
    CHECK(reader.header().data_offset % 8 == 0);
    REQUIRE(reader.header().tensors.size() == s.tensors.size());
    for (std::size_t t = 0; t < s.tensors.size(); ++t) {
      const tensor_info& info = reader.at(s.tensors[t].name);
      CHECK(info.type == s.tensors[t].type);
      CHECK(info.shape == s.tensors[t].shape);
      std::vector<std::byte> back(static_cast<std::size_t>(info.bytes));
      reader.read(info, back);
      CHECK(back == s.data[t]);
    }
    CHECK(reader.find("none") == nullptr);
  }
}

TEST_CASE("parts of a tensor are read, and no byte beside it") {
  test::memory_disk disk;
  const sample s{{{.name = "a", .type = tensor_dtype::u8, .shape = {10}},
                  {.name = "b", .type = tensor_dtype::u8, .shape = {10}}},
                 {},
                 {test::pattern(10, 1), test::pattern(10, 2)}};
  write(disk, s, 3);
  const rondel::safetensors_reader reader(disk, "d/f");
  std::array<std::byte, 4> part{};
  reader.read(reader.at("b"), part, 6);
  CHECK(std::equal(part.begin(), part.end(), s.data[1].begin() + 6));
  CHECK(message_of<invalid_argument>([&] { reader.read(reader.at("a"), part, 7); }) ==
        "safetensors_reader: bytes [7, 7 + 4) are not inside \"a\" of 10 B");
  CHECK_THROWS_AS(reader.read(reader.at("a"), part, ~std::uint64_t{0}), invalid_argument);
  CHECK(message_of<invalid_data>([&] { static_cast<void>(reader.at("c")); }) ==
        "'d/f' has no tensor \"c\"");
}

TEST_CASE("every element type has the name and the size of the format") {
  const std::vector<std::pair<std::string, unsigned>> expected = {
      {"BOOL", 8}, {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},   {"F8_E5M2", 8},     {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"I16", 16}, {"F8_E5M2FNUZ", 8}, {"U16", 16},    {"F16", 16},    {"BF16", 16},
      {"I32", 32}, {"U32", 32},        {"F32", 32},    {"C64", 64},    {"F64", 64},
      {"I64", 64}, {"U64", 64}};
  for (const auto& one : expected) {
    const std::string& name = one.first;
    const unsigned bits = one.second;
    CAPTURE(name);
    const std::string file =
        file_with(tensor("\"dtype\":\"" + name + "\",\"shape\":[8],\"data_offsets\":[0," +
                         std::to_string(bits) + "]"),
                  bits);
    const rondel::safetensors_header header = parse_file(file);
    REQUIRE(header.tensors.size() == 1);
    CHECK(to_string(header.tensors[0].type) == name);
    CHECK(bits_of(header.tensors[0].type) == bits);
  }
  using rondel::dtype;
  for (const dtype one :
       {dtype::f64, dtype::f32, dtype::bf16, dtype::f16, dtype::i64, dtype::i32, dtype::u8}) {
    CHECK(element_of(rondel::file_dtype(one)) == one);
    CHECK(bits_of(rondel::file_dtype(one)) == 8 * size_of(one));
  }
  CHECK_FALSE(element_of(tensor_dtype::boolean));
}

TEST_CASE("each defect of a file has its own words") {
  CHECK(problem_of("") == "the file has 0 B, not even the 8 of the header's length");
  CHECK(problem_of("1234567") == "the file has 7 B, not even the 8 of the header's length");
  CHECK(problem_of(std::string("\1\0\0\0\0\0\0\0", 8)) ==
        "the header's length is 1 B, but only 0 B follow it");
  CHECK(problem_of(std::string("\x01\xe1\xf5\x05\0\0\0\0", 8) + "{}") ==
        "the header's length is 100000001 B; at most 100000000 are allowed");
  CHECK(problem_of(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}")) ==
        "the header's length is 18446744073709551615 B; at most 100000000 are allowed");
  CHECK(problem_of(file_with("", 0)) == "the header does not begin with '{'");
  CHECK(problem_of(file_with(" {}", 0)) == "the header does not begin with '{'");
  CHECK(problem_of(file_with("[]", 0)) == "the header does not begin with '{'");
  CHECK(problem_of(file_with("{}\n", 0)) == "the header does not end with '}' and spaces");
  CHECK(problem_of(file_with("{}  ", 0)).empty());
  CHECK(problem_of(file_with("{} {}", 0)) ==
        "at byte 3 of the JSON: the text goes on after the value");
  CHECK(problem_of(file_with("{\"\xff\":1}", 0)) == "at byte 2 of the JSON: the text is not UTF-8");
  CHECK(problem_of(file_with("{}", 1)) ==
        "the tensors end at byte 0 of 1 B that follow the header");
  CHECK(problem_of(file_with("{\"a\":{\"b\":[[]]}}", 0)) ==
        "at byte 11 of the JSON: more than 3 arrays and objects inside each other");
  const std::string good = "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]";
  CHECK(problem_of_tensor(good).empty());
  CHECK(problem_of(file_with("{\"t\":{" + good + "},\"t\":{" + good + "}}", 4)) ==
        "at byte 0 of the JSON: the object has two members \"t\"");
  CHECK(problem_of(file_with("{\"t\":1}", 0)) == "t is 1; expected an object");
  CHECK(problem_of_tensor("\"shape\":[1],\"data_offsets\":[0,4]") == "t has no member \"dtype\"");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"data_offsets\":[0,4]") ==
        "t has no member \"shape\"");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[1]") == "t has no member \"data_offsets\"");
  CHECK(problem_of_tensor(good + ",\"x\":1") ==
        "t.x is not expected; a tensor has dtype, shape and data_offsets");
  CHECK(problem_of_tensor("\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]") ==
        "t.dtype is \"F33\", which is no element type");
  CHECK(problem_of_tensor("\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]") ==
        "t.dtype is \"f32\", which is no element type");
  CHECK(problem_of_tensor("\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]") ==
        "t.dtype is 32; expected a string");
  const std::string whole = "; expected a whole number from 0 to 18446744073709551615";
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]") ==
        "t.shape[0] is -1" + whole);
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]") ==
        "t.shape[0] is 1.0" + whole);
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[1e0],\"data_offsets\":[0,4]") ==
        "t.shape[0] is 1e0" + whole);
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]") ==
        "t.shape[0] is \"1\"" + whole);
  CHECK(problem_of_tensor(
            "\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,4]") ==
        "t.shape[0] is 18446744073709551616" + whole);
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]") ==
        "t.shape is 1; expected an array");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]") ==
        "t.data_offsets has 3 elements; expected 2, the first byte and the one after the last");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]") ==
        "t.data_offsets is [4, 0]; expected a range inside the 4 B that follow the header");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]") ==
        "t.data_offsets is [0, 8]; expected a range inside the 4 B that follow the header");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]") ==
        "t: F32 [2] takes 8 B, but data_offsets are 4 B apart");
  CHECK(problem_of_tensor("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],"
                          "\"data_offsets\":[0,4]") ==
        "t: F32 [4294967296, 4294967296] has more elements than 64 bits can count");
  CHECK(problem_of_tensor("\"dtype\":\"F64\",\"shape\":[4294967296,2147483648,0],"
                          "\"data_offsets\":[0,0]") ==
        "the tensors end at byte 0 of 4 B that follow the header");
  CHECK(problem_of_tensor("\"dtype\":\"F64\",\"shape\":[4294967296,2147483648],"
                          "\"data_offsets\":[0,4]") ==
        "t: F64 [4294967296, 2147483648] has more bits than 64 bits can count");
  CHECK(problem_of_tensor("\"dtype\":\"F4\",\"shape\":[7],\"data_offsets\":[0,4]") ==
        "t: F4 [7] is not a whole number of bytes");
  const auto two = [](const std::string& a, const std::string& b) {
    const std::string kind = "{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":";
    return problem_of(file_with("{\"a\":" + kind + a + "},\"b\":" + kind + b + "}}", 4));
  };
  CHECK(two("[0,2]", "[2,4]").empty());
  CHECK(two("[2,4]", "[0,2]").empty());
  CHECK(two("[0,2]", "[1,3]") ==
        "tensor \"b\" begins at byte 1, but the one before it ends at 2: they overlap");
  CHECK(two("[0,2]", "[0,2]") ==
        "tensor \"b\" begins at byte 0, but the one before it ends at 2: they overlap");
  CHECK(
      problem_of(file_with("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3)) ==
      "tensor \"a\" begins at byte 1, but the one before it ends at 0: there is a hole");
  CHECK(problem_of(file_with(tensor(good), 5)) ==
        "the tensors end at byte 4 of 5 B that follow the header");
  CHECK(problem_of(file_with("{\"__metadata__\":{\"a\":1}}", 0)) ==
        "__metadata__.a is 1; expected a string");
  CHECK(problem_of(file_with("{\"__metadata__\":\"a\"}", 0)) ==
        "__metadata__ is \"a\"; expected an object");
  CHECK(problem_of(file_with("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0)) ==
        "at byte 16 of the JSON: the object has two members \"a\"");
  CHECK(message_of<invalid_data>([] {
          static_cast<void>(rondel::parse_safetensors_header("{}", 9, "'f'"));
        }) == "'f': a header of 2 B is not inside a file of 9 B");
}

TEST_CASE("a name made to confuse is shown escaped and cut") {
  const std::string name(1000, 'n');
  CHECK(problem_of(file_with("{\"" + name + "\\n\":1}", 0)).size() < 200);
  CHECK(problem_of(file_with("{\"\\n\":1}", 0)) == "[\"\\u000a\"] is 1; expected an object");
}

TEST_CASE("what cannot be written is refused before the disk is touched") {
  test::memory_disk disk;
  const auto refusal = [&](std::vector<tensor_info> tensors,
                           const std::map<std::string, std::string>& metadata = {}) {
    return message_of<invalid_argument>(
        [&] { rondel::safetensors_writer(disk, "d", "f", std::move(tensors), metadata); });
  };
  CHECK(refusal({{.name = "a"}, {.name = "b"}, {.name = "a"}}) ==
        "safetensors: two tensors have the name \"a\"");
  CHECK(refusal({{.name = "__metadata__"}}) ==
        "safetensors: a tensor has the name \"__metadata__\", which the format keeps for itself");
  CHECK(refusal({{.name = "\xff"}}) ==
        "safetensors: the tensor name \"\xef\xbf\xbd\" is not UTF-8");
  CHECK(refusal({}, {{"\xff", ""}}) ==
        "safetensors: the metadata key \"\xef\xbf\xbd\" is not UTF-8");
  CHECK(refusal({}, {{"a", "\xff"}}) ==
        "safetensors: the metadata value \"\xef\xbf\xbd\" is not UTF-8");
  CHECK(refusal({{.name = "a", .shape = {~std::uint64_t{0}, 2}}}) ==
        "safetensors: \"a\": F32 [18446744073709551615, 2] has more elements than 64 bits can "
        "count");
  const tensor_info huge{.name = "a", .type = tensor_dtype::u8, .shape = {std::uint64_t{1} << 60}};
  std::vector<tensor_info> eight(8, huge);
  for (std::size_t i = 0; i < eight.size(); ++i) eight[i].name = std::to_string(i);
  CHECK(refusal(eight) == "safetensors: \"7\": the file gets longer than any can be");
  CHECK(disk.events().empty());
}

TEST_CASE("tensors are written in their order, each with as many bytes as it has") {
  test::memory_disk disk;
  const std::vector<std::byte> some(8);
  {
    rondel::safetensors_writer writer(disk, "d", "f",
                                      {{.name = "a", .shape = {}},
                                       {.name = "empty", .shape = {3, 0}},
                                       {.name = "b", .shape = {2}}});
    const auto refusal = [&](auto&& f) { return message_of<invalid_argument>(f); };
    CHECK(refusal([&] { writer.write("b", some); }) ==
          "safetensors_writer: bytes of \"b\" came when \"a\" has its turn, 4 B short");
    CHECK(refusal([&] { writer.write("a", some); }) ==
          "safetensors_writer: 8 B came for \"a\", which lacks only 4");
    writer.write("a", std::span(some).first(4));
    writer.write("empty", {});
    writer.write("b", std::span(some).first(3));
    CHECK(refusal([&] { writer.publish(); }) == "safetensors_writer: \"b\" is 5 B short");
    writer.write("b", std::span(some).first(5));
    CHECK(refusal([&] { writer.write("b", std::span(some).first(1)); }) ==
          "safetensors_writer: bytes of \"b\" came after the last tensor");
    CHECK(disk.names() == std::vector<std::string>{"d/f.tmp"});
  }
  CHECK(disk.names().empty());  // it was not published
}

TEST_CASE("a file that is cut anywhere is refused") {
  test::memory_disk disk;
  std::mt19937_64 random(9);
  sample s = random_sample(random);
  while (s.tensors.size() < 4) s = random_sample(random);
  write(disk, s, 1000);
  const std::string file = text_of(disk.contents("d/f"));
  REQUIRE(problem_of(file).empty());
  for (std::size_t size = 0; size < file.size(); ++size) {
    CHECK_FALSE(problem_of(std::string_view(file).substr(0, size)).empty());
  }
  CHECK_FALSE(problem_of(file + "x").empty());
}

TEST_CASE("a changed byte is refused, or changes names, metadata and contents only") {
  test::memory_disk disk;
  const sample s{{{.name = "a\xc3\xa9", .type = tensor_dtype::bf16, .shape = {3, 2}},
                  {.name = "b", .type = tensor_dtype::f64, .shape = {}}},
                 {{"k", "v"}},
                 {test::pattern(12, 1), test::pattern(8, 2)}};
  write(disk, s, 100);
  const std::string file = text_of(disk.contents("d/f"));
  const rondel::safetensors_header before = parse_file(file);
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = file;
      changed[at] = static_cast<char>(byte);
      if (changed == file) continue;
      const std::string problem = problem_of(changed);
      if (at >= before.data_offset) CHECK(problem.empty());
      if (!problem.empty()) continue;
      ++accepted;
      const rondel::safetensors_header after = parse_file(changed);
      // Whatever it reads, it reads as many bytes, all inside the file.
      CHECK(after.data_bytes == before.data_bytes);
      std::uint64_t sum = 0;
      for (const tensor_info& one : after.tensors) sum += one.bytes;
      CHECK(sum == after.data_bytes);
    }
  }
  CHECK(accepted >= 20 * 255);
}

TEST_CASE("files of the reference library are read, and ours that it has read") {
  rondel::posix_disk disk;
  const std::filesystem::path folder = RONDEL_CHECKPOINT_DATA;
  std::size_t files = 0, tensors = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    CAPTURE(entry.path().string());
    ++files;
    // Lines of: type, sizes with commas between or "-", bytes in hexadecimal or "-", name.
    std::string expected = rondel::read_text_file((folder / entry.path().stem()).string() + ".txt");
    const rondel::safetensors_reader reader(disk, entry.path().string());
    std::string found;
    std::map<std::string, const tensor_info*> by_name;
    for (const tensor_info& one : reader.header().tensors) by_name[one.name] = &one;
    for (const auto& [name, info] : by_name) {
      ++tensors;
      std::string sizes, hex;
      for (const std::uint64_t size : info->shape) {
        sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
      }
      std::vector<std::byte> bytes(static_cast<std::size_t>(info->bytes));
      reader.read(*info, bytes);
      for (const std::byte byte : bytes) {
        hex += "0123456789abcdef"[std::to_integer<int>(byte >> 4)];
        hex += "0123456789abcdef"[std::to_integer<int>(byte & std::byte{15})];
      }
      found += std::string(to_string(info->type)) + " " + (sizes.empty() ? "-" : sizes) + " " +
               (hex.empty() ? "-" : hex) + " " + name + "\n";
    }
    for (const auto& [key, value] : reader.header().metadata) {
      found += "metadata " + key + "=" + value + "\n";
    }
    CHECK(found == expected);
  }
  CHECK(files == 6);
  CHECK(tensors >= 40);
}

// The bytes in ours.safetensors, which scripts/goldens/safetensors.py has shown to the reference
// library. With RONDEL_EXCHANGE_FOLDER set it is written there.
TEST_CASE("our bytes are those that the reference library has read") {
  const test::scratch_folder scratch;
  const char* wanted = std::getenv("RONDEL_EXCHANGE_FOLDER");
  const std::string folder = wanted == nullptr ? scratch.path.string() : wanted;
  rondel::posix_disk disk;
  std::vector<tensor_info> tensors;
  for (unsigned type = 0; type < 22; ++type) {
    const auto one = static_cast<tensor_dtype>(type);
    tensors.push_back({.name = to_string(one), .type = one, .shape = {2, 4}});
  }
  tensors.push_back({.name = "scalar", .type = tensor_dtype::f64});
  tensors.push_back({.name = "empty", .type = tensor_dtype::bf16, .shape = {3, 0}});
  tensors.push_back({.name = "\xe2\x82\xac \"\\\n\x01", .type = tensor_dtype::u8, .shape = {1}});
  rondel::safetensors_writer writer(disk, folder, "ours.safetensors", tensors,
                                    {{"\xf0\x9d\x84\x9e", "\"quoted\""}, {"by", "rondel"}});
  for (const tensor_info& one : writer.tensors()) {
    // Bytes that are truth values too.
    std::vector<std::byte> bytes(static_cast<std::size_t>(one.bytes));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i % 2);
    writer.write(one.name, bytes);
  }
  writer.publish();
  CHECK(rondel::read_text_file(folder + "/ours.safetensors") ==
        rondel::read_text_file(std::string(RONDEL_CHECKPOINT_DATA) + "/ours.safetensors"));
}
