#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

#include <type_traits>

namespace rondel {
namespace detail {

// Passes the blocks of `out` round the ring until every rank has all; this rank's is there.
template <communicator C, class T, block_sizes Blocks>
void ring_all_gather(C& comm, stream_of<C>& stream, device_span<T> out, const Blocks& blocks) {
  const int size = comm.size();
  const int rank = comm.rank();
  const auto block = [&](int step) {
    const int r = ring_rank(rank, -step, size);
    return out.subspan(blocks.offset(r), blocks.size(r));
  };
  for (int step = 0; step + 1 < size; ++step) {
    auto batch = comm.batch(stream);
    batch.send(ring_rank(rank, 1, size), as_bytes(block(step)));
    batch.recv(ring_rank(rank, -1, size), as_writable_bytes(block(step + 1)));
    batch.submit();
  }
}

}  // namespace detail

/// Copies `in` of rank `i` to block `i` of `out` of every rank.
///
/// `in` has `blocks.size(rank())` elements and `out` has `blocks.total()`; any sizes, zero
/// included. In place if `in` is this rank's block of `out`. A rank receives `S - S_rank`
/// bytes, with even blocks `S (N-1)/N`. The generic form is a ring of N-1 steps and holds
/// nothing. Throws `invalid_argument` for sizes or an overlap other than these, `peer_failed`,
/// `timed_out`, `mismatched_operation`.
template <communicator C, element T, block_sizes Blocks>
void all_gather_v(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                  device_span<T> out, const Blocks& blocks) {
  const int rank = comm.rank();
  detail::check_blocks("all_gather", blocks, comm.size());
  detail::check_size("all_gather", "input", in.size(), blocks.size(rank));
  detail::check_size("all_gather", "output", out.size(), blocks.total());
  const auto own = out.subspan(blocks.offset(rank), in.size());
  if (own.data() != in.data()) detail::check_overlap<T>("all_gather", in, out, nullptr);
  const operation_scope scope(comm, stream,
                              {.kind = operation_kind::all_gather,
                               .type = dtype_of<T>,
                               .count = blocks.total(),
                               .layout = blocks.layout()});
  if constexpr (has_all_gather<C, T, Blocks>) {
    comm.all_gather(stream, in, out, blocks);
  } else {
    detail::copy_elements(stream, own, in);
    detail::ring_all_gather(comm, stream, out, blocks);
  }
}

/// `all_gather_v` with blocks of one size: `out` has `N` times as many elements as `in`.
template <communicator C, element T>
void all_gather(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                device_span<T> out) {
  all_gather_v(comm, stream, in, out, even_blocks(in.size(), comm.size()));
}

}  // namespace rondel
