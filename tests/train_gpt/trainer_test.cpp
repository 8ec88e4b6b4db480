#include "trainer.hpp"

#include <rondel/comm/faulty.hpp>
#include <rondel/core/error.hpp>
#include <rondel/launch.hpp>
#include <rondel/trace/timeline.hpp>

#include "harness.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;
using test::relative_error;
using test::small_run;

namespace {

// Divisible by 1, 2, 3 and 4 ranks times two micro-batches.
training_config config_for_ranks() {
  training_config out = test::small_config();
  out.batch = 24;
  return out;
}

// Whether both are the same bit for bit: neither holds a NaN.
template <class T>
bool identical(const test::rank_result<T>& a, const test::rank_result<T>& b) {
  return a.loss == b.loss && a.gradient_norm == b.gradient_norm && a.parameters == b.parameters;
}

// Every rank's operations come late by random times.
struct delayed {
  std::uint64_t seed;
  template <class C>
  auto operator()(C inner) const {
    return rondel::faulty_communicator<C>(std::move(inner),
                                          {.jitter = rondel::seconds{0.002}, .seed = seed});
  }
};

// Rank 1 throws in its sixth operation.
struct failing {
  template <class C>
  auto operator()(C inner) const {
    return rondel::faulty_communicator<C>(
        std::move(inner), {.action = rondel::fault_action::fail, .rank = 1, .operation = 5});
  }
};

constexpr rondel::threads immediate(int ranks) { return {.ranks = ranks}; }
constexpr rondel::threads worker(int ranks) {
  return {.ranks = ranks, .streams = rondel::stream_mode::worker};
}

}  // namespace

TEST_CASE("one to four ranks agree on losses and norms") {
  const auto one = small_run<float>(immediate(1), config_for_ranks());
  CHECK(one[0].loss.size() == 10);
  for (const int ranks : {2, 3, 4}) {
    CAPTURE(ranks);
    const auto many = small_run<float>(immediate(ranks), config_for_ranks());
    CHECK(relative_error(many[0], one[0]) < 1e-5);
    for (const auto& rank : many) CHECK(identical(rank, many[0]));
  }
}

TEST_CASE("the number of micro-batches does not change the losses") {
  training_config config = config_for_ranks();
  config.accumulation = 1;
  const auto whole = small_run<float>(immediate(2), config);
  config.accumulation = 4;
  CHECK(relative_error(small_run<float>(immediate(2), config)[0], whole[0]) < 1e-5);
}

TEST_CASE("runs agree bit for bit") {
  for (const int ranks : {1, 2, 3, 4}) {
    CAPTURE(ranks);
    const auto first = small_run<float>(immediate(ranks), config_for_ranks());
    CHECK(identical(small_run<float>(immediate(ranks), config_for_ranks())[0], first[0]));
    CHECK(identical(small_run<float>(worker(ranks), config_for_ranks())[0], first[0]));
    for (const std::uint64_t seed : {1U, 2U}) {
      CAPTURE(seed);
      const auto late = small_run<float>(worker(ranks), config_for_ranks(), delayed{seed});
      for (const auto& rank : late) CHECK(identical(rank, first[0]));
      CHECK(identical(small_run<float>(immediate(ranks), config_for_ranks(), delayed{seed})[0],
                      first[0]));
    }
  }
}

TEST_CASE("the size of the buckets does not change a bit") {
  training_config config = config_for_ranks();
  const auto reference = small_run<float>(worker(3), config);
  for (const std::size_t bytes : {std::size_t{400}, std::size_t{1} << 30}) {
    config.bucket_bytes = bytes;
    CHECK(identical(small_run<float>(worker(3), config)[0], reference[0]));
  }
}

TEST_CASE("a dry run counts what the host holds, does and sends") {
  for (const int ranks : {1, 2, 3}) {
    CAPTURE(ranks);
    const auto real = small_run<float>(immediate(ranks), config_for_ranks());
    const auto dry = small_run<float>(rondel::simulated{.ranks = ranks}, config_for_ranks());
    REQUIRE(dry.size() == real.size());
    for (std::size_t r = 0; r < dry.size(); ++r) {
      CHECK(dry[r].after.peak == real[r].after.peak);
      CHECK(dry[r].after.live == real[r].after.live);
      CHECK(dry[r].work == real[r].work);
      CHECK(dry[r].work.flops > 0);
      CHECK(dry[r].traffic == real[r].traffic);
    }
    CHECK(dry[0].loss == std::vector<double>(10, 0.0));
  }
}

