#include <rondel/core/file.hpp>

#include "ranks.hpp"
#include "support.hpp"
#include "trainer.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace train_gpt;

namespace {

// The same numbers as in scripts/goldens/train_gpt.py.
training_config golden_config() {
  return {.model = {.layers = 2, .heads = 2, .width = 16, .context = 8, .vocabulary = 32},
          .batch = 8,
          .accumulation = 2,
          .adamw = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .clip = 0.5},
          .schedule = {.peak = 1e-2, .minimum = 1e-3, .warmup = 3, .steps = 10}};
}

struct series {
  std::vector<double> loss, gradient_norm;
};

template <class T>
series train(const training_config& config, int ranks) {
  series out;
  test::run_ranks(ranks, [&](auto& world) {
    auto metrics = world.duplicate();
    trainer<T, std::remove_cvref_t<decltype(world)>> t(world, metrics, config);
    test::upload(t.compute(), t.model().parameters(),
                 test::hashed_parameters<T>(t.model().layout()));
    const auto keep = [&](const step_metrics& m) {
      if (world.rank() != 0) return;
      out.loss.push_back(m.loss);
      out.gradient_norm.push_back(m.gradient_norm);
    };
    for (std::size_t step = 0; step < config.schedule.steps; ++step) {
      const std::size_t row = config.model.context + 1;
      const auto tokens = test::hashed_tokens(
          config.batch * row, static_cast<std::uint32_t>(1000 + step), config.model.vocabulary);
      const auto mine = std::span(tokens).subspan(
          static_cast<std::size_t>(world.rank()) * t.tokens_per_step(), t.tokens_per_step());
      if (const auto report = t.step(mine)) keep(*report);
    }
    for (const step_metrics& report : t.finish()) keep(report);
  });
  return out;
}

double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]) / std::abs(b[i]));
  }
  return worst;
}

double relative_error(const series& a, const series& b) {
  return std::max(relative_error(a.loss, b.loss), relative_error(a.gradient_norm, b.gradient_norm));
}

series golden(const std::string& precision) {
  const auto all =
      nlohmann::json::parse(rondel::read_text_file(TRAIN_GPT_GOLDENS "/train_gpt.json"));
  return {all[precision]["loss"].get<std::vector<double>>(),
          all[precision]["gradient_norm"].get<std::vector<double>>()};
}

constexpr double f32_tolerance = 1e-5;
constexpr double f64_tolerance = 1e-10;

}  // namespace

TEST_CASE("ten steps agree with PyTorch in single precision") {
  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    const series ours = train<float>(golden_config(), ranks);
    CHECK(ours.loss.size() == 10);
    CHECK(relative_error(ours, golden("f32")) < f32_tolerance);
    CHECK(relative_error(ours, golden("f64")) < f32_tolerance);
  }
}

TEST_CASE("ten steps agree with PyTorch in double precision") {
  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    CHECK(relative_error(train<double>(golden_config(), ranks), golden("f64")) < f64_tolerance);
  }
}

// What the comparison can see: each of these must fail it by far.
TEST_CASE("a change of the optimizer is far outside the tolerance") {
  const series expected = golden("f64");
  const auto error = [&](auto&& change) {
    training_config config = golden_config();
    change(config);
    return relative_error(train<double>(config, 1), expected);
  };
  CHECK(error([](training_config&) {}) < f64_tolerance);
  constexpr double far = 100 * f32_tolerance;
  CHECK(error([](training_config& c) { c.adamw.clip = 0; }) > far);
  CHECK(error([](training_config& c) { c.adamw.weight_decay = 0; }) > far);
  CHECK(error([](training_config& c) { c.adamw.beta1 = 0.89; }) > far);
  CHECK(error([](training_config& c) { c.adamw.beta2 = 0.96; }) > far);
  CHECK(error([](training_config& c) { c.schedule.warmup = 2; }) > far);
  CHECK(error([](training_config& c) { c.schedule.minimum = 0; }) > far);
  CHECK(error([](training_config& c) { c.adamw.epsilon = 1e-6; }) > f64_tolerance);
}
