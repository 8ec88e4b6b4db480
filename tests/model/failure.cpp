// Failures in the midst of meetings: who gives up, leaves, disagrees or comes late.
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/error.hpp>

#include "ranks.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using model::check_found;
using model::check_holds;
using model::drop;
using model::naps;
using model::require;
using model::run_ranks;
using model::run_threads;
using model::split;
using model::weaken;

constexpr std::uint64_t many = 100'000;

// Meets as `run` of a communicator would, and takes the memory back when that has failed; who
// reads it after that is in a race. Returns what it ended with.
std::string meet_or_give_up(model::thread_group& group, int rank, std::uint64_t turns,
                            bool host = false, rondel::seconds timeout = model::for_ever,
                            std::uint64_t first = 1) {
  model::rank_memory mine(group.size());
  try {
    for (std::uint64_t turn = first; turn <= turns; ++turn) {
      auto call = model::call_of(rank, turn, host);
      group.run(call, [&] { model::meet_once(group, rank, turn, mine, host, timeout); });
    }
    return {};
  } catch (const rondel::communication_error& e) {
    mine.in = 0;
    for (auto& out : mine.out) out = 0;
    return e.what();
  }
}

// Somebody else fails the world at any moment.
void failure_while_moving(int ranks, std::uint64_t turns) {
  const auto group = model::make_group(ranks);
  rondel::detail::sync::thread other([&] { group->world().fail(0, "stopped"); });
  run_ranks(ranks, [&](int rank) { (void)meet_or_give_up(*group, rank, turns); });
  other.join();
}

// Whoever comes back after a failure shows nothing: a slower rank may still look at the last card.
void come_back_after_failure() {
  const auto group = model::make_group(3);
  rondel::detail::sync::thread other([&] { group->world().fail(0, "stopped"); });
  run_ranks(3, [&](int rank) {
    if (meet_or_give_up(*group, rank, 1).empty()) return;
    auto again = model::call_of(rank, 2);
    try {
      group->meet(again, 2, {}, nullptr, {}, [](const auto&) {});
      require(false, "a meeting of a failed world");
    } catch (const rondel::peer_failed&) {
    }
  });
  other.join();
}

// The same with the host and the stream of each rank in meetings of their own.
void failure_of_hosts_and_streams() {
  const auto group = model::make_group(2);
  rondel::detail::sync::thread other([&] { group->world().fail(0, "stopped"); });
  run_ranks(4, [&](int i) { (void)meet_or_give_up(*group, i / 2, 1, i % 2 == 1); });
  other.join();
}

void hosts_and_streams() {
  const auto group = model::make_group(2);
  run_ranks(
      4, [&](int i) { require(meet_or_give_up(*group, i / 2, 2, i % 2 == 1).empty(), "failed"); });
}

// Rank 1 makes one call less than rank 0 and leaves.
void leaves_early(int ranks) {
  const auto group = model::make_group(ranks);
  run_ranks(ranks, [&](int rank) {
    const std::string end = meet_or_give_up(*group, rank, rank == 1 ? 1 : 2);
    if (rank == 1) {
      group->leave(rank, false);
      require(end.empty(), "who leaves has failed: " + end);
    } else {
      require(end.find("left the communicator") != std::string::npos, "not told: " + end);
    }
  });
}

// All make their calls and leave at once. Nobody may mind.
void leave_when_done() {
  const auto group = model::make_group(3);
  run_ranks(3, [&](int rank) {
    const std::string end = meet_or_give_up(*group, rank, 1);
    group->leave(rank, false);
    require(end.empty(), "failed: " + end);
  });
}

// An exception takes rank 1 away, and whoever handles it says why a little later.
void unwinds() {
  const auto group = model::make_group(2);
  run_threads(
      [&] {
        require(meet_or_give_up(*group, 0, 2).find("no input") != std::string::npos,
                "not the words of who failed");
      },
      [&] {
        require(meet_or_give_up(*group, 1, 1).empty(), "failed");
        group->leave(1, true);
        group->world().fail(1, "no input");
      });
}

// Rank 0 fails in the midst of its move, as for blocks of another size, while others move.
void failure_of_a_move(int ranks) {
  const auto group = model::make_group(ranks);
  run_ranks(ranks, [&](int rank) {
    if (rank != 0) {
      (void)meet_or_give_up(*group, rank, 1);
      return;
    }
    model::rank_memory mine(ranks);
    mine.in = 1;
    auto call = model::call_of(rank, 1);
    try {
      group->run(call, [&] {
        group->meet(call, 1, {}, &mine, {},
                    [](const auto&) { throw std::runtime_error("as told"); });
      });
      require(false, "no failure");
    } catch (const std::runtime_error&) {
      mine.in = 0;
      for (auto& out : mine.out) out = 0;
    }
  });
}

