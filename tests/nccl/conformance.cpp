#include <rondel/comm/send_recv_only.hpp>

#include "worlds.hpp"

#include <atomic>
#include <utility>

#include <doctest/doctest.h>

namespace {

// `f(communicator, stream)` for 1 to 4 ranks, where `wrap` makes the communicator of a duplicate.
template <class Wrap, class F>
void on_worlds(unsigned seed, const Wrap& wrap, const F& f) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    if (test::sanitized && ranks % 3 != 0) continue;
    test::nccl_machine machine({.seed = seed + static_cast<unsigned>(ranks)});
    test::on_nccl({.ranks = ranks, .timeout = {60}}, [&](auto& rank) {
      auto comm = wrap(rank.world().duplicate());
      auto stream = rank.device().make_stream("test");
      f(comm, stream);
      stream.synchronize();
    });
  }
}

constexpr auto plain = [](auto comm) { return comm; };
constexpr auto generic = [](auto comm) { return rondel::send_recv_only(std::move(comm)); };

template <class Wrap>
void essentials(unsigned seed, const Wrap& wrap) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    test::nccl_machine machine({.seed = seed});
    std::atomic<int> arrivals{0};
    test::on_nccl({.ranks = ranks, .timeout = {60}}, [&](auto& rank) {
      auto comm = wrap(rank.world().duplicate());
      auto stream = rank.device().make_stream("test");
      conformance::essentials(comm, stream, arrivals);
    });
  }
}

}  // namespace

TEST_CASE("nccl: messages, rings, splits, streams, arguments") {
  for (unsigned seed = 1; seed <= (test::sanitized ? 1 : 3); ++seed) essentials(seed, plain);
}

TEST_CASE("nccl: reductions") {
  on_worlds(10, plain, [](auto& comm, auto& s) { conformance::reductions(comm, s); });
}

TEST_CASE("nccl: movements") {
  on_worlds(20, plain, [](auto& comm, auto& s) { conformance::movements(comm, s); });
}

TEST_CASE("nccl by messages alone: the essentials") { essentials(30, generic); }
