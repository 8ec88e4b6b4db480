#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

#include <type_traits>

namespace rondel {

/// Copies block `j` of `in` of rank `i` to block `i` of `out` of rank `j`: a transpose.
///
/// `in` has `in_blocks.total()` elements and `out` has `out_blocks.total()`; any sizes, zero
/// included, but what rank `i` sends to `j` must be what `j` expects from `i`, and either all
/// ranks or none have uneven blocks. Not in place. A
/// rank sends all of `in` but its own block. The generic form is one batch and holds nothing.
/// Throws `invalid_argument` for sizes or an overlap other than these, `peer_failed`,
/// `timed_out`, `mismatched_operation`.
template <communicator C, element T, block_sizes Blocks>
void all_to_all_v(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                  const Blocks& in_blocks, device_span<T> out, const Blocks& out_blocks) {
  const int size = comm.size();
  const int rank = comm.rank();
  detail::check_blocks("all_to_all", in_blocks, size);
  detail::check_blocks("all_to_all", out_blocks, size);
  detail::check_size("all_to_all", "input", in.size(), in_blocks.total());
  detail::check_size("all_to_all", "output", out.size(), out_blocks.total());
  detail::check_size("all_to_all", "the rank's block of the output", out_blocks.size(rank),
                     in_blocks.size(rank));
  detail::check_overlap<T>("all_to_all", in, out, nullptr);
  // Uneven sizes differ between the ranks by nature, so only even ones can be compared.
  const bool even = in_blocks.layout() == 0;
  const operation_scope scope(comm, stream,
                              {.kind = operation_kind::all_to_all,
                               .type = dtype_of<T>,
                               .count = even ? in_blocks.total() : 0,
                               .layout = even ? 0U : 1U});
  if constexpr (has_all_to_all<C, T, Blocks>) {
    comm.all_to_all(stream, in, in_blocks, out, out_blocks);
  } else {
    const auto from = [&](int r) { return in.subspan(in_blocks.offset(r), in_blocks.size(r)); };
    const auto to = [&](int r) { return out.subspan(out_blocks.offset(r), out_blocks.size(r)); };
    detail::copy_elements(stream, to(rank), from(rank));
    auto batch = comm.batch(stream);
    for (int step = 1; step < size; ++step) {
      const int next = detail::ring_rank(rank, step, size);
      const int previous = detail::ring_rank(rank, -step, size);
      batch.send(next, as_bytes(from(next)));
      batch.recv(previous, as_writable_bytes(to(previous)));
    }
    batch.submit();
  }
}

/// `all_to_all_v` with blocks of one size. `in` and `out` have the same number of elements, a
/// multiple of N.
template <communicator C, element T>
void all_to_all(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
                device_span<T> out) {
  const even_blocks blocks(detail::even_size("all_to_all", "input", in.size(), comm.size()),
                           comm.size());
  all_to_all_v(comm, stream, in, blocks, out, blocks);
}

}  // namespace rondel
