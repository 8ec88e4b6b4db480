// The hand-overs of the thread engine under random interleavings.
#include <rondel/comm/thread_group.hpp>
#include <rondel/comm/threads.hpp>

#include "random_pause.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::detail::thread_call;
using rondel::detail::thread_group;
using rondel::detail::thread_message;

// Runs `f(rank, random)` on threads, each with random pauses of its own to draw from.
template <class F>
void race(int ranks, std::uint64_t seed, const F& f) {
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(ranks));
  {
    std::vector<std::jthread> threads;
    for (int r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        std::mt19937_64 random(seed * 131 + static_cast<unsigned>(r));
        try {
          f(r, random);
        } catch (...) {
          failures[static_cast<std::size_t>(r)] = std::current_exception();
        }
      });
    }
  }
  for (const auto& failure : failures) {
    if (failure == nullptr) continue;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      FAIL_CHECK(std::string(e.what()));
    }
  }
}

thread_call call_of(int rank, std::uint64_t number) {
  return {rank, false, {.kind = rondel::operation_kind::all_reduce}, number, {{60}}};
}

// Between the two waits of a meeting nobody may still be in the one before, nor already in the
// next, and every card must be that of this turn.
TEST_CASE("meetings do not run into each other") {
  for (const int ranks : {2, 3, 5}) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const auto group = rondel::make_thread_group(ranks);
      std::vector<std::uint64_t> shown(static_cast<std::size_t>(ranks) * 16);
      std::vector<int> wrong(static_cast<std::size_t>(ranks) * 16);
      race(ranks, seed, [&](int rank, std::mt19937_64& random) {
        std::uint64_t& mine = shown[static_cast<std::size_t>(rank) * 16];
        for (std::uint64_t turn = 1; turn <= 2000; ++turn) {
          test::random_pause(random);
          mine = turn;  // not atomic: the meeting alone makes it visible
          auto call = call_of(rank, turn);
          // Shown as it lies, or as a copy, in an order that is the same on all ranks.
          rondel::detail::thread_input in{&mine, sizeof mine};
          if (turn % 7 < 4) in.largest = sizeof mine;
          group->meet(call, turn, in, nullptr, {}, [&](const auto& peers) {
            test::random_pause(random);
            for (int r = 0; r < ranks; ++r) {
              const auto* theirs = static_cast<const std::uint64_t*>(peers(r).in);
              if (*theirs != turn) ++wrong[static_cast<std::size_t>(rank) * 16];
            }
          });
        }
      });
      for (const int count : wrong) CHECK(count == 0);
    }
  }
}

// Random batches in which every message carries who sent it and its number.
TEST_CASE("messages arrive once, whole and in order") {
  for (const int ranks : {1, 2, 4}) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const auto group = rondel::make_thread_group(ranks);
      race(ranks, seed, [&](int rank, std::mt19937_64& random) {
        // All ranks draw the same plan: how many messages of which size go from whom to whom.
        std::mt19937_64 plan(seed);
        const auto n = static_cast<std::size_t>(ranks);
        std::vector<std::uint64_t> sent(n), received(n);
        for (int round = 1; round <= 100; ++round) {
          std::vector<std::vector<std::uint64_t>> out, in;
          std::vector<int> to, from;
          for (int a = 0; a < ranks; ++a) {
            for (int b = 0; b < ranks; ++b) {
              const auto count = plan() % 24;
              for (std::uint64_t m = 0; m < count; ++m) {
                const auto size = plan() % 40;
                if (a == rank) {
                  const auto number = sent[static_cast<std::size_t>(b)]++;
                  out.emplace_back(size, static_cast<std::uint64_t>(a) << 32 | number);
                  to.push_back(b);
                }
                if (b == rank) {
                  in.emplace_back(size, 0);
                  from.push_back(a);
                }
              }
            }
          }
          std::vector<thread_message> sends, recvs;
          for (std::size_t i = 0; i < out.size(); ++i) {
            sends.push_back(
                {to[i], reinterpret_cast<std::byte*>(out[i].data()), out[i].size() * 8});
          }
          for (std::size_t i = 0; i < in.size(); ++i) {
            recvs.push_back(
                {from[i], reinterpret_cast<std::byte*>(in[i].data()), in[i].size() * 8});
          }
          test::random_pause(random);
          auto call = call_of(rank, static_cast<std::uint64_t>(round));
          group->exchange(call, sends, recvs);
          for (std::size_t i = 0; i < in.size(); ++i) {
            const auto number = received[static_cast<std::size_t>(from[i])]++;
            const std::vector<std::uint64_t> expected(
                in[i].size(), static_cast<std::uint64_t>(from[i]) << 32 | number);
            CHECK(in[i] == expected);
          }
        }
      });
    }
  }
}

// A world that fails at a random moment, mostly while some ranks still move data and others wait
// for them. Those who give up take their memory back; nobody may look at it from then on. The
// hosts and the streams of the ranks meet at the same time.
TEST_CASE("nobody reads memory that its owner has taken back") {
  constexpr int ranks = 3;
  constexpr std::uint64_t taken_back = 0;
  for (std::uint64_t seed = 0; seed < 1500; ++seed) {
    const auto group = rondel::make_thread_group(ranks);
    std::vector<std::uint64_t> memory(ranks * 2 * 16);
    std::vector<int> wrong(ranks * 2 * 16);
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < ranks * 2; ++t) {
        threads.emplace_back([&, t] {
          std::mt19937_64 random(seed * 31 + static_cast<unsigned>(t));
          std::uint64_t& mine = memory[static_cast<std::size_t>(t) * 16];
          try {
            for (std::uint64_t turn = 1;; ++turn) {
              mine = turn;
              auto call = call_of(t / 2, turn);
              call.host = t % 2 == 1;
              group->run(call, [&] {
                group->meet(call, turn, {&mine, sizeof mine}, nullptr, {}, [&](const auto& peers) {
                  for (int p = 0; p < ranks; ++p) {
                    test::random_pause(random);
                    const auto* theirs = static_cast<const std::uint64_t*>(peers(p).in);
                    if (*theirs != turn) ++wrong[static_cast<std::size_t>(t) * 16];
                  }
                });
              });
            }
          } catch (const rondel::communication_error&) {
            mine = taken_back;
            // Whoever comes back shows nothing: a slower rank may still look at the last card.
            auto again = call_of(t / 2, UINT64_MAX);
            again.host = t % 2 == 1;
            again.op.count = 1;
            CHECK_THROWS_AS(group->meet(again, UINT64_MAX, {&mine, sizeof mine}, nullptr, {},
                                        [](const auto&) {}),
                            rondel::peer_failed);
          }
        });
      }
      std::mt19937_64 random(seed);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 1500));
      group->world().fail(0, "stopped by the test");
    }
    for (const int count : wrong) CHECK(count == 0);
  }
}

}  // namespace
