// What a crash at any point of a save leaves: the operations of several saves are recorded, and for
// each prefix every state that a file system may leave is built and looked at.
#include <rondel/checkpoint/folder.hpp>

#include "memory_disk.hpp"
#include "support.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using rondel::checkpoint_folder;
using rondel::checkpoint_id;
using rondel::checkpoint_manifest;
using test::after_crash;
using test::disk_event;
using test::memory_disk;
using test::unsynced;

namespace {

// Passes everything on but what it is told to forget.
class forgetful_disk final : public rondel::disk {
 public:
  forgetful_disk(memory_disk& inner, bool files, bool folders)
      : inner_(inner), files_(files), folders_(folders) {}

  void make_folder(const std::string& path) override { inner_.make_folder(path); }
  std::unique_ptr<rondel::disk_writer> create(const std::string& path) override {
    auto file = inner_.create(path);
    if (!files_) return file;
    return std::make_unique<writer>(std::move(file));
  }
  void rename(const std::string& from, const std::string& to) override { inner_.rename(from, to); }
  void remove(const std::string& path) override { inner_.remove(path); }
  void sync_folder(const std::string& path) override {
    if (!folders_) inner_.sync_folder(path);
  }
  std::vector<std::string> list(const std::string& path) override { return inner_.list(path); }
  std::unique_ptr<rondel::disk_reader> open(const std::string& path) override {
    return inner_.open(path);
  }

 private:
  class writer final : public rondel::disk_writer {
   public:
    explicit writer(std::unique_ptr<rondel::disk_writer> inner) : inner_(std::move(inner)) {}
    void write(std::span<const std::byte> bytes) override { inner_->write(bytes); }
    void sync() override {}
    void close() override { inner_->close(); }

   private:
    std::unique_ptr<rondel::disk_writer> inner_;
  };

  memory_disk& inner_;
  bool files_, folders_;
};

// The steps of a save, in the order in which a variant takes them.
enum class variant { correct, interleaved, manifest_first, old_removed_first };

// As two ranks at once do it.
void save_interleaved(checkpoint_folder& folder, std::uint64_t step) {
  const checkpoint_id id = folder.begin(step);
  rondel::safetensors_writer writers[] = {folder.write_shard(id, 0, 2, test::tensors_of_shard(0)),
                                          folder.write_shard(id, 1, 2, test::tensors_of_shard(1))};
  for (auto& writer : writers) {
    for (const rondel::tensor_info& one : writer.tensors()) {
      writer.write(one.name, test::pattern(static_cast<std::size_t>(one.bytes), step));
    }
  }
  checkpoint_manifest manifest{.step = step};
  for (auto& writer : writers) {
    writer.publish();
    manifest.files.push_back(checkpoint_folder::record(writer.file()));
  }
  folder.publish(id, manifest);
  folder.remove_old();
}

void save_as(variant how, rondel::disk& disk, checkpoint_folder& folder, std::uint64_t step) {
  if (how == variant::correct) {
    test::save(folder, step);
    return;
  }
  if (how == variant::interleaved) {
    save_interleaved(folder, step);
    return;
  }
  const checkpoint_id id = folder.begin(step);
  checkpoint_manifest manifest{.step = step};
  if (how == variant::manifest_first) {
    // What the shards will be is known from a save elsewhere.
    memory_disk elsewhere;
    const checkpoint_folder other(elsewhere, "d");
    for (std::size_t i = 0; i < 2; ++i) manifest.files.push_back(test::save_shard(other, id, i));
    rondel::durable_file file(disk, "d", manifest_name(id));
    file.write(to_json(manifest));
    file.publish();
    for (std::size_t i = 0; i < 2; ++i) static_cast<void>(test::save_shard(folder, id, i));
  } else {
    for (const std::string& name : disk.list("d")) {
      const auto entry = rondel::detail::parse_entry(name);
      if (entry && entry->id.serial < id.serial) disk.remove("d/" + name);
    }
    for (std::size_t i = 0; i < 2; ++i) manifest.files.push_back(test::save_shard(folder, id, i));
    folder.publish(id, manifest);
  }
  folder.remove_old();
}

struct verdict {
  std::size_t states = 0;
  std::vector<std::string> faults;
};

// Looks at every state that a crash after `count` of `events` may leave. At least step `promised`
// must be found, and at most `begun`.
void look(const std::vector<disk_event>& events, std::size_t count, std::uint64_t promised,
          std::uint64_t begun, verdict& out) {
  const std::size_t pending = test::pending_names(events, count);
  REQUIRE(pending <= 16);
  for (std::uint64_t subset = 0; subset < (std::uint64_t{1} << pending); ++subset) {
    // Files with even and with odd numbers have fates of their own.
    for (unsigned fates = 0; fates < 16; ++fates) {
      memory_disk left = after_crash(
          events, count,
          [&](std::size_t file) {
            return static_cast<unsynced>(file % 2 == 0 ? fates % 4 : fates / 4);
          },
          [&](std::size_t i) { return (subset >> i & 1U) != 0; });
      ++out.states;
      checkpoint_folder folder(left, "d");
      std::string fault;
      try {
        const auto found = folder.latest();
        if (!found) {
          if (promised > 0) fault = "nothing is found";
        } else if (!found->damaged.empty()) {
          fault = "a damaged one is passed over: " + found->damaged[0];
        } else if (found->manifest.step < promised || found->manifest.step > begun) {
          fault = "step " + std::to_string(found->manifest.step) + " is found";
        } else if (!test::has_contents(folder, *found)) {
          fault = "the contents are others";
        }
        if (fault.empty() && out.states % 5 == 0) {
          test::save(folder, begun + 1);
          const auto next = folder.latest();
          if (!next || next->manifest.step != begun + 1) fault = "the next save is not found";
          for (const std::string& name : left.list("d")) {
            if (name.ends_with(".tmp")) fault = "a temporary file stays";
          }
        }
      } catch (const rondel::error& e) {
        fault = e.what();
      }
      if (!fault.empty()) {
        out.faults.push_back("after " + std::to_string(count) + " operations: " + fault);
      }
    }
  }
}

// Saves some steps and crashes everywhere.
verdict crash_everywhere(variant how, bool forget_files = false, bool forget_folders = false,
                         std::size_t keep = 2) {
  memory_disk recorder;
  forgetful_disk disk(recorder, forget_files, forget_folders);
  checkpoint_folder folder(disk, "d", keep);
  std::vector<std::size_t> done;  // operations before the return of each save
  const std::uint64_t saves = 4;
  for (std::uint64_t step = 1; step <= saves; ++step) {
    save_as(how, disk, folder, step);
    done.push_back(recorder.events().size());
  }
  verdict out;
  for (std::size_t count = 0; count <= recorder.events().size() && out.faults.size() < 1000;
       ++count) {
    std::uint64_t promised = 0;
    while (promised < saves && done[promised] <= count) ++promised;
    if (test::pending_names(recorder.events(), count) > 16) break;
    look(recorder.events(), count, promised, std::min(promised + 1, saves), out);
  }
  return out;
}

}  // namespace

