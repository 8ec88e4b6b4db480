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

// Three tensors over two shards, whose bytes depend on the step.
struct shard_plan {
  std::size_t shard;
  rondel::tensor_info tensor;
};
[[nodiscard]] inline std::vector<shard_plan> tensors_of_a_save() {
  using rondel::tensor_dtype;
  return {{0, {.name = "a", .type = tensor_dtype::f32, .shape = {2}}},
          {0, {.name = "empty", .type = tensor_dtype::f64, .shape = {0}}},
          {1, {.name = "b", .type = tensor_dtype::u8, .shape = {3}}}};
}

[[nodiscard]] inline std::vector<rondel::tensor_info> tensors_of_shard(std::size_t shard) {
  std::vector<rondel::tensor_info> out;
  for (const shard_plan& one : tensors_of_a_save()) {
    if (one.shard == shard) out.push_back(one.tensor);
  }
  return out;
}

// Writes shard `shard` of two, and makes it durable.
inline rondel::checkpoint_file save_shard(const rondel::checkpoint_folder& folder,
                                          const rondel::checkpoint_id& id, std::size_t shard) {
  auto writer = folder.write_shard(id, shard, 2, tensors_of_shard(shard));
  for (const rondel::tensor_info& one : writer.tensors()) {
    writer.write(one.name, pattern(static_cast<std::size_t>(one.bytes), id.step));
  }
  writer.publish();
  return rondel::checkpoint_folder::record(writer.file());
}

// Saves as two ranks would, in the order that checkpoint_folder asks for.
inline void save(rondel::checkpoint_folder& folder, std::uint64_t step) {
  const rondel::checkpoint_id id = folder.begin(step);
  try {
    rondel::checkpoint_manifest manifest{
        .step = step, .world = {{"data", 2}}, .metadata = {{"who", "test"}}};
    for (std::size_t i = 0; i < 2; ++i) manifest.files.push_back(save_shard(folder, id, i));
    folder.publish(id, manifest);
  } catch (const rondel::error&) {
    folder.discard(id);
    throw;
  }
  folder.remove_old();
}

// Whether the tensors of a checkpoint are those of its step.
[[nodiscard]] inline bool has_contents(const rondel::checkpoint_folder& folder,
                                       const rondel::found_checkpoint& found) {
  const rondel::checkpoint_reader saved = folder.open(found);
  for (const shard_plan& one : tensors_of_a_save()) {
    const rondel::tensor_info& info = saved.at(one.tensor.name);
    std::vector<std::byte> back(static_cast<std::size_t>(info.bytes));
    saved.read(info.name, back);
    if (info.shape != one.tensor.shape || back != pattern(back.size(), found.manifest.step)) {
      return false;
    }
  }
  return true;
}
inline void check_contents(const rondel::checkpoint_folder& folder,
                           const rondel::found_checkpoint& found) {
  CHECK(has_contents(folder, found));
}

}  // namespace test
