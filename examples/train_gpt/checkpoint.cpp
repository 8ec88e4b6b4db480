#include "checkpoint.hpp"

#include <rondel/checkpoint/crc32c.hpp>
#include <rondel/checkpoint/durable_file.hpp>
#include <rondel/core/text.hpp>

#include <charconv>

namespace train_gpt {
namespace {

using rondel::concat;

// Enough digits to tell any two numbers apart.
[[nodiscard]] std::string exact(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

[[nodiscard]] std::string describe_text(const text_split& text) {
  rondel::crc32c sum;
  sum.update(std::as_bytes(text.train));
  sum.update(std::as_bytes(text.held_out));
  return concat(text.train.size(), " + ", text.held_out.size(), " bytes, crc32c ", sum.value());
}

// Every option that the numbers of a run depend on, by name. Ranks, micro-batches and buckets are
// left out: they change no more than rounding.
[[nodiscard]] std::map<std::string, std::string> describe_run(const options& o,
                                                              const text_split& text) {
  const training_config c = o.training();
  return {{"--layers", std::to_string(c.model.layers)},
          {"--heads", std::to_string(c.model.heads)},
          {"--width", std::to_string(c.model.width)},
          {"--context", std::to_string(c.model.context)},
          {"--precision", o.precision},
          {"--steps", std::to_string(o.steps)},
          {"--batch", std::to_string(c.batch)},
          {"--lr", exact(c.schedule.peak)},
          {"--min-lr", exact(c.schedule.minimum)},
          {"--warmup", std::to_string(c.schedule.warmup)},
          {"--weight-decay", exact(c.adamw.weight_decay)},
          {"--beta1", exact(c.adamw.beta1)},
          {"--beta2", exact(c.adamw.beta2)},
          {"--eps", exact(c.adamw.epsilon)},
          {"--clip", exact(c.adamw.clip)},
          {"--seed", std::to_string(c.seed)},
          {"--text", describe_text(text)}};
}

// Leaves nothing in the folder.
void check_writable(rondel::disk& where, const std::string& folder) {
  try {
    where.make_folder(folder);
    rondel::durable_file probe(where, folder, "checkpoint-probe");
    probe.write("x");
  } catch (const rondel::io_error& e) {
    throw usage_error(concat("--checkpoint: ", e.what()));
  }
}

}  // namespace

checkpoint_store::checkpoint_store(rondel::disk& where, const options& o, const text_split& text)
    : metadata_(describe_run(o, text)) {
  if (!o.checkpoint.empty()) source_ = &folder_.emplace(where, o.checkpoint, o.keep);
  if (!o.resume.empty() && o.resume != "latest") {
    source_ = &elsewhere_.emplace(where, o.resume, o.keep);
  }
  if (!o.resume.empty()) {
    try {
      found_ = source_->latest();
    } catch (const rondel::error& e) {
      throw usage_error(concat("--resume: ", e.what()));
    }
    if (!found_ && o.resume != "latest") {
      throw usage_error(concat("--resume: there is no checkpoint in '", o.resume, "'"));
    }
    if (found_) check(o);
  }
  if (folder_ && o.on_save_error == "stop" && o.process == 0) check_writable(where, o.checkpoint);
}

void checkpoint_store::check(const options& o) const {
  const auto& saved = found_->manifest.metadata;
  for (const auto& [name, mine] : metadata_) {
    const auto other = saved.find(name);
    if (other == saved.end()) {
      throw usage_error(concat("--resume: ", to_string(found_->id), " in '", source_->path(),
                               "' is of another program: it does not say its ", name));
    }
    if (other->second != mine) {
      throw usage_error(concat("--resume: ", to_string(found_->id), " was made with ", name, " ",
                               other->second, ", this run has ", name, " ", mine));
    }
  }
  if (found_->manifest.step > o.steps) {
    throw usage_error(concat("--resume: ", to_string(found_->id), " is of step ",
                             found_->manifest.step, " of ", o.steps));
  }
}

}  // namespace train_gpt
