#pragma once
#include <rondel/checkpoint/disk.hpp>
#include <rondel/checkpoint/folder.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/utf8.hpp>
#include <rondel/device/array.hpp>

#include "options.hpp"
#include "text.hpp"
#include "trainer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace train_gpt {

/// A checkpoint could not be saved, or an older one not be removed; `what()` is one sentence.
class save_failed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where a run saves, and what it goes on from.
class checkpoint_store {
 public:
  /// What `o` asks for, on `where`, which must outlive it. Reads and verifies the checkpoint to go
  /// on from. Throws `usage_error` if there is none, it is damaged, it was made by a run with other
  /// options or another text, or its folder cannot be written to while errors are to stop the run.
  checkpoint_store(rondel::disk& where, const options& o, const text_split& text);
  checkpoint_store(const checkpoint_store&) = delete;
  checkpoint_store& operator=(const checkpoint_store&) = delete;

  /// Whether the run saves at all.
  [[nodiscard]] bool saves() const noexcept { return folder_.has_value(); }
  /// Where the run saves; `saves()` must hold.
  [[nodiscard]] rondel::checkpoint_folder& folder() noexcept { return *folder_; }
  /// What it goes on from, if anything.
  [[nodiscard]] const std::optional<rondel::found_checkpoint>& found() const noexcept {
    return found_;
  }
  /// The folder of that.
  [[nodiscard]] const rondel::checkpoint_folder& source() const noexcept { return *source_; }
  /// Steps that were done before.
  [[nodiscard]] std::size_t first_step() const noexcept {
    return found_ ? static_cast<std::size_t>(found_->manifest.step) : 0;
  }
  /// What the manifest says of the run: every option that its numbers depend on, and the text.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept {
    return metadata_;
  }

 private:
  void check(const options& o) const;

  std::map<std::string, std::string> metadata_;
  std::optional<rondel::checkpoint_folder> folder_;
  std::optional<rondel::checkpoint_folder> elsewhere_;
  rondel::checkpoint_folder* source_ = nullptr;
  std::optional<rondel::found_checkpoint> found_;
};

/// What a rank tells the others about its part of a save; `problem` is empty if it did it.
struct save_word {
  /// Of rank 0's: the name of the save.
  rondel::checkpoint_id id{};
  /// Of the rank's shard.
  std::uint64_t bytes = 0;
  /// The same.
  std::uint32_t checksum = 0;
  /// A sentence, as long as it fits.
  char problem[468] = {};
};

/// What a save gave.
struct save_result {
  /// Its name.
  rondel::checkpoint_id id{};
  /// Bytes of all shards.
  std::uint64_t bytes = 0;
  /// A sentence that says what failed; empty if nothing did.
  std::string problem{};
};

/// The state of a `trainer` as named tensors: parameters and both moments, in that order.
///
/// All ranks hold the same state. To save, each writes a part of about equal size; to load, each
/// reads everything, so the number of ranks may change between.
template <class T, rondel::communicator C>
class training_state {
 public:
  /// The state of `t`, which must outlive it.
  explicit training_state(trainer<T, C>& t) : trainer_(&t) {
    auto& optimizer = t.optimizer();
    const std::pair<const char*, rondel::device_span<T>> parts[] = {
        {"model.", t.model().parameters()},
        {"optimizer.moment1.", optimizer.moment1()},
        {"optimizer.moment2.", optimizer.moment2()}};
    for (const auto& [prefix, all] : parts) {
      for (const parameter_tensor& one : t.model().layout().tensors()) {
        rondel::tensor_info info{.name = prefix + one.name,
                                 .type = rondel::file_dtype(rondel::dtype_of<T>)};
        if (one.rows != 1) info.shape.push_back(one.rows);
        info.shape.push_back(one.columns);
        info.bytes = one.size() * sizeof(T);
        total_ += info.bytes;
        tensors_.push_back({std::move(info), all.subspan(one.offset, one.size())});
      }
    }
  }

  /// Writes part `index` of `count` of the save `id` to `folder` durably. All steps must be done.
  /// Throws `rondel::io_error`.
  [[nodiscard]] rondel::checkpoint_file write(const rondel::checkpoint_folder& folder,
                                              const rondel::checkpoint_id& id, std::size_t index,
                                              std::size_t count) {
    const auto [first, last] = part(index, count);
    std::vector<rondel::tensor_info> infos;
    for (std::size_t i = first; i < last; ++i) infos.push_back(tensors_[i].info);
    auto writer = folder.write_shard(id, index, count, std::move(infos));
    std::vector<T> host;
    for (std::size_t i = first; i < last; ++i) {
      host.resize(tensors_[i].elements.size());
      rondel::download(trainer_->compute(), std::span(host), tensors_[i].elements);
      trainer_->compute().synchronize();
      writer.write(tensors_[i].info.name, std::as_bytes(std::span(host)));
    }
    writer.publish();
    return rondel::checkpoint_folder::record(writer.file());
  }

