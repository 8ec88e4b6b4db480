#include <rondel/core/file.hpp>

#include "harness.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace train_gpt;
using test::relative_error;
using test::small_config;
using test::small_run;

namespace {

struct series {
  std::vector<double> loss, gradient_norm;
};

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
    const auto ours = small_run<float>(rondel::threads{.ranks = ranks}, small_config());
    CHECK(ours[0].loss.size() == 10);
    CHECK(relative_error(ours[0], golden("f32")) < f32_tolerance);
    CHECK(relative_error(ours[0], golden("f64")) < f32_tolerance);
  }
}

TEST_CASE("ten steps agree with PyTorch in double precision") {
  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    const auto ours = small_run<double>(rondel::threads{.ranks = ranks}, small_config());
    CHECK(relative_error(ours[0], golden("f64")) < f64_tolerance);
  }
}

// What the comparison can see: each of these must fail it by far.
TEST_CASE("a change of the optimizer is far outside the tolerance") {
  const series expected = golden("f64");
  const auto error = [&](auto&& change) {
    training_config config = small_config();
    change(config);
    return relative_error(small_run<double>(rondel::threads{}, config)[0], expected);
  };
  CHECK(error([](training_config&) {}) < f64_tolerance);
  constexpr double far = 10 * f32_tolerance;
  CHECK(error([](training_config& c) { c.adamw.clip = 0; }) > far);
  CHECK(error([](training_config& c) { c.adamw.weight_decay = 0; }) > far);
  CHECK(error([](training_config& c) { c.adamw.beta1 = 0.89; }) > far);
  CHECK(error([](training_config& c) { c.adamw.beta2 = 0.96; }) > far);
  CHECK(error([](training_config& c) { c.schedule.warmup = 2; }) > far);
  CHECK(error([](training_config& c) { c.schedule.minimum = 0; }) > far);
  CHECK(error([](training_config& c) { c.adamw.epsilon = 1e-6; }) > 1e3 * f64_tolerance);
}
