#pragma once
#include <rondel/checkpoint/crc32c.hpp>
#include <rondel/checkpoint/disk.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace rondel {
namespace detail {

inline constexpr std::string_view temporary_suffix = ".tmp";

[[nodiscard]] inline std::string path_in(std::string_view folder, std::string_view name) {
  return folder.ends_with('/') ? concat(folder, name) : concat(folder, "/", name);
}

}  // namespace detail

/// A new file in a folder, which gets its name only when it is whole and durable.
///
/// It is written under the name with ".tmp" behind it. `publish` syncs the contents, gives the file
/// its name in place of what had it, and syncs the folder; a crash before leaves what was there,
/// and perhaps the temporary file. Destroying it unpublished removes the temporary file. Holds no
/// contents.
class durable_file {
 public:
  /// Begins the file `name` in `folder` on `where`, which must outlive it. Throws `io_error`.
  durable_file(disk& where, std::string folder, std::string name)
      : disk_(where),
        folder_(std::move(folder)),
        name_(std::move(name)),
        file_(disk_.create(temporary_path())) {}
  durable_file(const durable_file&) = delete;
  durable_file& operator=(const durable_file&) = delete;
  ~durable_file() {
    if (published_) return;
    file_.reset();
    try {
      disk_.remove(temporary_path());
    } catch (const error&) {  // a leftover that the next save removes
    }
  }

  /// Appends `bytes`. Throws `io_error`, after which only destruction makes sense.
  void write(std::span<const std::byte> bytes) {
    file_->write(bytes);
    size_ += bytes.size();
    sum_.update(bytes);
  }
  /// Appends `text`.
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Makes the file durable and gives it its name; then it survives a loss of power. Throws
  /// `io_error`; the file may then have its name already, without a promise that it keeps it.
  void publish() {
    file_->sync();
    file_->close();
    file_.reset();
    disk_.rename(temporary_path(), detail::path_in(folder_, name_));
    published_ = true;
    disk_.sync_folder(folder_);
  }

  /// The name it gets.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Bytes written so far.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Checksum of these.
  [[nodiscard]] std::uint32_t checksum() const noexcept { return sum_.value(); }

 private:
  [[nodiscard]] std::string temporary_path() const {
    return concat(detail::path_in(folder_, name_), detail::temporary_suffix);
  }

  disk& disk_;
  std::string folder_;
  std::string name_;
  std::unique_ptr<disk_writer> file_;
  std::uint64_t size_ = 0;
  crc32c sum_;
  bool published_ = false;
};

}  // namespace rondel
