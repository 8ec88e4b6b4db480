#pragma once
#include "options.hpp"
#include "session.hpp"
#include "text.hpp"

#include <string>
#include <vector>

/// What the tests of whole runs share.
namespace train_gpt::test {

struct deaf : listener {
  void begins(std::size_t, std::size_t, std::size_t) override {}
  void step(const step_metrics&, double) override {}
  void evaluated(std::size_t, double) override {}
  void saved(std::size_t, const save_result&, double) override {}
  void not_saved(const save_failed&) override {}
};

inline byte_text rhyme() {
  byte_text out;
  for (int i = 0; i < 300; ++i) {
    const std::string line =
        std::to_string(i % 7) + " ships sail past " + std::to_string(i % 5) + "\n";
    out.insert(out.end(), line.begin(), line.end());
  }
  return out;
}

inline options small_options() {
  options o;
  o.model = {.layers = 1, .heads = 2, .width = 16, .context = 16};
  o.batch = 24;
  o.steps = 40;
  o.warmup = 4;
  o.learning_rate = 1e-2;
  o.minimum_rate = 1e-3;
  o.bucket = 0.01;
  o.sample_length = 12;
  o.eval_windows = 11;
  return o;
}

inline std::vector<double> losses(const outcome& r) {
  std::vector<double> out;
  for (const step_metrics& m : r.steps) out.push_back(m.loss);
  return out;
}

}  // namespace train_gpt::test