// Immediate streams run in the order of the queue, so what may overlap shows as what comes first.
TEST_CASE("buckets are averaged while the backward pass goes on") {
  training_config config = config_for_ranks();
  config.schedule.steps = 1;
  config.schedule.warmup = 0;
  rondel::timeline recorder;
  rondel::threads engine = immediate(2);
  engine.recorder = &recorder;
  small_run<float>(engine, config);

  const parameter_layout layout(config.model);
  const auto buckets = plan_buckets(layout.size(), sizeof(float), config.bucket_bytes);
  std::size_t complete = 0;  // before the gradients of the embeddings
  for (const gradient_bucket& b : buckets) {
    if (b.offset + b.count <= layout.position().offset) ++complete;
  }
  REQUIRE(complete >= 4);
  for (const int rank : {0, 1}) {
    CAPTURE(rank);
    std::vector<double> reductions;
    double last_down = 0, last_qkv = 0, embedding = 0;
    for (const rondel::timeline_lane* lane : recorder.lanes()) {
      if (lane->rank() != rank) continue;
      for (const rondel::timeline_span& span : lane->spans()) {
        const std::string name = span.name;
        if (lane->name() == "communication") reductions.push_back(span.begin);
        if (name == "down dW") last_down = span.begin;
        if (name == "qkv dW") last_qkv = span.begin;
        if (name == "embedding backward") embedding = span.begin;
      }
    }
    const auto before = [&](double time) {
      return static_cast<std::size_t>(
          std::count_if(reductions.begin(), reductions.end(), [=](double t) { return t < time; }));
    };
    CHECK(reductions.size() == buckets.size() + 1);  // and the loss
    CHECK(before(last_down) >= complete / 2);
    CHECK(before(last_qkv) > before(last_down));
    CHECK(before(embedding) == complete);
  }
}

TEST_CASE("a step's work is that of its matrix products and little more") {
  training_config config;
  config.batch = 8;
  config.schedule.steps = 1;
  const auto dry = small_run<float>(rondel::simulated{}, config);
  // Three products a weight, forward and twice backward, of a multiply and an addition; attention
  // has two products forward and four backward, and sees half of the pairs and the diagonal.
  const double layers = 4, width = 128, context = 128, vocabulary = 256;
  const double rows = 8 * context;
  const double products = 6 * rows * (12 * layers * width * width + vocabulary * width);
  const double attention = 12 * layers * width * rows * (context + 1) / 2;
  CHECK(dry[0].work.flops > products + attention);
  CHECK(dry[0].work.flops < 1.05 * (products + attention));
}

TEST_CASE("steps allocate no device memory") {
  for (const auto& engine : {immediate(2), worker(2)}) {
    for (const auto& rank : small_run<float>(engine, config_for_ranks())) {
      CHECK(rank.before.allocations > 0);
      CHECK(rank.after.allocations == rank.before.allocations);
      CHECK(rank.after.peak == rank.before.peak);
    }
  }
}

TEST_CASE("too little memory is an error that names the sizes") {
  const auto real = small_run<float>(immediate(1), config_for_ranks());
  rondel::threads engine = immediate(2);
  engine.memory_limit = real[0].after.peak / 2;
  CHECK_THROWS_AS(small_run<float>(engine, config_for_ranks()), rondel::out_of_memory);
  rondel::simulated dry{.ranks = 2, .memory_limit = engine.memory_limit};
  CHECK_THROWS_AS(small_run<float>(dry, config_for_ranks()), rondel::out_of_memory);
  // Two ranks have half the sequences each, so they fit where one rank just does.
  engine.memory_limit = real[0].after.peak;
  CHECK_NOTHROW(small_run<float>(engine, config_for_ranks()));
}

