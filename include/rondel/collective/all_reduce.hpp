#pragma once
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/core/reduction.hpp>

#include <type_traits>

namespace rondel {

/// Reduces all ranks' `in` into `out` of every rank; `out[i] = in_0[i] op in_1[i] op ...`.
///
/// `in` and `out` have the same size on all ranks; any size, zero included. In place if they
/// are the same memory. A rank sends and receives `2 S (N-1)/N` bytes, `S` the bytes of `in`,
/// where N divides the elements. The generic form is a ring reduce_scatter over balanced
/// blocks, then a ring all_gather, and holds two blocks of `S/N`, N-1 with `in_rank_order`.
/// Throws `invalid_argument` for sizes or an overlap other than these, `out_of_memory`,
/// `peer_failed`, `timed_out`, `mismatched_operation`.
template <communicator C, element T, reduction<T> Op = sum>
void all_reduce(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                device_span<T> out, const Op& op = {}) {
  detail::check_size("all_reduce", "output", out.size(), in.size());
  detail::check_overlap("all_reduce", in, out, in.data());
  const operation_scope scope(comm, stream,
                              {.kind = operation_kind::all_reduce,
                               .type = dtype_of<T>,
                               .reduction = detail::reduction_name(op),
                               .in_rank_order = detail::is_ordered<Op>,
                               .count = in.size()});
  if constexpr (has_all_reduce<C, T, Op>) {
    comm.all_reduce(stream, in, out, op);
  } else {
    const balanced_blocks blocks(in.size(), comm.size());
    const auto own = out.subspan(blocks.offset(comm.rank()), blocks.size(comm.rank()));
    detail::generic_reduce_scatter(comm, stream, in, own, blocks, op);
    detail::ring_all_gather(comm, stream, out, blocks);
  }
}

/// `all_reduce` in place.
template <communicator C, element T, reduction<T> Op = sum>
void all_reduce(C& comm, stream_of<C>& stream, device_span<T> x, const Op& op = {}) {
  all_reduce(comm, stream, device_span<const T>(x), x, op);
}

}  // namespace rondel
