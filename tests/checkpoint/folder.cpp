#include <rondel/checkpoint/folder.hpp>
#include <rondel/checkpoint/posix_disk.hpp>
#include <rondel/core/file.hpp>

#include "memory_disk.hpp"
#include "message_of.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

using rondel::checkpoint_folder;
using rondel::invalid_data;
using rondel::io_error;
using test::message_of;
using test::save;

namespace {

namespace fs = std::filesystem;

void damage(test::memory_disk& disk, const std::string& path, std::size_t at) {
  disk.contents(path).at(at) ^= std::byte{1};
}

std::size_t count_of(rondel::disk& disk, const std::string& folder) {
  return disk.list(folder).size();
}

}  // namespace

TEST_CASE("the newest checkpoint is found, with everything that was saved") {
  const test::scratch_folder scratch;
  rondel::posix_disk disk;
  checkpoint_folder folder(disk, (scratch.path / "a" / "b").string());
  CHECK_FALSE(folder.latest());
  for (std::uint64_t step = 1; step <= 3; ++step) save(folder, step);
  const auto found = folder.latest();
  REQUIRE(found);
  CHECK(found->id == rondel::checkpoint_id{3, 3});
  CHECK(found->damaged.empty());
  CHECK(found->manifest.world == std::vector<rondel::world_axis>{{"data", 2}});
  CHECK(found->manifest.metadata.at("who") == "test");
  test::check_contents(folder, *found);
  const auto saved = folder.open(*found);
  CHECK(saved.size() == 3);
  CHECK(message_of<invalid_data>([&] { static_cast<void>(saved.at("none")); }) ==
        "the checkpoint has no tensor \"none\"");
  CHECK(count_of(disk, folder.path()) == 2 * 3);  // two are kept
}

TEST_CASE("as many checkpoints are kept as asked for, and other files are left alone") {
  for (const std::size_t keep : {1U, 2U, 5U}) {
    test::memory_disk disk;
    disk.create("d/notes.txt");
    disk.create("d/checkpoint-mine");
    checkpoint_folder folder(disk, "d", keep);
    for (std::uint64_t step = 1; step <= 7; ++step) save(folder, step);
    CHECK(count_of(disk, "d") == 2 + 3 * keep);
    REQUIRE(folder.latest());
    CHECK(folder.latest()->manifest.step == 7);
  }
  test::memory_disk disk;
  CHECK(message_of<rondel::invalid_argument>([&] { checkpoint_folder(disk, "d", 0); }) ==
        "checkpoint_folder: cannot keep 0 checkpoints");
}

TEST_CASE("a damaged checkpoint is passed over, and why is told") {
  const auto damaged = [](auto&& harm) {
    test::memory_disk disk;
    checkpoint_folder folder(disk, "d");
    save(folder, 1);
    save(folder, 2);
    harm(disk);
    const auto found = folder.latest();
    REQUIRE(found);
    CHECK(found->manifest.step == 1);
    test::check_contents(folder, *found);
    REQUIRE(found->damaged.size() == 1);
    return found->damaged[0];
  };
  const std::string name = "checkpoint-000002-step-2";
  const std::string shard = "d/" + name + "-shard-1-of-2.safetensors";
  CHECK(damaged([&](test::memory_disk& disk) { disk.remove(shard); }) ==
        name + ": cannot open '" + shard + "': No such file or directory");
  CHECK(damaged([&](test::memory_disk& disk) { disk.contents(shard).pop_back(); }) ==
        name + ": '" + shard.substr(2) + "' has 66 B, the manifest says 67");
  CHECK(damaged([&](test::memory_disk& disk) {
          damage(disk, shard, 66);
        }).starts_with(name + ": '" + shard.substr(2) + "' has the checksum "));
  CHECK(damaged([&](test::memory_disk& disk) {
          disk.contents("d/" + name + ".json").pop_back();
        }).starts_with(name + ": '" + name + ".json': crc32c is "));
  CHECK(damaged([&](test::memory_disk& disk) { disk.contents("d/" + name + ".json").clear(); }) ==
        name + ": '" + name + ".json': at byte 0 of the JSON: the text ends too soon");
  CHECK(damaged([&](test::memory_disk& disk) {
          disk.contents("d/" + name + ".json") = disk.contents("d/checkpoint-000001-step-1.json");
        }) == name + ": '" + name + ".json' holds the manifest of step 1");
  CHECK(damaged([&](test::memory_disk& disk) {
          disk.contents("d/" + name + ".json").resize((std::size_t{16} << 20) + 1);
        }) == name + ": '" + name + ".json' has 16777217 B; at most 16777216 are read");
}

