#pragma once
#include <rondel/trace/timeline.hpp>

#include "checkpoint.hpp"
#include "options.hpp"
#include "session.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace train_gpt {

/// What was asked for and found, before training: text, model, ranks.
[[nodiscard]] std::string describe_setup(const options& o, const loaded_text& text,
                                         const text_split& split);

/// What the run goes on from, and why it is not the newest checkpoint if it is not. Empty if
/// nothing was asked for.
[[nodiscard]] std::string describe_resume(const options& o, const checkpoint_store& store);

/// Losses beside the bigram model's, and the generated text.
[[nodiscard]] std::string describe_learning(const options& o, const outcome& result);

/// Bytes that each rank held, by part.
[[nodiscard]] std::string describe_memory(const outcome& result);

/// Bytes that each rank sends to average the gradients of all steps.
[[nodiscard]] std::vector<std::uint64_t> expected_bytes_sent(const options& o,
                                                             const outcome& result);

/// Bytes of gradients that were sent beside `2 (N-1)/N` times the parameters, `N` the ranks.
[[nodiscard]] std::string describe_traffic(const options& o, const outcome& result);

/// Work of the steps, and how fast it was done.
[[nodiscard]] std::string describe_work(const options& o, const outcome& result);

/// How many checkpoints were saved, and what they cost; empty if none was asked for.
[[nodiscard]] std::string describe_saves(const options& o, const outcome& result);

/// How much of the communication that `recorded` shows lies beside computation, by rank. Says
/// that spans were dropped instead, if there were any.
[[nodiscard]] std::string describe_overlap(const rondel::timeline& recorded);

/// Prints a line every so many steps.
class progress_printer final : public listener {
 public:
  /// Prints for the run `o`.
  explicit progress_printer(const options& o) : options_(o) {}

  void begins(std::size_t parameters, std::size_t buckets, std::size_t first_step) override;
  void step(const step_metrics& m, double seconds) override;
  void evaluated(std::size_t steps, double loss) override;
  void saved(std::size_t steps, const save_result& result, double seconds) override;
  void not_saved(const save_failed& failure) override;

 private:
  const options& options_;
  std::size_t first_step_ = 0;
  std::size_t last_step_ = 0;
  double last_seconds_ = 0;
};

}  // namespace train_gpt
