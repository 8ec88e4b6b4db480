#pragma once
#include <rondel/launch_engines.hpp>
#include <rondel/launcher.hpp>

#include "trainer.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace train_gpt {

/// Everything that the user may choose.
struct options {
  /// Files and folders to learn from.
  std::vector<std::string> text;
  /// Share of the text, at its end, that is not learnt.
  double holdout = 0.1;

  /// Sizes of the model; `vocabulary` is fixed.
  gpt_config model;
  /// Sequences per step over all ranks.
  std::size_t batch = 12;
  /// Micro-batches per step.
  std::size_t accumulation = 1;
  /// Steps.
  std::size_t steps = 1600;

  /// Learning rate after the warm-up.
  double learning_rate = 3.5e-3;
  /// Learning rate after the last step; a tenth of `learning_rate` if not given.
  std::optional<double> minimum_rate;
  /// Steps of the warm-up; a twentieth of `steps` if not given.
  std::optional<std::size_t> warmup;
  /// Optimizer.
  adamw_config adamw;

  /// Seed of initial parameters, batches and sampling.
  std::uint64_t seed = 1;
  /// `"f32"` or `"f64"`.
  std::string precision = "f32";

  /// Number of ranks.
  std::size_t ranks = 2;
  /// `"threads"`, `"mpi"` or `"sim"`; `"auto"` until it is known.
  std::string engine = "auto";
  /// This process among those of the run: its rank where ranks are processes, else 0.
  std::size_t process = 0;
  /// Seconds that a rank waits for another one.
  double timeout = 600;
  /// `"immediate"` or `"worker"`.
  std::string streams = "worker";
  /// Largest bucket of gradients in MiB.
  double bucket = 0.5;
  /// Device memory of a rank in MiB; 0 for no limit.
  double memory_limit = 0;

  /// Steps between progress lines.
  std::size_t log_every = 100;
  /// Whether progress lines are left out.
  bool quiet = false;
  /// Steps between evaluations on the held-out text; 0 for the end only.
  std::size_t eval_every = 0;
  /// The most windows that an evaluation reads.
  std::size_t eval_windows = 512;
  /// Bytes to generate at the end.
  std::size_t sample_length = 400;
  /// Divides the logits before sampling; 0 takes the likeliest byte.
  double temperature = 0.7;
  /// How many of the likeliest bytes are sampled from; 0 for all.
  std::size_t top_k = 40;
  /// What the generated text goes on from.
  std::string prompt = "/// ";
  /// Folder for checkpoints; empty for none.
  std::string checkpoint;
  /// Steps between checkpoints; 0 for the end only.
  std::size_t save_every = 0;
  /// Checkpoints that are kept.
  std::size_t keep = 2;
  /// `"stop"` or `"continue"`.
  std::string on_save_error = "stop";
  /// `"latest"`, a folder, or empty.
  std::string resume;
  /// Folder for timeline.svg and trace.json.
  std::string out = "train_gpt_out";
  /// Steps that the timeline shows; 0 for no timeline.
  std::size_t trace_steps = 3;

  /// `memory_limit` in bytes.
  [[nodiscard]] std::uint64_t memory_bytes() const {
    return static_cast<std::uint64_t>(memory_limit * 1024 * 1024);
  }
  /// The picture that is written.
  [[nodiscard]] std::string timeline_path() const { return out + "/timeline.svg"; }
  /// The trace that is written.
  [[nodiscard]] std::string trace_path() const { return out + "/trace.json"; }
  /// What the trainer is given.
  [[nodiscard]] training_config training() const;
};

/// The engines that every build has.
[[nodiscard]] std::vector<rondel::engine_facts> own_engines();

/// Reads the command line, and chooses one of the engines `built` by it and by who started this
/// process. Returns nothing if it asked for help, which is then printed. Throws `usage_error` for
/// anything that cannot be done, but looks at no file or folder.
[[nodiscard]] std::optional<options> parse_options(
    int argc, const char* const* argv,
    const std::vector<rondel::engine_facts>& built = own_engines(),
    const rondel::launch_environment& started = {});

/// Throws `usage_error` unless the values fit together.
void check_options(const options& o);

/// Makes the folder `o.out`, if the run writes to it. Throws `usage_error`, and leaves the disk as
/// it was, if it or one of the two files in it cannot be written to.
void check_output(const options& o);

}  // namespace train_gpt
