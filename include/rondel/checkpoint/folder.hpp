#pragma once
#include <rondel/checkpoint/crc32c.hpp>
#include <rondel/checkpoint/disk.hpp>
#include <rondel/checkpoint/durable_file.hpp>
#include <rondel/checkpoint/manifest.hpp>
#include <rondel/checkpoint/name.hpp>
#include <rondel/checkpoint/safetensors.hpp>
#include <rondel/checkpoint/safetensors_file.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// A complete checkpoint that was found.
struct found_checkpoint {
  /// Its name.
  checkpoint_id id;
  /// What it consists of.
  checkpoint_manifest manifest;
  /// Of each newer checkpoint that is damaged, what is wrong with it, newest first.
  std::vector<std::string> damaged;
};

/// The tensors of all files of a checkpoint.
class checkpoint_reader {
 public:
  /// Opens the files of `manifest` in `folder` on `where`. Checks their headers, not their
  /// checksums. Throws `io_error`, and `invalid_data` if a file breaks its format or a tensor is in
  /// two files.
  checkpoint_reader(disk& where, const std::string& folder, const checkpoint_manifest& manifest) {
    for (const checkpoint_file& file : manifest.files) {
      files_.push_back(
          std::make_unique<safetensors_reader>(where, detail::path_in(folder, file.name)));
      for (const tensor_info& tensor : files_.back()->header().tensors) {
        if (!tensors_.emplace(tensor.name, place{files_.back().get(), &tensor}).second) {
          throw invalid_data(concat("tensor ", detail::in_quotes(tensor.name), " is in ",
                                    detail::in_quotes(file.name), " and in a file before it"));
        }
      }
    }
  }

  /// Number of tensors.
  [[nodiscard]] std::size_t size() const noexcept { return tensors_.size(); }

  /// The tensor `name`. Throws `invalid_data` if no file has it.
  [[nodiscard]] const tensor_info& at(std::string_view name) const { return *find(name).tensor; }

  /// Fills `out` with bytes of the tensor `name` from its byte `offset` on. Throws `invalid_data`
  /// if no file has it, `invalid_argument` if it has fewer bytes, and `io_error`.
  void read(std::string_view name, std::span<std::byte> out, std::uint64_t offset = 0) const {
    const place found = find(name);
    found.file->read(*found.tensor, out, offset);
  }

 private:
  struct place {
    const safetensors_reader* file;
    const tensor_info* tensor;
  };

  [[nodiscard]] place find(std::string_view name) const {
    const auto at = tensors_.find(name);
    if (at == tensors_.end()) {
      throw invalid_data(concat("the checkpoint has no tensor ", detail::in_quotes(name)));
    }
    return at->second;
  }

  std::vector<std::unique_ptr<const safetensors_reader>> files_;
  std::map<std::string_view, place> tensors_;  // by the names in the headers of the files
};

/// A folder of checkpoints, of which the newest complete one can always be found, whenever the
/// writers died.
///
/// To save: one rank calls `begin`; every rank writes its shard with `write_shard` and publishes
/// it; once one rank knows that all have, it calls `publish` with their records, and then
/// `remove_old`. If anything throws, that rank calls `discard`. The order is the caller's to keep;
/// nothing here knows of ranks. One run at a time may save to a folder. Other files in it are left
/// alone.
class checkpoint_folder {
 public:
  /// The folder `path` on `where`, which must outlive it. Nothing is touched yet. Throws
  /// `invalid_argument` if `keep` is 0.
  checkpoint_folder(disk& where, std::string path, std::size_t keep = 2)
      : disk_(&where), path_(std::move(path)), keep_(keep) {
    if (keep == 0) throw invalid_argument("checkpoint_folder: cannot keep 0 checkpoints");
  }

