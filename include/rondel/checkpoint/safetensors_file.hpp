#pragma once
#include <rondel/checkpoint/disk.hpp>
#include <rondel/checkpoint/durable_file.hpp>
#include <rondel/checkpoint/safetensors.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// Writes a safetensors file tensor by tensor, and holds none of them.
///
/// The names, types and shapes come first, because the header does; then the bytes of each tensor
/// in the same order, in pieces of any size. Elements are little-endian.
class safetensors_writer {
 public:
  /// Begins the file `name` in `folder` on `where`, which must outlive it. Throws
  /// `invalid_argument` as `make_safetensors_header` does, before it touches the disk, and
  /// `io_error`.
  safetensors_writer(disk& where, const std::string& folder, const std::string& name,
                     std::vector<tensor_info> tensors,
                     const std::map<std::string, std::string>& metadata = {})
      : tensors_(std::move(tensors)),
        header_(make_safetensors_header(tensors_, metadata)),
        file_(where, folder, name) {
    file_.write(header_);
    header_ = {};
    skip_complete();
  }

  /// The tensors with their places, in the order in which they are written.
  [[nodiscard]] std::span<const tensor_info> tensors() const noexcept { return tensors_; }

  /// Appends `bytes` to the tensor `name`, which must be the one whose turn it is. Throws
  /// `invalid_argument` if it is not or these are too many, and `io_error`.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    if (next_ == tensors_.size() || tensors_[next_].name != name) {
      throw invalid_argument(
          concat("safetensors_writer: bytes of ", detail::in_quotes(name), " came ",
                 next_ == tensors_.size() ? std::string("after the last tensor")
                                          : concat("when ", detail::in_quotes(tensors_[next_].name),
                                                   " has its turn, ", left(), " B short")));
    }
    if (bytes.size() > left()) {
      throw invalid_argument(concat("safetensors_writer: ", bytes.size(), " B came for ",
                                    detail::in_quotes(name), ", which lacks only ", left()));
    }
    file_.write(bytes);
    written_ += bytes.size();
    skip_complete();
  }

  /// Makes the file durable under its name. Throws `invalid_argument` if a tensor is not complete,
  /// `io_error` as `durable_file::publish` does.
  void publish() {
    if (next_ != tensors_.size()) {
      throw invalid_argument(concat("safetensors_writer: ", detail::in_quotes(tensors_[next_].name),
                                    " is ", left(), " B short"));
    }
    file_.publish();
  }

  /// The file, for its name, size and checksum.
  [[nodiscard]] const durable_file& file() const noexcept { return file_; }

 private:
  [[nodiscard]] std::uint64_t left() const noexcept { return tensors_[next_].bytes - written_; }

  void skip_complete() noexcept {
    while (next_ < tensors_.size() && left() == 0) {
      ++next_;
      written_ = 0;
    }
  }

  std::vector<tensor_info> tensors_;
  std::string header_;
  durable_file file_;
  std::size_t next_ = 0;
  std::uint64_t written_ = 0;
};

/// Reads a safetensors file. Construction reads and checks the header, and `read` reads tensors
/// straight into memory of the caller; nothing else is held.
class safetensors_reader {
 public:
  /// Opens the file `path` on `where`. Throws `io_error`, and `invalid_data` as
  /// `parse_safetensors_header` does. Allocates at most in proportion to the header that the file
  /// really holds.
  safetensors_reader(disk& where, std::string path)
      : path_(std::move(path)), file_(where.open(path_)) {
    const std::string what = concat("'", path_, "'");
    std::byte prefix[8] = {};
    if (file_->size() >= sizeof prefix) file_->read(0, prefix);
    const std::uint64_t length = parse_safetensors_length(prefix, file_->size(), what);
    std::string text(static_cast<std::size_t>(length), '\0');
    file_->read(sizeof prefix, std::as_writable_bytes(std::span(text)));
    header_ = parse_safetensors_header(text, file_->size(), what);
    order_.resize(header_.tensors.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    std::sort(order_.begin(), order_.end(), [this](std::size_t a, std::size_t b) {
      return header_.tensors[a].name < header_.tensors[b].name;
    });
  }

  /// What the file says of itself.
  [[nodiscard]] const safetensors_header& header() const noexcept { return header_; }

  /// The tensor `name`, null if there is none.
  [[nodiscard]] const tensor_info* find(std::string_view name) const noexcept {
    const auto at = std::lower_bound(order_.begin(), order_.end(), name,
                                     [this](std::size_t i, std::string_view wanted) {
                                       return header_.tensors[i].name < wanted;
                                     });
    if (at == order_.end() || header_.tensors[*at].name != name) return nullptr;
    return &header_.tensors[*at];
  }

  /// The tensor `name`. Throws `invalid_data` if there is none.
  [[nodiscard]] const tensor_info& at(std::string_view name) const {
    if (const tensor_info* found = find(name)) return *found;
    throw invalid_data(concat("'", path_, "' has no tensor ", detail::in_quotes(name)));
  }

  /// Fills `out` with bytes of `tensor`, one of this file's, from its byte `offset` on. Throws
  /// `invalid_argument` if the tensor has fewer, and `io_error`.
  void read(const tensor_info& tensor, std::span<std::byte> out, std::uint64_t offset = 0) const {
    if (offset > tensor.bytes || out.size() > tensor.bytes - offset) {
      throw invalid_argument(concat("safetensors_reader: bytes [", offset, ", ", offset, " + ",
                                    out.size(), ") are not inside ", detail::in_quotes(tensor.name),
                                    " of ", tensor.bytes, " B"));
    }
    file_->read(header_.data_offset + tensor.offset + offset, out);
  }

 private:
  std::string path_;
  std::unique_ptr<disk_reader> file_;
  safetensors_header header_;
  std::vector<std::size_t> order_;  // of header_.tensors, by name
};

}  // namespace rondel
