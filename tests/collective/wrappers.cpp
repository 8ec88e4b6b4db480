#include <rondel/comm/faulty.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "communicator.hpp"
#include "worlds.hpp"

#include <utility>

#include <doctest/doctest.h>

namespace {

// `wrap(world, book)` makes the communicator under test.
template <class Wrap>
void run_essentials(int most, const Wrap& wrap) {
  for (int ranks = 1; ranks <= most; ++ranks) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      std::atomic<int> arrivals{0};
      test::on_threads({.ranks = ranks, .streams = mode, .timeout = {60}}, [&](auto& rank) {
        rondel::ledger book;
        auto comm = wrap(rank.world().duplicate(), book);
        auto stream = rank.device().make_stream("test");
        conformance::essentials(comm, stream, arrivals);
      });
    }
  }
}

TEST_CASE("ledger: the essentials") {
  run_essentials(4, [](auto world, auto& book) {
    return rondel::ledger_communicator(std::move(world), book);
  });
}

TEST_CASE("fingerprint: the essentials") {
  run_essentials(
      4, [](auto world, auto&) { return rondel::fingerprint_communicator(std::move(world)); });
}

TEST_CASE("faulty with random delays: the essentials") {
  run_essentials(3, [](auto world, auto&) {
    return rondel::faulty_communicator(std::move(world), {.jitter = {2e-4}, .seed = 11});
  });
}

TEST_CASE("all wrappers over send and recv: the essentials") {
  run_essentials(3, [](auto world, auto& book) {
    return rondel::ledger_communicator(
        rondel::fingerprint_communicator(rondel::faulty_communicator(
            rondel::send_recv_only(std::move(world)), {.jitter = {1e-4}, .seed = 5})),
        book);
  });
}

}  // namespace