TEST_CASE("wherever a save is cut off, a complete checkpoint is found, the promised or the next") {
  std::size_t states = 0;
  for (const variant how : {variant::correct, variant::interleaved}) {
    for (const std::size_t keep : {1U, 2U, 3U}) {
      const verdict seen = crash_everywhere(how, false, false, keep);
      for (const std::string& fault : seen.faults) FAIL_CHECK(fault);
      states += seen.states;
    }
  }
  MESSAGE(states, " states");
  CHECK(states > 10'000);
}

TEST_CASE("the look at crashes finds what a wrong order of operations breaks") {
  const verdict no_file_sync = crash_everywhere(variant::correct, true, false);
  const verdict no_folder_sync = crash_everywhere(variant::correct, false, true);
  const verdict manifest_first = crash_everywhere(variant::manifest_first);
  const verdict old_removed_first = crash_everywhere(variant::old_removed_first);
  for (const verdict* one : {&no_file_sync, &no_folder_sync, &manifest_first, &old_removed_first}) {
    REQUIRE_FALSE(one->faults.empty());
    MESSAGE(one->faults.size(), " faults, the first: ", one->faults[0]);
  }
}

TEST_CASE("whichever operation fails, the checkpoint before stays and the next save succeeds") {
  std::size_t operations = 0;
  for (const bool and_after : {false, true}) {
    for (std::size_t number = 0;; ++number) {
      memory_disk disk;
      checkpoint_folder folder(disk, "d", 1);
      test::save(folder, 1);
      const std::size_t before = disk.events().size();
      disk.fail_at(before + number, and_after);
      bool failed = false;
      try {
        test::save(folder, 2);
      } catch (const rondel::io_error&) {
        failed = true;
      }
      disk.heal();
      CAPTURE(number);
      const auto found = folder.latest();
      REQUIRE(found);
      CHECK((failed || found->manifest.step == 2));
      CHECK(test::has_contents(folder, *found));
      test::save(folder, 3);
      CHECK(folder.latest()->manifest.step == 3);
      CHECK(disk.list("d").size() == 3);
      if (!failed) {
        operations = number;
        break;
      }
    }
  }
  CHECK(operations >= 3 * 5);
}
