#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/source_location.hpp>
#include <rondel/core/text.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>

namespace rondel {
namespace detail {

// Closes at the end of the scope unless it was closed by hand.
struct open_file {
  std::FILE* handle;

  explicit open_file(std::FILE* file) noexcept : handle(file) {}
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  ~open_file() {
    if (handle != nullptr) std::fclose(handle);
  }

  // Closes and says whether everything that was buffered reached the file.
  [[nodiscard]] bool close() noexcept {
    std::FILE* file = handle;
    handle = nullptr;
    return std::fclose(file) == 0;
  }
};

[[noreturn]] inline void throw_io_error(std::string_view doing, const std::string& path, int code,
                                        source_location where) {
  throw io_error(concat("cannot ", doing, " '", path, "': ", std::generic_category().message(code)),
                 where);
}

}  // namespace detail

/// Writes `text` to the file `path`, in place of what it held.
///
/// Throws `io_error`, which names the path and the reason, if the file cannot be opened or
/// written whole; it may then hold a part of the text.
inline void write_text_file(const std::string& path, std::string_view text,
                            source_location where = source_location::current()) {
  detail::open_file file(std::fopen(path.c_str(), "wb"));
  if (file.handle == nullptr) detail::throw_io_error("open for writing", path, errno, where);
  if (std::fwrite(text.data(), 1, text.size(), file.handle) != text.size()) {
    detail::throw_io_error("write", path, errno, where);
  }
  if (!file.close()) detail::throw_io_error("write", path, errno, where);
}

/// The bytes of the file `path`, of which there may be at most `max_bytes`.
///
/// Memory grows with what is read, not with what the file claims to hold. Throws `io_error`,
/// which names the path and the reason, if the file cannot be read or is longer.
[[nodiscard]] inline std::string read_text_file(
    const std::string& path, std::size_t max_bytes = std::size_t{64} << 20,
    source_location where = source_location::current()) {
  detail::open_file file(std::fopen(path.c_str(), "rb"));
  if (file.handle == nullptr) detail::throw_io_error("open for reading", path, errno, where);
  std::string text;
  char block[4096];
  while (const std::size_t count = std::fread(block, 1, sizeof block, file.handle)) {
    if (count > max_bytes - text.size()) {
      throw io_error(
          concat("cannot read '", path, "': it is longer than the limit of ", max_bytes, " B"),
          where);
    }
    text.append(block, count);
  }
  if (std::ferror(file.handle) != 0) detail::throw_io_error("read", path, errno, where);
  return text;
}

}  // namespace rondel
