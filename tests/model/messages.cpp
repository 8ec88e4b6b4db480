// The channels: messages between ranks, through rings of four.
#include <rondel/comm/thread_group.hpp>

#include "ranks.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using model::add;
using model::check_found;
using model::check_holds;
using model::check_holds_always;
using model::drop;
using model::require;
using model::run_ranks;
using model::thread_message;
using model::weaken;

constexpr std::uint64_t many = 100'000;

// A message's memory, whose races are noted where it is copied.
class message_memory {
 public:
  message_memory() { model::execution::current().watch(bytes_.data(), bytes_.size(), race_); }
  message_memory(const message_memory&) = delete;
  message_memory& operator=(const message_memory&) = delete;
  ~message_memory() {
    race_.write();
    model::execution::current().unwatch(race_);
  }

  void fill(std::uint64_t value) {
    race_.write();
    std::memcpy(bytes_.data(), &value, sizeof(value));
  }
  [[nodiscard]] std::uint64_t value() {
    race_.read();
    std::uint64_t result = 0;
    std::memcpy(&result, bytes_.data(), sizeof(result));
    return result;
  }
  [[nodiscard]] thread_message with(int peer) { return {peer, bytes_.data(), bytes_.size()}; }

 private:
  std::array<std::byte, sizeof(std::uint64_t)> bytes_{};
  model::race_state race_;
};

// Rank `rank` sends `count` messages to each of `peers`, and receives as many, all in one batch.
void exchange(model::thread_group& group, int rank, const std::vector<int>& peers, int count,
              std::uint64_t round) {
  std::list<message_memory> memory;
  std::vector<thread_message> sends, recvs;
  std::vector<message_memory*> received;
  const auto content = [&](int from, int i) {
    return (round << 16) + static_cast<std::uint64_t>(from * 100 + i);
  };
  for (const int peer : peers) {
    for (int i = 0; i < count; ++i) {
      memory.emplace_back().fill(content(rank, i));
      sends.push_back(memory.back().with(peer));
      recvs.push_back(memory.emplace_back().with(peer));
      received.push_back(&memory.back());
    }
  }
  auto call = model::call_of(rank, round);
  group.exchange(call, sends, recvs);
  std::size_t next = 0;
  for (const int peer : peers) {
    for (int i = 0; i < count; ++i) {
      require(received[next++]->value() == content(peer, i), "another message than was sent");
    }
  }
}

// Both directions at once, in successive batches; more messages than the ring holds wrap it.
void both_ways(int count, int rounds) {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    for (int round = 1; round <= rounds; ++round) {
      exchange(*group, rank, {1 - rank}, count, static_cast<std::uint64_t>(round));
    }
  });
}

// One direction only, so that the ring is full or empty most of the time.
void one_way(int count) {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    std::list<message_memory> memory;
    std::vector<thread_message> messages, none;
    for (int i = 0; i < count; ++i) {
      memory.emplace_back().fill(rank == 0 ? static_cast<std::uint64_t>(i) : UINT64_MAX);
      messages.push_back(memory.back().with(1 - rank));
    }
    auto call = model::call_of(rank, 1);
    group->exchange(call, rank == 0 ? messages : none, rank == 0 ? none : messages);
    std::uint64_t i = 0;
    for (auto& m : memory) require(m.value() == i++, "another message than was sent");
  });
}

// To and from all ranks, the own one too.
void all_to_all(int ranks) {
  const auto group = model::make_group(ranks);
  std::vector<int> all;
  for (int r = 0; r < ranks; ++r) all.push_back(r);
  run_ranks(ranks, [&](int rank) { exchange(*group, rank, all, 1, 1); });
}

// Who has sent may leave, and who has received too.
void send_and_leave() {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    exchange(*group, rank, {1 - rank}, 2, 1);
    group->leave(rank, false);
  });
}

// Rank 1 leaves after one of two messages. Rank 0 has that one, and is told of the other.
void leaves_early() {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    if (rank == 1) {
      exchange(*group, rank, {0}, 1, 1);
      group->leave(rank, false);
      return;
    }
    exchange(*group, rank, {1}, 1, 1);
    try {
      exchange(*group, rank, {1}, 1, 2);
      require(false, "a message from nobody");
    } catch (const rondel::peer_failed& e) {
      require(std::string(e.what()).find("rank 1 has left") != std::string::npos, e.what());
    }
  });
}

TEST_CASE("messages both ways") {
  check_holds("2 batches of 1 message each way", many, {}, [] { both_ways(1, 2); });
}
TEST_CASE("messages that wrap the ring") {
  check_holds("6 messages one way", many, {}, [] { one_way(6); });
  check_holds("a batch of 5 messages each way", many, {}, [] { both_ways(5, 1); });
}
TEST_CASE("messages of who leaves") {
  check_holds("2 messages each way before leaving", many, {}, send_and_leave);
  check_holds("1 message of 2 before leaving", many, {}, leaves_early);
}
TEST_CASE("messages among three") {
  check_holds("3 ranks, a message from each to each", many, {}, [] { all_to_all(3); });
}

TEST_CASE("all interleavings of a message") {
  check_holds_always("1 message one way", 4, [] { one_way(1); });
}

// What the checker finds where the code is weaker than it is.
TEST_CASE("planted faults of messages") {
  check_found("6 messages one way", {},
              {{weaken("c.posted.store(", std::memory_order_relaxed), "data race"},
               {weaken("c.posted.store(", std::memory_order_release), "deadlock"},
               {weaken("c.posted.load(", std::memory_order_acquire), "deadlock"},
               {weaken("posted - c.taken.load(", std::memory_order_relaxed), "data race"},
               {add("posted - c.taken.load(", 1), "deadlock"},
               {weaken("c.taken.store(", std::memory_order_relaxed), "data race"},
               {weaken("c.taken.store(", std::memory_order_release), "deadlock"},
               {drop("c.taken.store("), "another message"}},
              [] { one_way(6); });
  check_found(
      "2 batches of 1 message each way", {},
      {{weaken("c.taken.load(std::memory_order_seq_cst) > m.index", std::memory_order_acquire),
        "deadlock"}},
      [] { both_ways(1, 2); });
  check_found("1 message of 2 before leaving", {},
              {{weaken("departed_peer: presence.load(", std::memory_order_acquire), "deadlock"},
               {weaken("leave: presence.store(", std::memory_order_release), "deadlock"}},
              leaves_early);
}

}  // namespace
