#include "communicator.hpp"
#include "worlds.hpp"

#include <utility>

#include <doctest/doctest.h>

namespace {

constexpr auto plain = [](auto comm) { return comm; };

TEST_CASE("threads: reductions") {
  test::on_worlds(5, plain, [](auto& comm, auto& s) { conformance::reductions(comm, s); });
}

TEST_CASE("threads: movements") {
  test::on_worlds(5, plain, [](auto& comm, auto& s) { conformance::movements(comm, s); });
}

TEST_CASE("threads: messages, rings, splits, streams, arguments") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      std::atomic<int> arrivals{0};
      test::on_threads({.ranks = ranks, .streams = mode, .timeout = {60}}, [&](auto& rank) {
        auto stream = rank.device().make_stream("test");
        conformance::essentials(rank.world(), stream, arrivals);
      });
    }
  }
}

}  // namespace
