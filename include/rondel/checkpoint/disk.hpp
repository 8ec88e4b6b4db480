#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rondel {

/// A file that is being written. Destroying it closes it; what was not synced may then be lost.
class disk_writer {
 public:
  virtual ~disk_writer() = default;
  /// Appends all of `bytes`. Throws `io_error`.
  virtual void write(std::span<const std::byte> bytes) = 0;
  /// Returns once the contents would survive a loss of power. Throws `io_error`; the contents are
  /// then unknown, whatever a second call says.
  virtual void sync() = 0;
  /// Closes. Throws `io_error`.
  virtual void close() = 0;
};

/// A file that is being read.
class disk_reader {
 public:
  virtual ~disk_reader() = default;
  /// Bytes of the file when it was opened.
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
  /// Fills `out` from byte `offset` on. Throws `io_error`, also if the file ends before.
  virtual void read(std::uint64_t offset, std::span<std::byte> out) = 0;
};

/// What checkpoints ask of a file system. `posix_disk` is the real one; tests put others in its
/// place, to let it fail and to look at what a crash would leave.
///
/// A name that appears, changes or goes in a folder is durable only after `sync_folder`. Calls of
/// several threads may overlap. All throw `io_error` with the path and the reason.
class disk {
 public:
  virtual ~disk() = default;
  /// Makes the folder `path`, and the folders around it that are missing, durably.
  virtual void make_folder(const std::string& path) = 0;
  /// Makes an empty file `path`, in place of what was there.
  [[nodiscard]] virtual std::unique_ptr<disk_writer> create(const std::string& path) = 0;
  /// Gives the file `from` the name `to` in one step, in place of what was there.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  /// Removes the file `path`.
  virtual void remove(const std::string& path) = 0;
  /// Returns once the names in the folder `path` would survive a loss of power.
  virtual void sync_folder(const std::string& path) = 0;
  /// Names of the files in the folder `path`, in any order; none if there is no such folder.
  [[nodiscard]] virtual std::vector<std::string> list(const std::string& path) = 0;
  /// Opens the regular file `path`.
  [[nodiscard]] virtual std::unique_ptr<disk_reader> open(const std::string& path) = 0;
};

}  // namespace rondel
