// The meeting of ranks and the waiting below it.
#include <rondel/comm/thread_group.hpp>

#include "ranks.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

namespace {

using model::add;
using model::check_found;
using model::check_holds;
using model::check_holds_always;
using model::drop;
using model::require;
using model::run_ranks;
using model::split;
using model::weaken;
using rondel::detail::patience;

constexpr std::uint64_t many = 100'000;

// Threads wait for what another one stores and makes known.
void wait_and_notify(int waiters, int times) {
  model::thread_world world(2);
  rondel::detail::sync::atomic<int> ready{0};
  run_ranks(waiters + 1, [&](int rank) {
    for (int i = 1; i <= times; ++i) {
      if (rank == 0) {
        ready.store(i);
        world.notify();
      } else {
        patience left{model::for_ever};
        require(world.wait(left, [&] { return ready.load() >= i; }), "given up");
      }
    }
  });
}

// A wait ends as well when the world fails.
void wait_and_fail() {
  model::thread_world world(2);
  run_ranks(3, [&](int rank) {
    if (rank == 0) {
      world.fail(0, "as told");
      return;
    }
    require(world.first_failed() <= 0, "another one has failed");
    patience left{model::for_ever};
    require(!world.wait(left, [] { return false; }), "ready");
    require(world.failed() && world.first_failed() == 0, "nobody has failed");
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

// Meetings with copies, which nobody leaves late, between ones that all leave together.
void meetings_with_copies(int ranks, std::uint64_t turns, std::uint64_t together) {
  const auto group = model::make_group(ranks);
  run_ranks(ranks, [&](int rank) {
    model::rank_memory mine(ranks);
    for (std::uint64_t turn = 1; turn <= turns; ++turn) {
      if (turn == together) {
        model::meet_once(*group, rank, turn, mine);
      } else {
        model::meet_with_copies(*group, rank, turn);
      }
    }
  });
}

// All ranks move at the same time: none of them sleeps until another one has moved.
void all_move_at_once(int ranks, int turns) {
  const auto group = model::make_group(ranks);
  rondel::detail::sync::atomic<int> moving{0};
  run_ranks(ranks, [&](int rank) {
    for (int turn = 1; turn <= turns; ++turn) {
      auto call = model::call_of(rank, static_cast<std::uint64_t>(turn));
      group->meet(call, call.sequence, {}, nullptr, {}, [&](const auto&) {
        moving.fetch_add(1);
        moving.notify_all();
        for (int n = moving.load(); n < turn * ranks; n = moving.load()) moving.wait(n);
      });
    }
  });
}

// Communicators that are made at the same time have different numbers.
void numbers_of_groups() {
  model::thread_world world(2);
  std::array<std::uint64_t, 3> taken{};
  run_ranks(3, [&](int rank) { taken[static_cast<std::size_t>(rank)] = world.next_group(); });
  require(taken[0] != taken[1] && taken[0] != taken[2] && taken[1] != taken[2], "the same number");
}

TEST_CASE("wait and notify") {
  check_holds("2 wait, 1 notifies twice", many, {}, [] { wait_and_notify(2, 2); });
  check_holds("2 wait, 1 fails", many, {}, wait_and_fail);
}

TEST_CASE("meetings of two") {
  check_holds("three meetings of 2 ranks", many, {}, [] { successive_meetings(2, 3); });
}

TEST_CASE("meetings of three") {
  check_holds("two meetings of 3 ranks", many, {}, [] { successive_meetings(3, 2); });
}

TEST_CASE("meetings with copies") {
  check_holds("five copies of 2 ranks", many, {}, [] { meetings_with_copies(2, 5, 0); });
  check_holds("four copies of 3 ranks", many, {}, [] { meetings_with_copies(3, 4, 0); });
  check_holds("copies of 2 ranks around a meeting", many, {},
              [] { meetings_with_copies(2, 4, 2); });
}

TEST_CASE("meetings in which all move at once") {
  check_holds("2 meetings of 2 ranks who move at once", many, {}, [] { all_move_at_once(2, 2); });
}

TEST_CASE("all interleavings of small ones") {
  check_holds_always("1 waits, 1 notifies", 100, [] { wait_and_notify(1, 1); });
  check_holds_always("a meeting of 2 ranks", 3, [] { successive_meetings(2, 1); });
  check_holds_always("numbers of 3 communicators", 100, numbers_of_groups);
}

// What the checker finds where the code is weaker than it is.
TEST_CASE("planted faults of waits") {
  check_found("2 wait, 1 notifies twice", {},
              {{drop("notify: condition_.notify_all()"), "deadlock"},
               {drop("notify: lock_guard lock("), "data race"},
               {drop("wakes: lock_guard lock("), "data race"},
               {weaken("sleepers_.load(", std::memory_order_acquire), "deadlock"},
               {weaken("sleeper: count_.fetch_add(", std::memory_order_acq_rel), "deadlock"},
               {split("sleeper: count_.fetch_add("), "deadlock"},
               {drop("sleeper: count_.fetch_add("), "deadlock"}},
              [] { wait_and_notify(2, 2); });
  check_found("2 wait, 1 fails", {},
              {{drop("fail: condition_.notify_all()"), "deadlock"},
               {drop("fail: lock_guard lock("), "data race"},
               {drop("first_failed: lock_guard lock("), "data race"}},
              wait_and_fail);
}
TEST_CASE("planted faults of meetings") {
  check_found("three meetings of 2 ranks", {},
              {{weaken("shown.turn.store(", std::memory_order_relaxed), "data race"},
               {weaken("].of(turn).turn.load(", std::memory_order_relaxed), "data race"},
               {weaken("own.departed.store(", std::memory_order_relaxed), "data race"},
               {weaken("].departed.load(", std::memory_order_relaxed), "data race"},
               {drop("own.departed.store("), "deadlock"},
               {add("].of(turn).turn.load(", 1), "while rank"},
               {add("].departed.load(", 1), "another turn"}},
              [] { successive_meetings(2, 3); });
  check_found("five copies of 2 ranks", {},
              {{weaken("shown.turn.store(", std::memory_order_relaxed), "data race"},
               {weaken("].of(turn).turn.load(", std::memory_order_relaxed), "data race"},
               {add("].of(turn).turn.load(", 1), "while rank"}},
              [] { meetings_with_copies(2, 5, 0); });
  check_found("2 meetings of 2 ranks who move at once", {},
              {{weaken("shown.turn.store(", std::memory_order_release), "deadlock"},
               {weaken("].of(turn).turn.load(", std::memory_order_acquire), "deadlock"}},
              [] { all_move_at_once(2, 2); });
  check_found("numbers of 3 communicators", {}, {{split("groups_.fetch_add("), "same number"}},
              numbers_of_groups);
}

}  // namespace