  /// The folder.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// The newest checkpoint whose files all have the sizes and checksums that its manifest says;
  /// reads them whole. Nothing if there is no manifest. Throws `invalid_data`, which lists what is
  /// wrong with each, if none is complete, and `io_error` if the folder cannot be listed.
  [[nodiscard]] std::optional<found_checkpoint> latest() {
    std::vector<std::string> damaged;
    for (const checkpoint_id& id : manifests(disk_->list(path_))) {
      try {
        checkpoint_manifest manifest = read_manifest(id);
        for (const checkpoint_file& file : manifest.files) verify(file);
        return found_checkpoint{id, std::move(manifest), std::move(damaged)};
      } catch (const error& e) {
        damaged.push_back(concat(to_string(id), ": ", e.what()));
        damaged_.insert(id.serial);
      }
    }
    if (damaged.empty()) return std::nullopt;
    std::string all = concat("no checkpoint in '", path_, "' is complete");
    for (const std::string& one : damaged) all += "; " + one;
    throw invalid_data(all);
  }

  /// The tensors of a checkpoint that `latest` found.
  [[nodiscard]] checkpoint_reader open(const found_checkpoint& found) const {
    return {*disk_, path_, found.manifest};
  }

  /// Makes the folder if need be, removes what writers left that died, and chooses a name that no
  /// save had before. Throws `io_error`.
  [[nodiscard]] checkpoint_id begin(std::uint64_t step) {
    disk_->make_folder(path_);
    const std::vector<std::string> names = disk_->list(path_);
    std::set<std::uint64_t> complete;
    for (const checkpoint_id& id : manifests(names)) complete.insert(id.serial);
    std::uint64_t last = 0;
    for (const std::string& name : names) {
      const auto entry = detail::parse_entry(name);
      if (!entry) continue;
      last = std::max(last, entry->id.serial);
      if (entry->temporary || !complete.contains(entry->id.serial)) remove(name);
    }
    return {last + 1, step};
  }

  /// Begins shard `index` of `count` of the save `id`. The caller writes the tensors, publishes it
  /// and keeps `record` of its file. Throws as the constructor of `safetensors_writer` does.
  [[nodiscard]] safetensors_writer write_shard(
      const checkpoint_id& id, std::size_t index, std::size_t count,
      std::vector<tensor_info> tensors,
      const std::map<std::string, std::string>& metadata = {}) const {
    return {*disk_, path_, shard_name(id, index, count), std::move(tensors), metadata};
  }

  /// What a manifest says of a file that was written.
  [[nodiscard]] static checkpoint_file record(const durable_file& file) {
    return {file.name(), file.size(), file.checksum()};
  }

  /// Publishes the manifest of the save `id`, all of whose files are durable: from then on it is
  /// the newest checkpoint. Throws `invalid_argument` if `manifest` is of another step,
  /// `invalid_data` if a file is not there with its size, and `io_error`.
  void publish(const checkpoint_id& id, const checkpoint_manifest& manifest) {
    if (manifest.step != id.step) {
      throw invalid_argument(concat("checkpoint_folder: the manifest of step ", manifest.step,
                                    " is published as ", to_string(id)));
    }
    const std::string text = to_json(manifest);
    for (const checkpoint_file& file : manifest.files) static_cast<void>(check_size(file));
    durable_file out(*disk_, path_, manifest_name(id));
    out.write(text);
    out.publish();
  }

  /// Removes what is older than the newest `keep` checkpoints that look complete: those that
  /// `latest` found damaged do not count, nor do those whose files have other sizes. Throws
  /// `io_error`.
  void remove_old() {
    const std::vector<std::string> names = disk_->list(path_);
    std::size_t complete = 0;
    std::uint64_t oldest = 0;
    for (const checkpoint_id& id : manifests(names)) {
      if (looks_complete(id)) ++complete;
      oldest = id.serial;
      if (complete == keep_) break;
    }
    if (complete < keep_) return;
    // Manifests go first, so that no manifest is without its files for long.
    for (const bool manifest : {true, false}) {
      for (const std::string& name : names) {
        const auto entry = detail::parse_entry(name);
        if (entry && entry->id.serial < oldest && entry->manifest == manifest) remove(name);
      }
    }
  }

