#include "session.hpp"

#include <rondel/checkpoint/posix_disk.hpp>
#include <rondel/launch.hpp>
#include <rondel/trace/summary.hpp>
#include <rondel/trace/timeline.hpp>

#include "harness.hpp"
#include "report.hpp"
#include "session_support.hpp"
#include "text.hpp"

#include <cmath>
#include <set>
#include <string>

#include <doctest/doctest.h>

using namespace train_gpt;
using test::deaf;
using test::losses;
using test::rhyme;
using test::small_options;

namespace {

template <class T = float>
outcome train(const auto& engine, const options& o, rondel::timeline* recorder = nullptr) {
  const byte_text text = rhyme();
  const text_split split = split_text(text, o.holdout, o.model.context);
  deaf nobody;
  rondel::posix_disk disk;
  checkpoint_store store(disk, o, split);
  return run_session<T>(engine, o, split, store, recorder, nobody);
}

}  // namespace

TEST_CASE("any number of ranks trains on the same sequences") {
  const outcome one = train<double>(rondel::threads{.ranks = 1}, small_options());
  REQUIRE(one.steps.size() == 40);
  CHECK(one.steps[39].loss < one.steps[0].loss - 1);
  for (const int ranks : {2, 3, 4}) {
    CAPTURE(ranks);
    const outcome many = train<double>(rondel::threads{.ranks = ranks}, small_options());
    CHECK(test::relative_error(losses(many), losses(one)) < 1e-10);
    CHECK(many.held_out_loss == doctest::Approx(one.held_out_loss).epsilon(1e-10));
    CHECK(many.train_loss == doctest::Approx(one.train_loss).epsilon(1e-10));
    CHECK(many.bigram_held_out_loss == one.bigram_held_out_loss);
    CHECK(many.held_out_predictions == one.held_out_predictions);
  }
}

TEST_CASE("ranks agree on the losses of a session in single precision") {
  options o = small_options();
  o.steps = 10;
  const outcome one = train(rondel::threads{.ranks = 1}, o);
  for (const int ranks : {2, 3, 4}) {
    CAPTURE(ranks);
    const outcome many = train(rondel::threads{.ranks = ranks}, o);
    CHECK(test::relative_error(losses(many), losses(one)) < 1e-5);
  }
}

TEST_CASE("a session on worker streams is that on immediate ones bit for bit") {
  const outcome a = train(rondel::threads{.ranks = 2}, small_options());
  const outcome b =
      train(rondel::threads{.ranks = 2, .streams = rondel::stream_mode::worker}, small_options());
  CHECK(losses(a) == losses(b));
  CHECK(a.held_out_loss == b.held_out_loss);
  CHECK(a.sample == b.sample);
  CHECK(a.sample.size() == 16);
}

TEST_CASE("a dry session holds, does and sends what a real one does") {
  options o = small_options();
  o.eval_every = 15;
  const outcome real = train(rondel::threads{.ranks = 3}, o);
  const outcome dry = train(rondel::simulated{.ranks = 3}, o);
  CHECK(dry.parameters == real.parameters);
  REQUIRE(dry.ranks.size() == 3);
  for (std::size_t r = 0; r < 3; ++r) {
    CHECK(dry.ranks[r].memory.peak == real.ranks[r].memory.peak);
    CHECK(dry.ranks[r].memory.allocations == real.ranks[r].memory.allocations);
    CHECK(dry.ranks[r].work == real.ranks[r].work);
    CHECK(dry.ranks[r].gradient_traffic == real.ranks[r].gradient_traffic);
    CHECK(dry.ranks[r].metric_traffic == real.ranks[r].metric_traffic);
    CHECK(real.ranks[r].memory.allocations == real.ranks[r].allocations_at_start);
  }
}

TEST_CASE("evaluations are not counted as work of the steps") {
  options o = small_options();
  const outcome without = train(rondel::threads{.ranks = 3}, o);
  o.eval_every = 7;
  const outcome with = train(rondel::threads{.ranks = 3}, o);
  CHECK(losses(with) == losses(without));
  for (std::size_t r = 0; r < 3; ++r) {
    const rondel::work_total& a = with.ranks[r].work;
    const rondel::work_total& b = without.ranks[r].work;
    CHECK(a.launches == b.launches);
    CHECK(a.flops == doctest::Approx(b.flops).epsilon(1e-12));
    CHECK(a.bytes_read == b.bytes_read);
    CHECK(a.bytes_written == b.bytes_written);
  }
}

TEST_CASE("a model learns more than which byte follows which") {
  options o = small_options();
  o.steps = 150;
  const outcome r = train(rondel::threads{.ranks = 2}, o);
  CHECK(r.bigram_held_out_loss > 0.4);
  CHECK(r.held_out_loss < r.bigram_held_out_loss - 0.3);
}

TEST_CASE("a run that diverges says so") {
  options o = small_options();
  o.learning_rate = 1e9;
  o.warmup = 0;
  for (const int ranks : {1, 2}) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      CHECK_THROWS_AS(train(rondel::threads{.ranks = ranks, .streams = mode}, o), diverged);
    }
  }
}

TEST_CASE("each rank sends what its blocks of the buckets ask for") {
  for (const int ranks : {1, 2, 3, 4}) {
    CAPTURE(ranks);
    options o = small_options();
    o.bucket = 0.005;
    const outcome r = train(rondel::simulated{.ranks = ranks}, o);
    const auto expected = expected_bytes_sent(o, r);
    for (std::size_t i = 0; i < r.ranks.size(); ++i) {
      CHECK(r.ranks[i].gradient_traffic.bytes(rondel::direction::sent) == expected[i]);
    }
    CHECK(describe_traffic(o, r).find("difference 0\n") != std::string::npos);
  }
}

TEST_CASE("a report of an incomplete recording has no sums") {
  rondel::timeline recorder(2);
  static_cast<void>(
      train(rondel::threads{.ranks = 2, .recorder = &recorder}, small_options(), &recorder));
  const std::string text = describe_overlap(recorder);
  CHECK(text.find("no room for") != std::string::npos);
  CHECK(text.find("exposed") == std::string::npos);
}

TEST_CASE("the parts of a rank's memory add up to its peak but for the batch and scalars") {
  const options o = small_options();
  const outcome r = train(rondel::threads{.ranks = 2}, o);
  for (const rank_outcome& one : r.ranks) {
    const std::size_t parts = one.parameters + one.gradients + one.optimizer + one.activations;
    const std::size_t tokens = o.batch / 2 * (o.model.context + 1) * sizeof(std::int32_t);
    const std::size_t ranges = parameter_layout(o.model).ranges().size() * sizeof(parameter_range);
    CHECK(one.memory.peak == parts + tokens + ranges + 2 * sizeof(double));
  }
}

TEST_CASE("the timeline holds the traced steps and no other") {
  rondel::timeline recorder;
  options o = small_options();
  o.trace_steps = 3;
  const outcome r = train(rondel::threads{.ranks = 2, .recorder = &recorder}, o, &recorder);
  std::size_t communication = 0, updates = 0;
  for (const rondel::timeline_lane* lane : recorder.lanes()) {
    for (const rondel::timeline_span& span : lane->spans()) {
      if (std::string(span.name) == "adamw") ++updates;
      if (lane->name() == "communication") ++communication;
    }
  }
  CHECK(updates == 2 * 3);
  CHECK(communication == 2 * 3 * (r.buckets + 1));
  CHECK(describe_overlap(recorder).find("rank 1") != std::string::npos);
}
