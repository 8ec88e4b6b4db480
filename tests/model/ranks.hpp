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
  group.meet(call, turn, {}, &mine, {}, [&](const auto& peers) {
    for (int r = 0; r < group.size(); ++r) {
      auto& theirs = *static_cast<rank_memory*>(peers(r).out);
      const std::uint64_t read = theirs.in;
      require(read == turn, "a rank of another turn");
      theirs.out[static_cast<std::size_t>(rank)] = read;
    }
  });
  for (const auto& out : mine.out) require(out == turn, "a block of another turn");
}

// Rank `rank` meets the others, all of which show `turn` as a copy.
inline void meet_with_copies(thread_group& group, int rank, std::uint64_t turn) {
  std::uint64_t mine = turn;
  auto call = call_of(rank, turn);
  group.meet(call, turn, {&mine, sizeof mine, sizeof mine}, nullptr, {}, [&](const auto& peers) {
    const auto look = [&](int r) {
      // Reading the card is noticed, reading what lies beside it is not.
      const rondel::detail::thread_card& theirs = peers(r);
      require(*static_cast<const std::uint64_t*>(theirs.in) == turn, "a copy of another turn");
    };
    for (int r = 0; r < group.size(); ++r) look(r);
    for (int r = 0; r < group.size(); ++r) look(r);
  });
}

}  // namespace model
