#pragma once
// Who waits for whom in a program: which ranks can come to its end without one of them.
#include "program.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace programs {

// One thing that a rank waits for: a meeting of all members of a communicator, or a batch of
// messages that must all be met by their peers'.
struct wait {
  struct message {
    int from, to;          // ranks of the world
    std::uint64_t number;  // of those between the two, in their communicator
  };
  std::size_t step = 0;
  std::size_t part = 0;  // the communicator
  std::string name;      // what errors call it: its kind
  std::uint64_t sequence = 0;
  std::uint64_t meeting = 0;  // its number, from 1; 0 for a batch
  std::vector<message> messages{};
};

// All that each rank of `p` waits for, in order. What the generic forms send is learnt from the
// library itself, on simulated devices.
[[nodiscard]] std::vector<std::vector<wait>> waits_of(const program& p);

// For each rank the first of its waits that does not end when rank `faulty` begins none of those of
// step `step` or a later one; nothing for those that come to their end.
[[nodiscard]] std::vector<std::optional<std::size_t>> stuck_without(
    const std::vector<std::vector<wait>>& waits, int faulty, std::size_t step);

}  // namespace programs
