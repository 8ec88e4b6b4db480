#pragma once
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/sync.hpp>

#include "scenario.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

// Ranks of the threads engine, for scenarios of its protocols.
namespace model {

using rondel::detail::thread_call;
using rondel::detail::thread_group;
using rondel::detail::thread_message;
using rondel::detail::thread_world;
template <class T>
using plain = rondel::detail::sync::plain<T>;

inline constexpr rondel::seconds for_ever{1e9};

[[nodiscard]] inline std::shared_ptr<thread_group> make_group(int ranks) {
  std::vector<int> all;
  for (int r = 0; r < ranks; ++r) all.push_back(r);
  return std::make_shared<thread_group>(std::make_shared<thread_world>(ranks), all);
}

[[nodiscard]] inline thread_call call_of(int rank, std::uint64_t number, bool host = false,
                                         rondel::seconds timeout = for_ever) {
  return {rank, host, {.kind = rondel::operation_kind::all_reduce}, number, {timeout}};
}

// What rank `rank` has shown.
template <class T, class Seats>
[[nodiscard]] T& shown(const Seats& seats, int rank) {
  seats[rank].shown.reading();
  return *static_cast<T*>(seats[rank].shown.out);
}

// The memory of a rank that takes part in meetings: what it gives, and a place for what each
// other rank writes.
struct rank_memory {
  explicit rank_memory(int ranks) : out(static_cast<std::size_t>(ranks)) {}
  plain<std::uint64_t> in{0};
  std::vector<plain<std::uint64_t>> out;
};

// Rank `rank` meets the others: reads all their `in`, which must be `turn`, and writes it to its
// place of their `out`. Then reads its own `out`.
inline void meet_once(thread_group& group, int rank, std::uint64_t turn, rank_memory& mine,
                      bool host = false, rondel::seconds timeout = for_ever) {
  mine.in = turn;
  auto call = call_of(rank, turn, host, timeout);
  group.meet(call, turn, {call.op, nullptr, &mine}, [&](const auto& seats) {
    for (int r = 0; r < group.size(); ++r) {
      auto& theirs = shown<rank_memory>(seats, r);
      const std::uint64_t read = theirs.in;
      require(read == turn, "a rank of another turn");
      theirs.out[static_cast<std::size_t>(rank)] = read;
    }
  });
  for (const auto& out : mine.out) require(out == turn, "a block of another turn");
}

}  // namespace model
