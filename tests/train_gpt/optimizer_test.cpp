#include "optimizer.hpp"

#include "host_kernels.hpp"
#include "support.hpp"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;

TEST_CASE("the schedule rises, falls along a cosine and ends at the minimum") {
  const learning_rate_schedule s{.peak = 1, .minimum = 0.1, .warmup = 4, .steps = 24};
  CHECK(s.at(0) == 0.25);
  CHECK(s.at(1) == 0.5);
  CHECK(s.at(3) == 1);
  CHECK(s.at(4) == 1);
  CHECK(s.at(14) == doctest::Approx(0.55).epsilon(1e-12));
  CHECK(s.at(9) == doctest::Approx(0.1 + 0.45 * (1 + std::sqrt(0.5))).epsilon(1e-12));
  CHECK(s.at(24) == 0.1);
  CHECK(s.at(1000) == 0.1);
  for (std::size_t i = 4; i < 24; ++i) CHECK(s.at(i + 1) < s.at(i));
  CHECK(learning_rate_schedule{.peak = 2, .minimum = 1, .warmup = 0, .steps = 10}.at(0) == 2);
  CHECK(learning_rate_schedule{.peak = 2, .minimum = 1, .warmup = 3, .steps = 3}.at(3) == 1);
}

namespace {

struct state {
  double parameter = 1, moment1 = 0, moment2 = 0;
};

// One step of one parameter.
state adamw(state x, double gradient, const adamw_config& config, std::size_t step, double rate,
            bool decay, double norm) {
  const parameter_range range{0, 1, decay ? 1U : 0U};
  const double squared = norm * norm;
  host_kernels<double>::adamw(config.at(step, rate), &range, 1, &squared, &gradient, &x.parameter,
                              &x.moment1, &x.moment2);
  return x;
}

}  // namespace

TEST_CASE("the first AdamW step has the size of the learning rate") {
  const adamw_config config{.beta1 = 0.8, .beta2 = 0.9, .epsilon = 0, .weight_decay = 0, .clip = 0};
  for (const double gradient : {3.0, -0.001}) {
    const state x = adamw({}, gradient, config, 0, 0.25, false, 1);
    CHECK(x.parameter == doctest::Approx(1 - std::copysign(0.25, gradient)).epsilon(1e-14));
    CHECK(x.moment1 == doctest::Approx(0.2 * gradient).epsilon(1e-14));
    CHECK(x.moment2 == doctest::Approx(0.1 * gradient * gradient).epsilon(1e-14));
  }
}

TEST_CASE("a constant gradient keeps the step at the learning rate") {
  // Both moments then are (1 - beta^t) times their limits, which bias correction undoes.
  const adamw_config config{.epsilon = 0, .weight_decay = 0, .clip = 0};
  state x;
  for (std::size_t step = 0; step < 50; ++step) {
    const state next = adamw(x, 0.3, config, step, 0.01, true, 0.3);
    CHECK(x.parameter - next.parameter == doctest::Approx(0.01).epsilon(1e-12));
    x = next;
  }
}

TEST_CASE("weight decay is decoupled and only of matrices") {
  const adamw_config config{.weight_decay = 0.5, .clip = 0};
  CHECK(adamw({}, 0, config, 0, 0.1, true, 0).parameter == doctest::Approx(0.95).epsilon(1e-15));
  CHECK(adamw({}, 0, config, 0, 0.1, false, 0).parameter == 1);
  const adamw_config plain{.epsilon = 0, .weight_decay = 0.5, .clip = 0};
  CHECK(adamw({}, 2, plain, 0, 0.1, true, 2).parameter == doctest::Approx(0.85).epsilon(1e-14));
}

TEST_CASE("clipping scales by the global norm and only above the limit") {
  const adamw_config config{.beta1 = 0, .beta2 = 0, .epsilon = 0, .weight_decay = 0, .clip = 2};
  CHECK(adamw({}, 3, config, 0, 0.1, false, 10).moment1 ==
        doctest::Approx(3 * 2 / (10 + 1e-6)).epsilon(1e-14));
  CHECK(adamw({}, 3, config, 0, 0.1, false, 1.9).moment1 == 3);
  adamw_config off = config;
  off.clip = 0;
  CHECK(adamw({}, 3, off, 0, 0.1, false, 10).moment1 == 3);
}

TEST_CASE("the optimizer takes the norm of the whole gradient and reports it unclipped") {
  rondel::host_device device{};
  auto s = device.make_stream("compute");
  const parameter_layout layout(
      {.layers = 1, .heads = 1, .width = 4, .context = 2, .vocabulary = 3});
  adamw_config config{.beta1 = 0, .beta2 = 0, .epsilon = 0, .weight_decay = 0, .clip = 1};
  adamw_optimizer<double, rondel::host_device> optimizer(device, s, layout, config);
  CHECK(optimizer.state_bytes() == 2 * layout.size() * sizeof(double));
  rondel::device_array<double, rondel::host_device> gradients(device, s, layout.size());
  rondel::device_array<double, rondel::host_device> parameters(device, s, layout.size());
  const auto g = test::hashed_values<double>(layout.size(), 1);
  test::upload(s, gradients.span(), g);
  test::upload(s, parameters.span(), std::vector<double>(layout.size()));
  optimizer.step(s, 0, 0.5, gradients.span(), parameters.span());
  double squared = 0;
  for (const double one : g) squared += one * one;
  CHECK(test::download(s, optimizer.squared_norm())[0] == doctest::Approx(squared).epsilon(1e-12));
  const auto p = test::download(s, rondel::device_span<const double>(parameters.span()));
  // Without memory of earlier steps, every parameter moves by the rate against its gradient.
  for (std::size_t i = 0; i < p.size(); ++i) {
    CHECK(p[i] == doctest::Approx(g[i] > 0 ? -0.5 : 0.5).epsilon(1e-12));
  }
}
