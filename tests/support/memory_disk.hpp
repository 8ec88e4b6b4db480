#pragma once
#include <rondel/checkpoint/disk.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace test {

using file_bytes = std::vector<std::byte>;

// What a disk was asked to do.
struct disk_event {
  enum class kind { create, write, sync, rename, remove, sync_folder };
  kind what;
  std::size_t file = 0;  // number of the file, whatever its name
  std::string path{}, to{};
  file_bytes data{};
};

// What a crash did to bytes that were written and not synced.
enum class unsynced { kept, lost, half, zeroed };

// A disk in memory, which records what it is asked and can be rebuilt as a crash would leave it.
class memory_disk final : public rondel::disk {
 public:
  void make_folder(const std::string&) override {}

  std::unique_ptr<rondel::disk_writer> create(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    record({.what = disk_event::kind::create, .file = contents_.size(), .path = path});
    names_[path] = contents_.size();
    contents_.emplace_back();
    return std::make_unique<writer>(*this, contents_.size() - 1);
  }
  void rename(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    const std::size_t file = find(from);
    record({.what = disk_event::kind::rename, .file = file, .path = from, .to = to});
    names_.erase(from);
    names_[to] = file;
  }
  void remove(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    const std::size_t file = find(path);
    record({.what = disk_event::kind::remove, .file = file, .path = path});
    names_.erase(path);
  }
  void sync_folder(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    record({.what = disk_event::kind::sync_folder, .path = path});
  }
  std::vector<std::string> list(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [name, file] : names_) {
      if (name.starts_with(path + "/")) out.push_back(name.substr(path.size() + 1));
    }
    return out;
  }
  std::unique_ptr<rondel::disk_reader> open(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    return std::make_unique<reader>(contents_[find(path)]);
  }

  // From the operation `number` on, counted from 0, all that would change the disk fail; or only
  // that one.
  void fail_at(std::size_t number, bool and_after) {
    fail_at_ = number;
    fail_after_ = and_after;
  }
  void heal() { fail_at_.reset(); }

  [[nodiscard]] const std::vector<disk_event>& events() const { return events_; }
  // The bytes of a file, to be read or damaged.
  [[nodiscard]] file_bytes& contents(const std::string& path) { return contents_[find(path)]; }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, file] : names_) out.push_back(name);
    return out;
  }

 private:
  class writer final : public rondel::disk_writer {
   public:
    writer(memory_disk& owner, std::size_t file) : owner_(owner), file_(file) {}
    void write(std::span<const std::byte> data) override {
      const std::lock_guard lock(owner_.mutex_);
      owner_.record({.what = disk_event::kind::write,
                     .file = file_,
                     .data = file_bytes(data.begin(), data.end())});
      file_bytes& all = owner_.contents_[file_];
      all.insert(all.end(), data.begin(), data.end());
    }
    void sync() override {
      const std::lock_guard lock(owner_.mutex_);
      owner_.record({.what = disk_event::kind::sync, .file = file_});
    }
    void close() override {}

   private:
    memory_disk& owner_;
    std::size_t file_;
  };

  class reader final : public rondel::disk_reader {
   public:
    explicit reader(file_bytes all) : all_(std::move(all)) {}
    [[nodiscard]] std::uint64_t size() const noexcept override { return all_.size(); }
    void read(std::uint64_t offset, std::span<std::byte> out) override {
      if (offset > all_.size() || out.size() > all_.size() - offset) {
        throw rondel::io_error("the file ends too soon");
      }
      if (!out.empty()) std::memcpy(out.data(), all_.data() + offset, out.size());
    }

   private:
    file_bytes all_;
  };

  friend memory_disk after_crash(const std::vector<disk_event>&, std::size_t,
                                 const std::function<unsynced(std::size_t)>&,
                                 const std::function<bool(std::size_t)>&);

  void record(disk_event event) {
    const std::size_t number = events_.size();
    if (fail_at_ && (number == *fail_at_ || (fail_after_ && number > *fail_at_))) {
      if (!fail_after_) fail_at_.reset();
      throw rondel::io_error("cannot write: No space left on device");
    }
    events_.push_back(std::move(event));
  }
  [[nodiscard]] std::size_t find(const std::string& path) const {
    const auto at = names_.find(path);
    if (at == names_.end()) {
      throw rondel::io_error(rondel::concat("cannot open '", path, "': No such file or directory"));
    }
    return at->second;
  }

 public:
  memory_disk() = default;
  memory_disk(memory_disk&& other) noexcept
      : names_(std::move(other.names_)), contents_(std::move(other.contents_)) {}

 private:
  std::mutex mutex_;
  std::vector<disk_event> events_;
  std::map<std::string, std::size_t> names_;
  std::vector<file_bytes> contents_;
  std::optional<std::size_t> fail_at_;
  bool fail_after_ = false;
};

