// The code blocks of docs/checkpoints.md, run. scripts/sync_snippets.py copies the regions there.
#include <rondel/checkpoint/folder.hpp>
#include <rondel/checkpoint/posix_disk.hpp>
#include <rondel/checkpoint/safetensors_file.hpp>
#include <rondel/core/json.hpp>
#include <rondel/launch.hpp>

#include "scratch_folder.hpp"

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

TEST_CASE("safetensors") {
  const test::scratch_folder scratch;
  const std::string folder = scratch.path.string();
  //! [write]
  rondel::posix_disk disk;
  const std::vector<float> weights{1, 2, 3, 4, 5, 6};
  rondel::safetensors_writer file(
      disk, folder, "model.safetensors",
      {{.name = "weights", .type = rondel::tensor_dtype::f32, .shape = {2, 3}}},
      {{"made by", "hand"}});
  file.write("weights", std::as_bytes(std::span(weights).first(2)));  // in pieces of any size
  file.write("weights", std::as_bytes(std::span(weights).subspan(2)));
  file.publish();  // from here on it is there, whole, whatever happens
  //! [write]
  //! [read]
  const rondel::safetensors_reader saved(disk, folder + "/model.safetensors");
  const rondel::tensor_info& info = saved.at("weights");
  std::vector<float> back(info.bytes / sizeof(float));
  saved.read(info, std::as_writable_bytes(std::span(back)));
  //! [read]
  CHECK(back == weights);
  CHECK(info.shape == std::vector<std::uint64_t>{2, 3});
  CHECK(saved.header().metadata.at("made by") == "hand");
}

TEST_CASE("checkpoint") {
  const test::scratch_folder scratch;
  const std::string path = scratch.path.string();
  const std::uint64_t step = 100;
  //! [save]
  rondel::posix_disk disk;
  rondel::run(rondel::threads{.ranks = 4}, [&](auto& rank) {
    auto& world = rank.world();
    const auto tell = [&](auto mine) {  // every rank's `mine`, on every rank
      std::vector<decltype(mine)> all(static_cast<std::size_t>(world.size()));
      world.exchange_host(std::as_bytes(std::span(&mine, 1)),
                          std::as_writable_bytes(std::span(all)));
      return all;
    };
    const bool leads = rank.rank() == 0;
    const auto index = static_cast<std::size_t>(rank.rank());
    rondel::checkpoint_folder folder(disk, path);
    const auto id = tell(leads ? folder.begin(step) : rondel::checkpoint_id{}).front();

    const std::vector<double> mine(10, rank.rank());
    const std::string name = rondel::concat("part.", index);
    auto shard = folder.write_shard(
        id, index, 4, {{.name = name, .type = rondel::tensor_dtype::f64, .shape = {10}}});
    shard.write(name, std::as_bytes(std::span(mine)));
    shard.publish();

    struct record {
      std::uint64_t bytes;
      std::uint64_t checksum;
    };
    // Once all have spoken, all shards are durable.
    const auto shards = tell(record{shard.file().size(), shard.file().checksum()});
    if (!leads) return;
    rondel::checkpoint_manifest manifest{
        .step = step, .world = {{"data", 4}}, .metadata = {{"model", "none"}}};
    for (std::size_t i = 0; i < 4; ++i) {
      manifest.files.push_back({rondel::shard_name(id, i, 4), shards[i].bytes,
                                static_cast<std::uint32_t>(shards[i].checksum)});
    }
    folder.publish(id, manifest);
    folder.remove_old();
  });
  //! [save]
  //! [resume]
  rondel::checkpoint_folder folder(disk, path);
  std::vector<double> part(10);
  const auto found = folder.latest();  // compares every byte with the checksums
  if (found) {
    folder.open(*found).read("part.3", std::as_writable_bytes(std::span(part)));
    for (const std::string& why : found->damaged) std::puts(why.c_str());
  }
  //! [resume]
  REQUIRE(found);
  CHECK(part == std::vector<double>(10, 3));
  CHECK(found->manifest.step == 100);
  CHECK(found->damaged.empty());
}

TEST_CASE("json") {
  //! [json]
  const rondel::json_document document(R"({"hosts": [{"name": "a", "ranks": 8}]})", "cluster.json");
  std::uint64_t ranks = 0;
  for (const auto host : document.root().at("hosts").array()) {
    ranks += host.at("ranks").unsigned_integer();
  }
  std::string message;
  try {
    static_cast<void>(document.root().at("hosts").object());
  } catch (const rondel::invalid_data& e) {
    message = e.what();  // cluster.json: hosts is an array; expected an object
  }
  //! [json]
  CHECK(ranks == 8);
  CHECK(message == "cluster.json: hosts is an array; expected an object");
}
