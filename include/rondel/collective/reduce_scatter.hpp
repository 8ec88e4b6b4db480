#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/device/array.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {
namespace detail {

// The partial result of each block travels the ring and ends at its owner.
template <communicator C, class T, block_sizes Blocks, class Op>
void ring_reduce_scatter(C& comm, stream_of<C>& stream, device_span<const T> in, device_span<T> out,
                         const Blocks& blocks, const Op& op) {
  using device_type = typename C::device_type;
  const int size = comm.size();
  const int rank = comm.rank();
  const std::size_t largest = largest_block(blocks);
  device_array<T, device_type> partial(comm.device(), stream, largest);
  device_array<T, device_type> incoming(comm.device(), stream, largest);
  for (int step = 0; step + 1 < size; ++step) {
    const int sent = ring_rank(rank, -step - 1, size);
    const int got = ring_rank(rank, -step - 2, size);
    const auto own = in.subspan(blocks.offset(got), blocks.size(got));
    const auto arrived = incoming.span().first(own.size());
    const bool last = step + 2 == size;
    auto batch = comm.batch(stream);
    batch.send(ring_rank(rank, 1, size),
               as_bytes(step == 0 ? in.subspan(blocks.offset(sent), blocks.size(sent))
                                  : device_span<const T>(partial.span().first(blocks.size(sent)))));
    batch.recv(ring_rank(rank, -1, size), as_writable_bytes(arrived));
    batch.submit();
    kernels<device_type>::template reduce<T>(stream, last ? out : arrived, arrived, own, op, size,
                                             last);
    std::swap(partial, incoming);
  }
}

// All ranks' parts of a block come to its owner, who reduces them in the order of the ranks.
template <communicator C, class T, block_sizes Blocks, class Op>
void ordered_reduce_scatter(C& comm, stream_of<C>& stream, device_span<const T> in,
                            device_span<T> out, const Blocks& blocks, const Op& op) {
  using device_type = typename C::device_type;
  const int size = comm.size();
  const int rank = comm.rank();
  const auto own = in.subspan(blocks.offset(rank), blocks.size(rank));
  device_array<T, device_type> others(comm.device(), stream,
                                      own.size() * static_cast<std::size_t>(size - 1));
  std::vector<device_span<const T>> parts;
  auto batch = comm.batch(stream);
  std::size_t at = 0;
  for (int r = 0; r < size; ++r) {
    if (r == rank) {
      parts.push_back(own);
      continue;
    }
    const auto part = others.span().subspan(at, own.size());
    at += own.size();
    parts.push_back(part);
    batch.send(r, as_bytes(in.subspan(blocks.offset(r), blocks.size(r))));
    batch.recv(r, as_writable_bytes(part));
  }
  batch.submit();
  kernels<device_type>::template reduce_many<T>(stream, out, std::move(parts), op);
}

template <communicator C, class T, block_sizes Blocks, class Op>
void generic_reduce_scatter(C& comm, stream_of<C>& stream, device_span<const T> in,
                            device_span<T> out, const Blocks& blocks, const Op& op) {
  if (comm.size() == 1) {
    copy_elements(stream, out, in);
  } else if constexpr (is_ordered<Op>) {
    ordered_reduce_scatter(comm, stream, in, out, blocks, base_reduction(op));
  } else {
    ring_reduce_scatter(comm, stream, in, out, blocks, op);
  }
}

}  // namespace detail

/// Reduces block `i` of all ranks' `in` into `out` of rank `i`.
///
/// `in` has `blocks.total()` elements and `out` has `blocks.size(rank())`; any sizes, zero
/// included. In place if `out` is this rank's block of `in`; the other blocks then keep their
/// elements. A rank sends `S - S_rank` bytes, with even blocks `S (N-1)/N`. The generic form is
/// a ring of N-1 steps that holds two blocks; with `in_rank_order` one batch that holds N-1.
/// A ring keeps partial results in the element type: 16-bit floats are rounded at each step,
/// and the sum of a mean may overflow; the other forms round once, at the end.
/// Throws `invalid_argument` for sizes or an overlap other than these, `out_of_memory`,
/// `peer_failed`, `timed_out`, `mismatched_operation`.
template <communicator C, element T, block_sizes Blocks, reduction<T> Op = sum>
void reduce_scatter_v(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                      device_span<T> out, const Blocks& blocks, const Op& op = {}) {
  const int rank = comm.rank();
  detail::check_blocks("reduce_scatter", blocks, comm.size());
  detail::check_size("reduce_scatter", "input", in.size(), blocks.total());
  detail::check_size("reduce_scatter", "output", out.size(), blocks.size(rank));
  detail::check_overlap("reduce_scatter", in, out, in.data() + blocks.offset(rank));
  const operation_scope scope(comm, stream,
                              {.kind = operation_kind::reduce_scatter,
                               .type = dtype_of<T>,
                               .reduction = detail::reduction_name(op),
                               .in_rank_order = detail::is_ordered<Op>,
                               .count = blocks.total(),
                               .layout = blocks.layout()});
  if constexpr (has_reduce_scatter<C, T, Blocks, Op>) {
    comm.reduce_scatter(stream, in, out, blocks, op);
  } else {
    detail::generic_reduce_scatter(comm, stream, in, out, blocks, op);
  }
}

/// `reduce_scatter_v` with blocks of one size: `in` has `N` times as many elements as `out`.
template <communicator C, element T, reduction<T> Op = sum>
void reduce_scatter(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                    device_span<T> out, const Op& op = {}) {
  reduce_scatter_v(comm, stream, in, out, even_blocks(out.size(), comm.size()), op);
}

}  // namespace rondel
