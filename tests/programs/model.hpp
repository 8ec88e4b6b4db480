#pragma once
// What a program must compute: the meaning of each operation, on plain vectors of all ranks at
// once.
#include "program.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace programs {

// The ranks of the world that make up one communicator, in its order; empty for a rank without one.
using members = std::vector<int>;

// `slots[s][r]`: who is in the communicator that rank `r` of the world has in slot `s`, as far as
// the first `steps` steps have made them.
[[nodiscard]] std::vector<std::vector<members>> slots_after(const program& p, std::size_t steps);

// Elements of each rank's block in a communicator of `size`.
[[nodiscard]] std::vector<std::size_t> blocks_of(const step& s, int size);

// Elements that rank `from` sends to rank `to` in an all_to_all.
[[nodiscard]] std::size_t exchanged(const step& s, int from, int to);

// A message of a `send_recv` step.
struct message {
  int from = 0, to = 0;
  std::size_t size = 0;
};
// All messages of it, in the order in which every rank adds its own.
[[nodiscard]] std::vector<message> messages_of(const step& s, int size);

[[nodiscard]] int root_of(const step& s, int size);

// Elements of rank `rank`'s input in a communicator of `size`.
[[nodiscard]] std::size_t input_size(const step& s, int size, int rank);

// The input of rank `rank` of `of`, without what a chained step takes from a register.
template <class T>
[[nodiscard]] std::vector<T> input_of(const step& s, const members& of, int rank);

// What every rank must have in the end.
struct expectation {
  std::vector<std::vector<std::vector<std::byte>>> results;       // [step][rank], bytes
  std::vector<std::vector<std::vector<std::int32_t>>> registers;  // [rank][stream]
};
[[nodiscard]] expectation expected(const program& p);

}  // namespace programs
