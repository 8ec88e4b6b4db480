#pragma once
#include <rondel/comm/block_view.hpp>
#include <rondel/comm/mpi_collectives.hpp>
#include <rondel/comm/mpi_group.hpp>
#include <rondel/comm/stream_copy.hpp>
#include <rondel/device/host_kernels.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rondel::detail {

// Bytes of the pieces in which inputs travel to who reduces them.
inline constexpr std::size_t mpi_piece_bytes = std::size_t{256} << 10;

// A reduce_scatter, and with `gather` the all_gather of its results behind it: an all_reduce.
//
// Each rank gets the others' pieces of its own block, and reduces them in the order of the ranks
// when all of a piece are there, so every result has the same bits as on any other engine. Two
// pieces of N-1 ranks are held. With `gather`, a piece goes to all others as soon as it is
// reduced; it may come into memory that still lends an input to the same rank, so it is expected
// only when that input is through.
template <class T, class Op>
class mpi_reduction {
 public:
  // `out` is the block of this rank, or with `gather` the whole result.
  mpi_reduction(const mpi_run& run, const T* in, T* out, const block_view& blocks, const Op& op,
                bool gather)
      : run_(run),
        in_(in),
        out_(out),
        own_out_(gather ? out + blocks.offset(run.rank()) : out),
        blocks_(blocks),
        op_(op),
        gather_(gather),
        piece_(
            std::max<std::size_t>(1, std::min(mpi_piece_bytes, run.message_limit()) / sizeof(T))),
        own_pieces_(pieces(run.rank())),
        peers_(static_cast<std::size_t>(run.size())) {}

  void finish() {
    const auto others = static_cast<std::size_t>(run_.size() - 1);
    const std::size_t held = std::min(piece_, blocks_.size(run_.rank()));
    place_bytes_ = (held * sizeof(T) + 63) / 64 * 64;
    scratch_ = run_.scratch(place_bytes_ * others * places);
    if (others == 0) {
      for (std::size_t k = 0; k < own_pieces_; ++k) reduce();
    }
    advance();
    run_.transfer().finish([this](std::uint64_t note) {
      through(note);
      advance();
    });
  }

 private:
  static constexpr std::size_t places = 2;  // pieces of the own block that may come in
  static constexpr std::size_t window = 4;  // pieces under way to a peer, and from it

  // What a note says of a message: 2 bits of what it is, 22 of the peer, 40 of the piece.
  enum what : std::uint64_t { input_in, input_out, result_in, result_out };
  [[nodiscard]] static std::uint64_t note(what w, int peer, std::size_t k) noexcept {
    return w << 62 | static_cast<std::uint64_t>(peer) << 40 | k;
  }

  // How far the pieces to and from one peer are.
  struct progress {
    std::size_t sent = 0;      // inputs for the peer's block, started
    std::size_t lent = 0;      // of those, up to here all are through
    std::uint32_t early = 0;   // of the next ones, those that are through
    std::size_t expected = 0;  // results of the peer's block
    std::size_t received = 0;
  };

  [[nodiscard]] std::size_t pieces(int r) const { return (blocks_.size(r) + piece_ - 1) / piece_; }
  [[nodiscard]] std::size_t elements(int r, std::size_t k) const {
    return std::min(piece_, blocks_.size(r) - k * piece_);
  }
  [[nodiscard]] std::byte* place(int peer, std::size_t k) const noexcept {
    const int i = peer < run_.rank() ? peer : peer - 1;
    return scratch_ + (static_cast<std::size_t>(i) * places + k % places) * place_bytes_;
  }

