// The meeting of ranks and the waiting below it.
#include <rondel/comm/thread_group.hpp>

#include "ranks.hpp"

#include <cstdint>
#include <string>

#include <doctest/doctest.h>

namespace {

using model::check_found;
using model::check_holds;
using model::require;
using model::run_ranks;
using model::run_threads;
using rondel::detail::patience;

constexpr std::uint64_t many = 100'000;

// One thread waits for what another one stores and makes known.
void wait_and_notify() {
  model::thread_world world(2);
  rondel::detail::sync::atomic<int> ready{0};
  run_threads(
      [&] {
        for (int i = 1; i <= 2; ++i) {
          ready.store(i);
          world.notify();
        }
      },
      [&] {
        for (int i = 1; i <= 2; ++i) {
          patience left{model::for_ever};
          require(world.wait(left, [&] { return ready.load() >= i; }), "given up");
        }
      });
}

void successive_meetings(int ranks, std::uint64_t turns) {
  const auto group = model::make_group(ranks);
  run_ranks(ranks, [&](int rank) {
    model::rank_memory mine(ranks);
    for (std::uint64_t turn = 1; turn <= turns; ++turn) {
      model::meet_once(*group, rank, turn, mine);
    }
  });
}

TEST_CASE("wait and notify") { check_holds("wait and notify", many, {}, wait_and_notify); }

TEST_CASE("meetings of two") {
  check_holds("three meetings of 2 ranks", many, {}, [] { successive_meetings(2, 3); });
}

TEST_CASE("meetings of three") {
  check_holds("two meetings of 3 ranks", many, {}, [] { successive_meetings(3, 2); });
}

}  // namespace
