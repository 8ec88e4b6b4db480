#pragma once
#include <rondel/comm/ledger.hpp>
#include <rondel/device/sim.hpp>
#include <rondel/launch.hpp>
#include <rondel/trace/ledger.hpp>

#include "support.hpp"
#include "trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace train_gpt::test {

/// What a rank of a small training run gave.
template <class T>
struct rank_result {
  /// Losses and gradient norms by step.
  std::vector<double> loss, gradient_norm;
  /// Parameters after the last step.
  std::vector<T> parameters;
  /// The device's memory before the first step and after the last.
  rondel::memory_usage before{}, after{};
  /// The device's work in all.
  rondel::work_total work{};
  /// Messages of the gradients.
  rondel::ledger traffic;
};

/// The wrapper of `small_run` that changes nothing.
struct unwrapped {
  /// Returns `inner`.
  template <class C>
  C operator()(C inner) const {
    return inner;
  }
};

/// Trains `config.schedule.steps` steps on hashed parameters and tokens, the same for any number
/// of ranks. `wrap` may put a communicator around a duplicate of the world.
template <class T, class Engine, class Wrap = unwrapped>
std::vector<rank_result<T>> small_run(const Engine& engine, const training_config& config,
                                      const Wrap& wrap = {}) {
  return rondel::run(engine, [&](auto& rank) {
    rank_result<T> out;
    using wrapped = decltype(wrap(rank.world().duplicate()));
    using communicator = rondel::ledger_communicator<wrapped>;
    rondel::ledger other;
    communicator gradients(wrap(rank.world().duplicate()), out.traffic);
    communicator metrics(wrap(rank.world().duplicate()), other);
    trainer<T, communicator> t(gradients, metrics, config);
    test::upload(t.compute(), t.model().parameters(), hashed_parameters<T>(t.model().layout()));
    out.before = rank.device().memory();
    const auto keep = [&out](const step_metrics& m) {
      CHECK(m.step == out.loss.size());
      CHECK(m.learning_rate > 0);
      out.loss.push_back(m.loss);
      out.gradient_norm.push_back(m.gradient_norm);
    };
    for (std::size_t step = 0; step < config.schedule.steps; ++step) {
      const auto all =
          hashed_tokens(config.batch * (config.model.context + 1),
                        static_cast<std::uint32_t>(1000 + step), config.model.vocabulary);
      const std::size_t mine = t.tokens_per_step();
      const auto first = static_cast<std::size_t>(rank.rank()) * mine;
      if (const auto m = t.step(std::span(all).subspan(first, mine))) keep(*m);
    }
    for (const step_metrics& m : t.finish()) keep(m);
    out.after = rank.device().memory();
    out.work = rank.device().work_done();
    out.parameters = test::download(t.compute(), t.model().parameters());
    return out;
  });
}

/// The greatest relative difference of two series of the same length.
inline double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]) / std::abs(b[i]));
  }
  return worst;
}

/// The same of losses and gradient norms.
inline double relative_error(const auto& a, const auto& b) {
  return std::max(relative_error(a.loss, b.loss), relative_error(a.gradient_norm, b.gradient_norm));
}

/// A model, an optimizer and a schedule with everything switched on; what
/// scripts/goldens/train_gpt.py trains.
inline training_config small_config() {
  return {.model = {.layers = 2, .heads = 2, .width = 16, .context = 8, .vocabulary = 32},
          .batch = 8,
          .accumulation = 2,
          .adamw = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .clip = 0.5},
          .schedule = {.peak = 1e-2, .minimum = 1e-3, .warmup = 3, .steps = 10},
          .bucket_bytes = 4096};
}

}  // namespace train_gpt::test