// Rank 2 is gone without a word after its first call. Rank 0 names it, and says what all are in.
void vanishes() {
  const auto group = model::make_group(3);
  rondel::detail::sync::atomic<int> gone{0};
  run_ranks(3, [&](int rank) {
    if (rank == 2) {
      require(meet_or_give_up(*group, rank, 1).empty(), "failed");
      group->world().doing(rank).silent.store(true);
      group->leave(rank, false);
      gone.store(1);
      gone.notify_all();
      return;
    }
    require(meet_or_give_up(*group, rank, 1).empty(), "failed");
    if (rank == 0) gone.wait(0);
    const rondel::seconds timeout = rank == 0 ? rondel::seconds{0.001} : model::for_ever;
    const std::string end = meet_or_give_up(*group, rank, 2, false, timeout, 2);
    if (rank == 1) return;
    for (const char* part : {"rank 2 is missing", "its last call was all_reduce #1",
                             "rank 1: it waits in all_reduce #2"}) {
      require(end.find(part) != std::string::npos, end);
    }
  });
}

// The deadline may pass for whoever waits. Then nobody completes a turn in which others failed
// with the data of another one, and all memory is safe.
void deadlines() {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    const std::string end = meet_or_give_up(*group, rank, 2, false, {0.0004});
    require(end.empty() || end.find("is missing") != std::string::npos ||
                end.find("failed first") != std::string::npos,
            end);
  });
}

// All ranks have to learn that they disagree.
void disagree() {
  const auto group = model::make_group(3);
  run_ranks(3, [&](int rank) {
    auto call = model::call_of(rank, 1);
    if (rank == 1) call.op.kind = rondel::operation_kind::barrier;
    try {
      group->run(call, [&] { group->meet(call, 1, {}, nullptr, {}, [](const auto&) {}); });
      require(false, "no mismatch");
    } catch (const rondel::mismatched_operation&) {
    }
  });
}

TEST_CASE("a failure while ranks move data") {
  check_holds("failure, 2 ranks in 2 meetings", many, {}, [] { failure_while_moving(2, 2); });
  check_holds("failure, 3 ranks that come back", many, {}, come_back_after_failure);
  check_holds("a move of 3 ranks fails", many, {}, [] { failure_of_a_move(3); });
}
TEST_CASE("hosts and streams at once") {
  check_holds("hosts and streams of 2 ranks", many, {}, hosts_and_streams);
  check_holds("failure, hosts and streams of 2 ranks", many, {}, failure_of_hosts_and_streams);
}
TEST_CASE("leaving") {
  check_holds("1 of 2 ranks leaves early", many, {}, [] { leaves_early(2); });
  check_holds("3 ranks leave when they are done", many, {}, leave_when_done);
}
TEST_CASE("ends without words") {
  check_holds("an exception takes a rank away", many, {.timed_waits = naps::idle}, unwinds);
  check_holds("a rank vanishes", many, {.timed_waits = naps::idle}, vanishes);
}
TEST_CASE("deadlines") {
  check_holds("deadlines of 2 ranks", many, {.timed_waits = naps::anytime}, deadlines);
}
TEST_CASE("disagreement") { check_holds("3 ranks disagree", many, {}, disagree); }

// What the checker finds where the code is weaker than it is.
TEST_CASE("planted faults of failures") {
  check_found("a move of 3 ranks fails", {},
              {{weaken("mover: count_.fetch_add(", std::memory_order_acq_rel), "data race"},
               {weaken("~mover: count_.fetch_sub(", std::memory_order_relaxed), "data race"},
               {weaken("moving.load(", std::memory_order_acquire), "data race"},
               {weaken("failed_.store(true", std::memory_order_release), "data race"},
               {weaken("failed: failed_.load(", std::memory_order_acquire), "data race"},
               {drop("moving.load("), "data race"}},
              [] { failure_of_a_move(3); });
  check_found("failure, hosts and streams of 2 ranks", {},
              {{split("mover: count_.fetch_add("), "data race"},
               {split("~mover: count_.fetch_sub("), "livelock"}},
              failure_of_hosts_and_streams);
  check_found("hosts and streams of 2 ranks", {},
              {{weaken("own.departed.store(", std::memory_order_release), "deadlock"},
               {weaken("].departed.load(", std::memory_order_acquire), "deadlock"}},
              hosts_and_streams);
  check_found("1 of 2 ranks leaves early", {},
              {{weaken("leave: presence.store(", std::memory_order_release), "deadlock"},
               {weaken("ready() || presence.load(", std::memory_order_acquire), "deadlock"}},
              [] { leaves_early(2); });
  check_found("a rank vanishes", {.timed_waits = naps::idle},
              {{drop("side.store(word"), "rank 2 is missing"}}, vanishes);
}

}  // namespace