TEST_CASE("every changed byte of every file of a checkpoint is seen") {
  test::memory_disk disk;
  checkpoint_folder folder(disk, "d");
  save(folder, 1);
  save(folder, 2);
  std::size_t changes = 0;
  for (const std::string& path : disk.names()) {
    if (path.find("step-2") == std::string::npos) continue;
    for (std::size_t at = 0; at < disk.contents(path).size(); ++at) {
      for (const std::byte flip : {std::byte{1}, std::byte{0x80}, std::byte{0xff}}) {
        disk.contents(path)[at] ^= flip;
        const auto found = checkpoint_folder(disk, "d").latest();
        REQUIRE(found);
        CHECK(found->manifest.step == 1);
        disk.contents(path)[at] ^= flip;
        ++changes;
      }
    }
  }
  CHECK(changes > 1000);
  CHECK(checkpoint_folder(disk, "d").latest()->manifest.step == 2);
}

TEST_CASE("without a complete checkpoint each one's fault is told") {
  test::memory_disk disk;
  checkpoint_folder folder(disk, "d");
  save(folder, 1);
  save(folder, 2);
  disk.contents("d/checkpoint-000001-step-1.json").clear();
  disk.contents("d/checkpoint-000002-step-2.json").clear();
  const std::string end = ".json': at byte 0 of the JSON: the text ends too soon";
  CHECK(message_of<invalid_data>([&] { static_cast<void>(folder.latest()); }) ==
        "no checkpoint in 'd' is complete; checkpoint-000002-step-2: 'checkpoint-000002-step-2" +
            end + "; checkpoint-000001-step-1: 'checkpoint-000001-step-1" + end);
}

TEST_CASE("a damaged checkpoint does not count among those that are kept") {
  test::memory_disk disk;
  checkpoint_folder folder(disk, "d");
  save(folder, 1);
  save(folder, 2);
  damage(disk, "d/checkpoint-000002-step-2-shard-0-of-2.safetensors", 70);
  REQUIRE(folder.latest()->manifest.step == 1);
  save(folder, 2);
  // The first one is kept in place of the damaged one.
  disk.contents("d/checkpoint-000003-step-2.json").clear();
  CHECK(folder.latest()->manifest.step == 1);
  save(folder, 3);
  save(folder, 4);
  CHECK(count_of(disk, "d") == 2 * 3);
  // One of another size does not count either, without being read.
  disk.contents("d/checkpoint-000005-step-4-shard-0-of-2.safetensors").pop_back();
  save(folder, 5);
  CHECK(count_of(disk, "d") == 3 * 3);
  CHECK(folder.latest()->manifest.step == 5);
}

TEST_CASE("what writers left that died is removed at the next save") {
  test::memory_disk disk;
  checkpoint_folder folder(disk, "d");
  save(folder, 1);
  for (const char* name : {"d/checkpoint-000002-step-2-shard-0-of-2.safetensors",
                           "d/checkpoint-000002-step-2.json.tmp",
                           "d/checkpoint-000007-step-2-shard-1-of-2.safetensors.tmp",
                           "d/checkpoint-000001-step-1-shard-1-of-2.safetensors.tmp"}) {
    disk.create(name);
  }
  CHECK(folder.latest()->manifest.step == 1);
  const rondel::checkpoint_id id = folder.begin(2);
  CHECK(id == rondel::checkpoint_id{8, 2});  // no name is given twice
  CHECK(count_of(disk, "d") == 3);
}

TEST_CASE("a manifest is not published without its files") {
  test::memory_disk disk;
  checkpoint_folder folder(disk, "d");
  const rondel::checkpoint_id id = folder.begin(1);
  CHECK_THROWS_AS(folder.publish(id, {.step = 1, .files = {{shard_name(id, 0, 1), 8, 0}}}),
                  io_error);
  disk.create("d/" + shard_name(id, 0, 1));
  CHECK_THROWS_AS(folder.publish(id, {.step = 1, .files = {{shard_name(id, 0, 1), 8, 0}}}),
                  invalid_data);
  CHECK(message_of<rondel::invalid_argument>([&] { folder.publish(id, {.step = 2}); }) ==
        "checkpoint_folder: the manifest of step 2 is published as checkpoint-000001-step-1");
  CHECK_FALSE(folder.latest());
}

TEST_CASE("a tensor may be in one file of a checkpoint only") {
  test::memory_disk disk;
  checkpoint_folder folder(disk, "d");
  const rondel::checkpoint_id id = folder.begin(1);
  rondel::checkpoint_manifest manifest{.step = 1};
  for (std::size_t i = 0; i < 2; ++i) {
    auto writer = folder.write_shard(id, i, 2, {{.name = "t", .shape = {0}}});
    writer.publish();
    manifest.files.push_back(checkpoint_folder::record(writer.file()));
  }
  folder.publish(id, manifest);
  CHECK(message_of<invalid_data>([&] { static_cast<void>(folder.open(*folder.latest())); }) ==
        "tensor \"t\" is in \"checkpoint-000001-step-1-shard-1-of-2.safetensors\" and in a file "
        "before it");
}