  /// Removes the files of the save `id`, which failed. What cannot be removed is left to `begin`.
  void discard(const checkpoint_id& id) noexcept {
    try {
      const std::vector<std::string> names = disk_->list(path_);
      for (const bool manifest : {true, false}) {
        for (const std::string& name : names) {
          const auto entry = detail::parse_entry(name);
          if (entry && entry->id == id && entry->manifest == manifest) remove(name);
        }
      }
    } catch (...) {
    }
  }

 private:
  static constexpr std::size_t most_manifest_bytes = std::size_t{16} << 20;

  [[nodiscard]] std::string path_of(std::string_view name) const {
    return detail::path_in(path_, name);
  }
  void remove(const std::string& name) { disk_->remove(path_of(name)); }

  // Checkpoints with a manifest, newest first.
  [[nodiscard]] static std::vector<checkpoint_id> manifests(const std::vector<std::string>& names) {
    std::vector<checkpoint_id> out;
    for (const std::string& name : names) {
      const auto entry = detail::parse_entry(name);
      if (entry && entry->manifest && !entry->temporary) out.push_back(entry->id);
    }
    std::sort(out.begin(), out.end(), [](const checkpoint_id& a, const checkpoint_id& b) {
      return std::pair(a.serial, a.step) > std::pair(b.serial, b.step);
    });
    return out;
  }

  [[nodiscard]] checkpoint_manifest read_manifest(const checkpoint_id& id) const {
    const std::string name = manifest_name(id);
    const auto file = disk_->open(path_of(name));
    if (file->size() > most_manifest_bytes) {
      throw invalid_data(concat("'", name, "' has ", file->size(), " B; at most ",
                                most_manifest_bytes, " are read"));
    }
    std::string text(static_cast<std::size_t>(file->size()), '\0');
    file->read(0, std::as_writable_bytes(std::span(text)));
    checkpoint_manifest out = parse_checkpoint_manifest(text, concat("'", name, "'"));
    if (out.step != id.step) {
      throw invalid_data(concat("'", name, "' holds the manifest of step ", out.step));
    }
    return out;
  }

  [[nodiscard]] std::unique_ptr<disk_reader> check_size(const checkpoint_file& file) const {
    std::unique_ptr<disk_reader> opened = disk_->open(path_of(file.name));
    if (opened->size() != file.bytes) {
      throw invalid_data(
          concat("'", file.name, "' has ", opened->size(), " B, the manifest says ", file.bytes));
    }
    return opened;
  }

  void verify(const checkpoint_file& file) const {
    const auto opened = check_size(file);
    std::vector<std::byte> block(
        static_cast<std::size_t>(std::min<std::uint64_t>(file.bytes, std::uint64_t{1} << 20)));
    crc32c sum;
    for (std::uint64_t at = 0; at < file.bytes; at += block.size()) {
      const auto count = std::min<std::uint64_t>(block.size(), file.bytes - at);
      const auto part = std::span(block).first(static_cast<std::size_t>(count));
      opened->read(at, part);
      sum.update(part);
    }
    if (sum.value() != file.checksum) {
      throw invalid_data(concat("'", file.name, "' has the checksum ",
                                detail::crc_text(sum.value()), ", the manifest says ",
                                detail::crc_text(file.checksum)));
    }
  }

  [[nodiscard]] bool looks_complete(const checkpoint_id& id) const {
    if (damaged_.contains(id.serial)) return false;
    try {
      for (const checkpoint_file& file : read_manifest(id).files) {
        static_cast<void>(check_size(file));
      }
      return true;
    } catch (const error&) {
      return false;
    }
  }

  disk* disk_;
  std::string path_;
  std::size_t keep_;
  std::set<std::uint64_t> damaged_;  // serials
};

}  // namespace rondel
