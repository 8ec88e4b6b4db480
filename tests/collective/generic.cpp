#include <rondel/comm/send_recv_only.hpp>

#include "communicator.hpp"
#include "worlds.hpp"

#include <utility>

#include <doctest/doctest.h>

namespace {

constexpr auto generic = [](auto comm) { return rondel::send_recv_only(std::move(comm)); };

TEST_CASE("send and recv only: reductions") {
  test::on_worlds(5, generic, [](auto& comm, auto& s) { conformance::reductions(comm, s); });
}

TEST_CASE("send and recv only: movements") {
  test::on_worlds(5, generic, [](auto& comm, auto& s) { conformance::movements(comm, s); });
}

TEST_CASE("send and recv only: messages, rings, splits, streams, arguments") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      std::atomic<int> arrivals{0};
      test::on_threads({.ranks = ranks, .streams = mode, .timeout = {60}}, [&](auto& rank) {
        rondel::send_recv_only comm(rank.world().duplicate());
        auto stream = rank.device().make_stream("test");
        conformance::essentials(comm, stream, arrivals);
      });
    }
  }
}

}  // namespace