TEST_CASE("gradients sent are 2 (N-1)/N times the parameters") {
  for (const int ranks : {1, 2, 3, 4}) {
    CAPTURE(ranks);
    const training_config config = config_for_ranks();
    const std::uint64_t parameters = parameter_layout(config.model).size();
    const auto n = static_cast<std::uint64_t>(ranks);
    const auto result = small_run<float>(immediate(ranks), config);
    std::uint64_t sent = 0, received = 0;
    for (const auto& rank : result) {
      sent += rank.traffic.bytes(rondel::direction::sent);
      received += rank.traffic.bytes(rondel::direction::received);
      CHECK(rank.traffic.calls(rondel::operation_kind::all_reduce) ==
            10 * plan_buckets(parameters, sizeof(float), config.bucket_bytes).size());
    }
    // Exactly, over all ranks, whether or not the ranks divide the buckets.
    CHECK(sent == 10 * 2 * (n - 1) * parameters * sizeof(float));
    CHECK(received == sent);
    // Each rank's share is exact where they do.
    if (parameters % n == 0 && config.bucket_bytes / sizeof(float) % n == 0) {
      for (const auto& rank : result) {
        CHECK(rank.traffic.bytes(rondel::direction::sent) == sent / n);
      }
    }
  }
}

TEST_CASE("a failing rank ends the run with its own words") {
  for (const auto& engine : {immediate(3), worker(3)}) {
    CHECK_THROWS_AS(small_run<float>(engine, config_for_ranks(), failing{}),
                    rondel::injected_fault);
  }
}

TEST_CASE("buckets cover the gradients once") {
  CHECK(plan_buckets(10, 4, 16) == std::vector<gradient_bucket>{{0, 4}, {4, 4}, {8, 2}});
  CHECK(plan_buckets(8, 4, 19) == std::vector<gradient_bucket>{{0, 4}, {4, 4}});
  CHECK(plan_buckets(3, 8, 1 << 20) == std::vector<gradient_bucket>{{0, 3}});
  CHECK_THROWS_AS(static_cast<void>(plan_buckets(3, 8, 7)), rondel::invalid_argument);
}

TEST_CASE("a batch that is not divisible is refused") {
  training_config config = config_for_ranks();
  config.batch = 25;
  CHECK_THROWS_AS(small_run<float>(immediate(2), config), rondel::invalid_argument);
  config.batch = 0;
  CHECK_THROWS_AS(small_run<float>(immediate(2), config), rondel::invalid_argument);
}

TEST_CASE("evaluation is the mean over the windows of all ranks") {
  const training_config config = config_for_ranks();
  const std::size_t row = config.model.context + 1;
  const auto tokens = test::hashed_tokens(7 * row, 3, config.model.vocabulary);
  const auto evaluate = [&](int ranks) {
    return rondel::run(immediate(ranks), [&](auto& rank) {
      auto metrics = rank.world().duplicate();
      using communicator = std::remove_cvref_t<decltype(rank.world())>;
      trainer<double, communicator> t(rank.world(), metrics, config);
      // Rank 0 takes what the others leave, so that shares are uneven.
      const std::size_t share = 1;
      const auto r = static_cast<std::size_t>(rank.rank());
      const std::size_t others = (static_cast<std::size_t>(ranks) - 1) * share;
      const auto mine = r == 0 ? std::span(tokens).first((7 - others) * row)
                               : std::span(tokens).subspan((7 - others + r - 1) * row, row);
      return t.evaluate(mine);
    });
  };
  const double alone = evaluate(1)[0];
  CHECK(alone == doctest::Approx(std::log(double{32})).epsilon(0.1));
  for (const double loss : evaluate(4)) CHECK(loss == doctest::Approx(alone).epsilon(1e-12));
}

TEST_CASE("the logits of a shorter context are those of the same tokens in a batch") {
  rondel::run(immediate(1), [](auto& rank) {
    const training_config config = config_for_ranks();
    auto metrics = rank.world().duplicate();
    using communicator = std::remove_cvref_t<decltype(rank.world())>;
    trainer<double, communicator> t(rank.world(), metrics, config);
    test::upload(t.compute(), t.model().parameters(),
                 test::hashed_parameters<double>(t.model().layout()));
    const auto tokens = test::hashed_tokens(9, 3, config.model.vocabulary);
    rondel::device_array<std::int32_t, rondel::host_device> ids(rank.device(), t.compute(), 9);
    test::upload(t.compute(), ids.span(), tokens);
    t.model().forward(t.compute(), ids.span(), {.batch = 1, .length = 8});
    const auto all = test::download(t.compute(), t.model().logits().first(8 * 32));
    for (std::size_t length = 1; length <= 8; ++length) {
      CAPTURE(length);
      const auto one = t.next_logits(std::span(tokens).first(length));
      REQUIRE(one.size() == 32);
      for (std::size_t i = 0; i < one.size(); ++i) {
        CHECK(one[i] == doctest::Approx(all[(length - 1) * 32 + i]).epsilon(1e-12));
      }
    }
  });
}
