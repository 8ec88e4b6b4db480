#pragma once
#include <rondel/comm/block_view.hpp>
#include <rondel/comm/mpi_group.hpp>
#include <rondel/comm/stream_copy.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rondel::detail {

// Block sizes in bytes, of whatever type the blocks have.
class byte_blocks {
 public:
  template <block_sizes Blocks>
  byte_blocks(const Blocks& blocks, std::size_t element) noexcept
      : blocks_(blocks), element_(element) {}
  [[nodiscard]] std::size_t size(int i) const { return blocks_.size(i) * element_; }
  [[nodiscard]] std::size_t offset(int i) const { return blocks_.offset(i) * element_; }

 private:
  block_view blocks_;
  std::size_t element_;
};

// Up to here the inputs of all ranks together are gathered whole, in log2(N) steps.
inline constexpr std::size_t mpi_whole_bytes = std::size_t{64} << 10;

// Every rank signals the one 1, 2, 4, ... places on.
inline void mpi_barrier(const mpi_run& run) {
  for (int step = 1; step < run.size(); step *= 2) {
    run.recv(run.at(-step), nullptr, 0);
    run.send(run.at(step), nullptr, 0);
    run.finish();
  }
}

// All ranks' `size` bytes, in the scratch memory: at place `i` those of the rank `i` places on.
[[nodiscard]] inline const std::byte* mpi_gather_whole(const mpi_run& run, const void* mine,
                                                       std::size_t size) {
  std::byte* const all = run.scratch(size * static_cast<std::size_t>(run.size()));
  copy_bytes(all, mine, size, false);
  for (int have = 1; have < run.size(); have *= 2) {
    const int more = std::min(have, run.size() - have);
    const auto bytes = static_cast<std::size_t>(more) * size;
    run.recv(run.at(have), all + static_cast<std::size_t>(have) * size, bytes);
    run.send(run.at(-have), all, bytes);
    run.finish();
  }
  return all;
}
// Where `mpi_gather_whole` puts the bytes of rank `r`.
[[nodiscard]] inline std::size_t whole_place(const mpi_run& run, int r) noexcept {
  return static_cast<std::size_t>((r - run.rank() + run.size()) % run.size());
}

inline void mpi_all_gather(const mpi_run& run, const std::byte* in, std::byte* out,
                           const byte_blocks& blocks) {
  const int me = run.rank();
  for (int i = 1; i < run.size(); ++i) {
    const int r = run.at(-i);
    if (blocks.size(r) > 0) run.recv(r, out + blocks.offset(r), blocks.size(r));
  }
  for (int i = 1; i < run.size() && blocks.size(me) > 0; ++i) {
    run.send(run.at(i), in, blocks.size(me));
  }
  copy_large(out + blocks.offset(me), in, blocks.size(me));
  run.finish();
}

inline void mpi_gather(const mpi_run& run, const std::byte* in, std::byte* out,
                       const byte_blocks& blocks, int root) {
  const int me = run.rank();
  if (me != root) {
    if (blocks.size(me) > 0) run.send(root, in, blocks.size(me));
  } else {
    for (int i = 1; i < run.size(); ++i) {
      const int r = run.at(i);
      if (blocks.size(r) > 0) run.recv(r, out + blocks.offset(r), blocks.size(r));
    }
    copy_large(out + blocks.offset(me), in, blocks.size(me));
  }
  run.finish();
}

inline void mpi_scatter(const mpi_run& run, const std::byte* in, std::byte* out,
                        const byte_blocks& blocks, int root) {
  const int me = run.rank();
  if (me != root) {
    if (blocks.size(me) > 0) run.recv(root, out, blocks.size(me));
  } else {
    for (int i = 1; i < run.size(); ++i) {
      const int r = run.at(i);
      if (blocks.size(r) > 0) run.send(r, in + blocks.offset(r), blocks.size(r));
    }
    copy_large(out, in + blocks.offset(me), blocks.size(me));
  }
  run.finish();
}

// Empty blocks travel too: only sender and receiver know that they are.
inline void mpi_all_to_all(const mpi_run& run, const std::byte* in, const byte_blocks& in_blocks,
                           std::byte* out, const byte_blocks& out_blocks) {
  const int me = run.rank();
  for (int i = 1; i < run.size(); ++i) {
    const int r = run.at(-i);
    run.recv(r, out + out_blocks.offset(r), out_blocks.size(r));
  }
  for (int i = 1; i < run.size(); ++i) {
    const int r = run.at(i);
    run.send(r, in + in_blocks.offset(r), in_blocks.size(r));
  }
  if (in_blocks.size(me) != out_blocks.size(me)) {
    throw mismatched_operation(
        concat("rank ", run.transfer().world().rank(), " in all_to_all expects ",
               out_blocks.size(me), " B from itself and sends ", in_blocks.size(me), " B"),
        run.transfer().world().rank());
  }
  copy_large(out + out_blocks.offset(me), in + in_blocks.offset(me), in_blocks.size(me));
  run.finish();
}

// Down a binomial tree, in pieces that are passed on as they come.
inline void mpi_broadcast(const mpi_run& run, std::byte* data, std::size_t size, int root) {
  constexpr std::size_t window = 8;  // pieces a rank expects at a time
  if (size == 0 || run.size() == 1) return;
  const int place = run.at(-root);  // counted from the root
  const auto rank_at = [&](int p) { return (p + root) % run.size(); };
  // The lowest bit of the place says who the parent is; below it are the children.
  const int below = place == 0 ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(run.size())))
                               : (place & -place);
  std::vector<int> children;
  for (int bit = below / 2; bit >= 1; bit /= 2) {
    if (place + bit < run.size()) children.push_back(rank_at(place + bit));
  }
  // Only a rank in between gains from pieces, and two ranks have none.
  const std::size_t piece =
      std::min(run.size() == 2 ? size : std::size_t{1} << 20, run.message_limit());
  const std::size_t pieces = (size + piece - 1) / piece;
  const auto bytes = [&](std::size_t k) { return std::min(piece, size - k * piece); };
  constexpr std::uint64_t sent = UINT64_MAX;
  std::size_t passed_on = 0;
  const auto pass_on = [&] {
    for (const int child : children) {
      run.send(child, data + passed_on * piece, bytes(passed_on), sent);
    }
    ++passed_on;
  };
  if (place == 0) {
    while (passed_on < pieces) pass_on();
    run.finish();
    return;
  }
  const int parent = rank_at(place - below);
  std::size_t expected = 0;
  std::array<bool, window> here{};  // pieces that came before their turn
  const auto expect = [&] {
    while (expected < pieces && expected < passed_on + window) {
      run.recv(parent, data + expected * piece, bytes(expected), expected);
      ++expected;
    }
  };
  expect();
  run.transfer().finish([&](std::uint64_t note) {
    if (note == sent) return;
    here[note % window] = true;
    while (passed_on < pieces && here[passed_on % window]) {
      here[passed_on % window] = false;
      pass_on();
    }
    expect();
  });
}

}  // namespace rondel::detail