  /// Sets the state to what `saved` holds after `steps` steps. Throws `rondel::invalid_data` if a
  /// tensor is missing, too many, or of another type or shape, and `rondel::io_error`.
  void read(const rondel::checkpoint_reader& saved, std::size_t steps) {
    if (saved.size() != tensors_.size()) {
      throw rondel::invalid_data(rondel::concat("the checkpoint has ", saved.size(),
                                                " tensors; the model needs ", tensors_.size()));
    }
    std::vector<T> host;
    for (const tensor& one : tensors_) {
      const rondel::tensor_info& info = saved.at(one.info.name);
      if (info.type != one.info.type || info.shape != one.info.shape) {
        throw rondel::invalid_data(rondel::concat(
            "the checkpoint's '", one.info.name, "' has the type ", to_string(info.type), " and ",
            info.bytes, " B; the model needs ", to_string(one.info.type), " and ", one.info.bytes));
      }
      host.resize(one.elements.size());
      saved.read(one.info.name, std::as_writable_bytes(std::span(host)));
      rondel::upload(trainer_->compute(), one.elements, std::span<const T>(host));
      trainer_->compute().synchronize();
    }
    trainer_->start_at(steps);
  }

 private:
  struct tensor {
    rondel::tensor_info info;
    rondel::device_span<T> elements;
  };

  // The tensors of which the middle byte lies in part `index` of `count` of all bytes.
  [[nodiscard]] std::pair<std::size_t, std::size_t> part(std::size_t index,
                                                         std::size_t count) const {
    std::size_t first = tensors_.size(), last = tensors_.size();
    std::uint64_t before = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const auto middle =
          static_cast<double>(before) + 0.5 * static_cast<double>(tensors_[i].info.bytes);
      const auto owner = static_cast<std::size_t>(middle / static_cast<double>(total_) *
                                                  static_cast<double>(count));
      if (owner >= index) first = std::min(first, i);
      if (owner > index) last = std::min(last, i);
      before += tensors_[i].info.bytes;
    }
    return {first, last};
  }

  trainer<T, C>* trainer_;
  std::vector<tensor> tensors_;
  std::uint64_t total_ = 0;
};

namespace detail {

/// Runs `f` and returns what a disk or a file did wrong, empty if nothing.
template <class F>
[[nodiscard]] save_word attempt(F&& f) {
  save_word out;
  const auto keep = [&out](const rondel::error& e) {
    const std::string_view text = e.what();
    const std::size_t size = std::min(text.size(), sizeof out.problem - 1);
    std::memcpy(out.problem, text.data(), size);
  };
  try {
    f(out);
  } catch (const rondel::io_error& e) {
    keep(e);
  } catch (const rondel::invalid_data& e) {
    keep(e);
  }
  return out;
}

/// Every rank's word on every rank.
template <rondel::communicator C>
[[nodiscard]] std::vector<save_word> tell(C& world, const save_word& mine) {
  static_assert(std::is_trivially_copyable_v<save_word>);
  std::vector<save_word> all(static_cast<std::size_t>(world.size()));
  world.exchange_host(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  return all;
}

}  // namespace detail

/// Saves the state of `t` after `steps` steps. Collective; all steps must be done on all ranks.
///
/// Rank 0 names the save; every rank makes its shard durable; once all have said so, rank 0
/// publishes the manifest and removes old checkpoints. Every rank gets the same result. What the
/// disk does wrong is a result and no exception, and leaves the checkpoints before as they were.
template <class T, rondel::communicator C>
[[nodiscard]] save_result save_checkpoint(checkpoint_store& store, trainer<T, C>& t, C& world,
                                          std::size_t steps) {
  const bool leads = world.rank() == 0;
  const auto ranks = static_cast<std::size_t>(world.size());
  rondel::checkpoint_folder& folder = store.folder();

  const save_word begun = detail::tell(world, detail::attempt([&](save_word& word) {
                                         if (leads) word.id = folder.begin(steps);
                                       }))
                              .front();
  save_result out{.id = begun.id};
  const auto note = [&out](const std::string& failed, const save_word& word) {
    if (out.problem.empty() && word.problem[0] != '\0') {
      out.problem = rondel::concat(failed, ": ", std::string_view(word.problem));
    }
  };
  const std::string not_saved =
      rondel::concat("the checkpoint after step ", steps, " is not saved");
  note(not_saved, begun);
  if (!out.problem.empty()) return out;

  const auto shards = detail::tell(world, detail::attempt([&](save_word& word) {
                                     const auto rank = static_cast<std::size_t>(world.rank());
                                     const auto file =
                                         training_state<T, C>(t).write(folder, out.id, rank, ranks);
                                     word.bytes = file.bytes;
                                     word.checksum = file.checksum;
                                   }));
  rondel::checkpoint_manifest manifest{
      .step = steps, .world = {{"data", ranks}}, .metadata = store.metadata()};
  for (std::size_t i = 0; i < ranks; ++i) {
    note(not_saved, shards[i]);
    manifest.files.push_back(
        {rondel::shard_name(out.id, i, ranks), shards[i].bytes, shards[i].checksum});
    out.bytes += shards[i].bytes;
  }
  if (out.problem.empty()) {
    note(not_saved, detail::tell(world, detail::attempt([&](save_word&) {
                                   if (leads) folder.publish(out.id, manifest);
                                 }))
                        .front());
  }
  if (!out.problem.empty()) {
    if (leads) folder.discard(out.id);
    return out;
  }
  note("a checkpoint that is too old cannot be removed",
       detail::tell(world, detail::attempt([&](save_word&) {
                      if (leads) folder.remove_old();
                    }))
           .front());
  return out;
}

}  // namespace train_gpt
