#pragma once
#if !defined(__unix__) && !defined(__APPLE__)
#error "rondel/checkpoint/posix_disk.hpp needs POSIX; derive your own rondel::disk"
#endif
#include <rondel/checkpoint/disk.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/file.hpp>
#include <rondel/core/source_location.hpp>
#include <rondel/core/text.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace rondel {
namespace detail {

// Repeats a system call that a signal interrupted.
template <class F>
[[nodiscard]] auto uninterrupted(F&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// A file descriptor, closed at the end of the scope unless it was closed by hand.
class descriptor {
 public:
  descriptor(const char* doing, const std::string& path, int flags)
      : path_(path),
        value_(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); })) {
    if (value_ < 0) fail(doing);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (value_ >= 0) ::close(value_);
  }

  [[nodiscard]] int get() const noexcept { return value_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  // EINTR is no failure: Linux has closed the file by then, and it was synced if it had to be.
  void close() {
    const int value = std::exchange(value_, -1);
    if (::close(value) != 0 && errno != EINTR) fail("close");
  }
  void sync() const {
    if (uninterrupted([&] { return ::fsync(value_); }) != 0) fail("sync");
  }
  [[noreturn]] void fail(const char* doing, int code = errno) const {
    throw_io_error(doing, path_, code, source_location::current());
  }

 private:
  std::string path_;
  int value_;
};

class posix_writer final : public disk_writer {
 public:
  explicit posix_writer(const std::string& path)
      : file_("create", path, O_WRONLY | O_CREAT | O_TRUNC) {}

  void write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      // Linux writes at most 2 GiB at once.
      const std::size_t most = bytes.size() < (std::size_t{1} << 30) ? bytes.size() : 1U << 30;
      const auto count = uninterrupted([&] { return ::write(file_.get(), bytes.data(), most); });
      if (count < 0) file_.fail("write");
      if (count == 0) file_.fail("write", ENOSPC);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  void sync() override { file_.sync(); }
  void close() override { file_.close(); }

 private:
  descriptor file_;
};

class posix_reader final : public disk_reader {
 public:
  // Without O_NONBLOCK a named pipe would wait for a writer.
  explicit posix_reader(const std::string& path)
      : file_("open for reading", path, O_RDONLY | O_NONBLOCK) {
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) file_.fail("look at");
    if (!S_ISREG(status.st_mode)) {
      throw io_error(concat("cannot read '", path, "': it is not a regular file"));
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

  void read(std::uint64_t offset, std::span<std::byte> out) override {
    while (!out.empty()) {
      const std::size_t most = out.size() < (std::size_t{1} << 30) ? out.size() : 1U << 30;
      const bool beyond = offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
      const auto count = beyond ? 0 : uninterrupted([&] {
        return ::pread(file_.get(), out.data(), most, static_cast<off_t>(offset));
      });
      if (count < 0) file_.fail("read");
      if (count == 0) {
        throw io_error(concat("cannot read '", file_.path(), "': it ends at byte ", offset, ", ",
                              out.size(), " B too soon"));
      }
      offset += static_cast<std::uint64_t>(count);
      out = out.subspan(static_cast<std::size_t>(count));
    }
  }

 private:
  descriptor file_;
  std::uint64_t size_ = 0;
};

// The folder that holds `path`.
[[nodiscard]] inline std::string folder_of(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace detail

/// The file system of the machine, by POSIX calls.
///
/// Reads with `pread` into memory of the caller: a mapping would turn a file that is cut short
/// meanwhile, or a disk that fails, into a signal instead of an error. Durability is what `fsync`
/// of files and folders promises on the file system at hand; one that cannot sync a folder is an
/// error.
class posix_disk final : public disk {
 public:
  void make_folder(const std::string& path) override {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return;
    const std::string outer = detail::folder_of(path);
    if (outer != path && outer != "." && outer != "/") make_folder(outer);
    if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) fail("make the folder", path);
    // Whatever has the name now, only a folder can be synced as one.
    sync_folder(path);
    sync_folder(outer);
  }

  [[nodiscard]] std::unique_ptr<disk_writer> create(const std::string& path) override {
    return std::make_unique<detail::posix_writer>(path);
  }

  void rename(const std::string& from, const std::string& to) override {
    if (std::rename(from.c_str(), to.c_str()) != 0) fail("rename to", to);
  }

  void remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) fail("remove", path);
  }

  void sync_folder(const std::string& path) override {
    detail::descriptor folder("open the folder", path, O_RDONLY | O_DIRECTORY);
    folder.sync();
    folder.close();
  }

  [[nodiscard]] std::vector<std::string> list(const std::string& path) override {
    std::vector<std::string> out;
    struct closer {
      void operator()(DIR* folder) const noexcept { ::closedir(folder); }
    };
    const std::unique_ptr<DIR, closer> folder(::opendir(path.c_str()));
    if (folder == nullptr) {
      if (errno == ENOENT) return out;
      fail("list the folder", path);
    }
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(folder.get());
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (name != "." && name != "..") out.push_back(name);
    }
    if (errno != 0) fail("list the folder", path);
    return out;
  }

  [[nodiscard]] std::unique_ptr<disk_reader> open(const std::string& path) override {
    return std::make_unique<detail::posix_reader>(path);
  }

 private:
  [[noreturn]] static void fail(const char* doing, const std::string& path) {
    detail::throw_io_error(doing, path, errno, source_location::current());
  }
};

}  // namespace rondel