TEST_CASE("a file below a file, a folder and a pipe are named with the reason") {
  const test::scratch_folder scratch;
  rondel::posix_disk disk;
  const std::string file = (scratch.path / "file").string();
  rondel::write_text_file(file, "x");
  checkpoint_folder below(disk, file + "/below");
  CHECK(message_of<io_error>([&] { static_cast<void>(below.begin(1)); }) ==
        "cannot open the folder '" + file + "': Not a directory");
  CHECK(message_of<io_error>([&] { static_cast<void>(below.latest()); }) ==
        "cannot list the folder '" + file + "/below': Not a directory");
  checkpoint_folder same(disk, file);
  CHECK(message_of<io_error>([&] { static_cast<void>(same.begin(1)); }) ==
        "cannot open the folder '" + file + "': Not a directory");
  const std::string folder = scratch.path.string();
  CHECK(message_of<io_error>([&] { static_cast<void>(disk.open(folder)); }) ==
        "cannot read '" + folder + "': it is not a regular file");
  const std::string pipe = (scratch.path / "pipe").string();
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(message_of<io_error>([&] { static_cast<void>(disk.open(pipe)); }) ==
        "cannot read '" + pipe + "': it is not a regular file");
  CHECK(message_of<io_error>([&] { disk.remove(file + "x"); }) ==
        "cannot remove '" + file + "x': No such file or directory");
  CHECK(message_of<io_error>([&] { disk.rename(file + "x", file + "y"); }) ==
        "cannot rename to '" + file + "y': No such file or directory");
  const auto opened = disk.open(file);
  std::byte two[2] = {};
  CHECK(message_of<io_error>([&] { opened->read(0, two); }) ==
        "cannot read '" + file + "': it ends at byte 1, 1 B too soon");
  CHECK_THROWS_AS(opened->read(~std::uint64_t{0}, two), io_error);
}

TEST_CASE("a relative folder, and one that ends with a slash, will do") {
  const test::scratch_folder scratch;
  const fs::path before = fs::current_path();
  fs::current_path(scratch.path);
  rondel::posix_disk disk;
  for (const char* name : {"a", "b/", "./c/d", "e//f/"}) {
    CAPTURE(name);
    checkpoint_folder folder(disk, name);
    save(folder, 1);
    CHECK(folder.latest());
  }
  fs::current_path(before);
}

// The file-size limit stands for a full disk where nobody may mount a small one.
TEST_CASE("a disk that gets full leaves the checkpoint before, and no file of the new one") {
  const test::scratch_folder scratch;
  rondel::posix_disk disk;
  checkpoint_folder folder(disk, scratch.path.string());
  save(folder, 1);
  struct rlimit before {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 90, before.rlim_max };
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = message_of<io_error>([&] { save(folder, 2); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(message == "cannot write '" + scratch.path.string() +
                       "/checkpoint-000002-step-2-shard-0-of-2.safetensors.tmp': File too large");
  CHECK(count_of(disk, folder.path()) == 3);
  CHECK(folder.latest()->manifest.step == 1);
  save(folder, 3);
  CHECK(folder.latest()->manifest.step == 3);
}

TEST_CASE("a small disk that gets full, and one that is read only") {
  if (geteuid() != 0) {
    MESSAGE("skipped: only root can mount a small disk");
    return;
  }
  const test::scratch_folder scratch;
  const std::string path = scratch.path.string();
  if (mount("none", path.c_str(), "tmpfs", 0, "size=16k") != 0) {
    MESSAGE("skipped: this root may not mount a small disk");
    return;
  }
  {
    rondel::posix_disk disk;
    checkpoint_folder folder(disk, path);
    save(folder, 1);
    std::string message;
    rondel::write_text_file(path + "/rest", "");
    for (std::uint64_t step = 2; message.empty() && step < 100; ++step) {
      message = message_of<io_error>([&] {
        rondel::write_text_file(path + "/rest" + std::to_string(step), std::string(100, 'x'));
      });
    }
    message = message_of<io_error>([&] { save(folder, 2); });
    CHECK(message.ends_with("No space left on device"));
    CHECK(folder.latest()->manifest.step == 1);
    CHECK(mount("none", path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "") == 0);
    CHECK(message_of<io_error>([&] { save(folder, 3); }).ends_with("Read-only file system"));
    CHECK(folder.latest()->manifest.step == 1);
  }
  CHECK(umount(path.c_str()) == 0);
}