// The first `count` of `events`, of which folder operations are pending: those after the last
// sync_folder, which a crash may lose in any combination.
[[nodiscard]] inline std::size_t pending_names(const std::vector<disk_event>& events,
                                               std::size_t count) {
  std::size_t pending = 0;
  for (std::size_t i = 0; i < count; ++i) {
    switch (events[i].what) {
      case disk_event::kind::create:
      case disk_event::kind::rename:
      case disk_event::kind::remove:
        ++pending;
        break;
      case disk_event::kind::sync_folder:
        pending = 0;
        break;
      default:
        break;
    }
  }
  return pending;
}

// The disk as a crash after the first `count` of `events` leaves it, as in Pillai et al., "All File
// Systems Are Not Created Equal", OSDI 2014: of the pending folder operations only those that
// `survives(i)` are done, and `fate(f)` says what became of the bytes of file `f` that were not
// synced.
[[nodiscard]] inline memory_disk after_crash(const std::vector<disk_event>& events,
                                             std::size_t count,
                                             const std::function<unsynced(std::size_t)>& fate,
                                             const std::function<bool(std::size_t)>& survives) {
  memory_disk out;
  const std::size_t all_pending = pending_names(events, count);
  std::size_t names_left = 0;
  for (std::size_t i = 0; i < count; ++i) {
    names_left += events[i].what == disk_event::kind::create ||
                  events[i].what == disk_event::kind::rename ||
                  events[i].what == disk_event::kind::remove;
  }
  std::vector<std::size_t> synced;
  std::size_t pending = 0;
  const auto happens = [&] {
    // The last `all_pending` folder operations are the pending ones.
    return names_left-- > all_pending || survives(pending++);
  };
  for (std::size_t i = 0; i < count; ++i) {
    const disk_event& event = events[i];
    switch (event.what) {
      case disk_event::kind::create:
        out.contents_.emplace_back();
        synced.push_back(0);
        if (happens()) out.names_[event.path] = event.file;
        break;
      case disk_event::kind::write:
        out.contents_[event.file].insert(out.contents_[event.file].end(), event.data.begin(),
                                         event.data.end());
        break;
      case disk_event::kind::sync:
        synced[event.file] = out.contents_[event.file].size();
        break;
      case disk_event::kind::rename:
        if (happens()) {
          out.names_.erase(event.path);
          out.names_[event.to] = event.file;
        }
        break;
      case disk_event::kind::remove:
        if (happens()) out.names_.erase(event.path);
        break;
      case disk_event::kind::sync_folder:
        break;
    }
  }
  for (std::size_t i = 0; i < out.contents_.size(); ++i) {
    file_bytes& all = out.contents_[i];
    const std::size_t lost = all.size() - synced[i];
    const unsynced data = fate(i);
    if (data == unsynced::lost) all.resize(synced[i]);
    if (data == unsynced::half) all.resize(synced[i] + lost / 2);
    if (data == unsynced::zeroed) {
      std::fill(all.end() - static_cast<std::ptrdiff_t>(lost), all.end(), std::byte{});
    }
  }
  return out;
}

}  // namespace test