  // Starts what may be started.
  void advance() {
    const int me = run_.rank();
    for (; expected_ < own_pieces_ && expected_ < reduced_ + places; ++expected_) {
      for (int i = 1; i < run_.size(); ++i) {
        const int r = run_.at(-i);
        run_.recv(r, place(r, expected_), elements(me, expected_) * sizeof(T),
                  note(input_in, r, expected_));
      }
    }
    for (int i = 1; i < run_.size(); ++i) {
      const int r = run_.at(i);
      progress& p = peers_[static_cast<std::size_t>(r)];
      const std::size_t all = pieces(r);
      for (; p.sent < all && p.sent < p.lent + window; ++p.sent) {
        run_.send(r, in_ + blocks_.offset(r) + p.sent * piece_, elements(r, p.sent) * sizeof(T),
                  note(input_out, r, p.sent));
      }
      for (; gather_ && p.expected < p.lent && p.expected < p.received + window; ++p.expected) {
        run_.recv_result(r, out_ + blocks_.offset(r) + p.expected * piece_,
                         elements(r, p.expected) * sizeof(T), note(result_in, r, p.expected));
      }
    }
  }

  void through(std::uint64_t n) {
    const auto k = static_cast<std::size_t>(n & 0xff'ffff'ffffU);
    progress& p = peers_[n >> 40 & 0x3f'ffffU];
    switch (static_cast<what>(n >> 62)) {
      case input_in:
        ++arrived_[k % places];
        while (reduced_ < expected_ && arrived_[reduced_ % places] == run_.size() - 1) reduce();
        return;
      case input_out:
        p.early |= 1U << (k - p.lent);
        for (; (p.early & 1U) != 0; p.early >>= 1U) ++p.lent;
        return;
      case result_in:
        ++p.received;
        return;
      case result_out:
        return;
    }
  }

  // Reduces the next piece of the own block, which is here.
  void reduce() {
    const int me = run_.rank();
    const std::size_t k = reduced_;
    const std::size_t count = elements(me, k);
    T* const to = own_out_ + k * piece_;
    const T* const own = in_ + blocks_.offset(me) + k * piece_;
    reduce_in_order<T>(
        0, count, run_.size(), op_,
        [&](int r) { return r == me ? own : reinterpret_cast<const T*>(place(r, k)); },
        [&](std::size_t at, const T* block, std::size_t size) {
          copy_bytes(to + at, block, size * sizeof(T), false);
        });
    arrived_[k % places] = 0;
    ++reduced_;
    for (int i = 1; gather_ && i < run_.size(); ++i) {
      run_.send_result(run_.at(i), to, count * sizeof(T), note(result_out, run_.at(i), k));
    }
  }

  mpi_run run_;
  const T* in_;
  T* out_;
  T* own_out_;
  block_view blocks_;
  Op op_;
  bool gather_;
  std::size_t piece_;  // elements
  std::size_t own_pieces_;
  std::size_t expected_ = 0, reduced_ = 0;  // pieces of the own block
  std::array<int, places> arrived_{};       // peers whose piece of a place is here
  std::vector<progress> peers_;
  std::byte* scratch_ = nullptr;
  std::size_t place_bytes_ = 0;
};

template <class T, class Op>
void mpi_reduce_scatter(const mpi_run& run, const T* in, T* out, const block_view& blocks,
                        const Op& op) {
  mpi_reduction<T, Op>(run, in, out, blocks, op, false).finish();
}

template <class T, class Op>
void mpi_all_reduce(const mpi_run& run, const T* in, T* out, std::size_t count, const Op& op) {
  const auto ranks = static_cast<std::size_t>(run.size());
  if (count > mpi_whole_bytes / sizeof(T) / ranks) {
    const balanced_blocks blocks(count, run.size());
    mpi_reduction<T, Op>(run, in, out, block_view(blocks), op, true).finish();
    return;
  }
  const std::byte* const all = mpi_gather_whole(run, in, count * sizeof(T));
  reduce_in_order<T>(
      0, count, run.size(), op,
      [&](int r) { return reinterpret_cast<const T*>(all) + whole_place(run, r) * count; },
      [&](std::size_t at, const T* block, std::size_t size) {
        copy_bytes(out + at, block, size * sizeof(T), false);
      });
}

}  // namespace rondel::detail
