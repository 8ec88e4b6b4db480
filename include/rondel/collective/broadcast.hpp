#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

namespace rondel {

/// Copies `x` of rank `root` to `x` of all ranks; sizes are equal, any size.
///
/// Moves `S (N-1)` bytes in all, `S` the bytes of `x`. The generic form is a binomial tree:
/// log2(N) rounds, a rank receives once and sends to at most log2(N) ranks.
/// Throws `invalid_argument` for a root that does not exist, `peer_failed`, `timed_out`,
/// `mismatched_operation`.
template <communicator C, element T>
void broadcast(C& comm, stream_of<C>& stream, device_span<T> x, int root) {
  const int size = comm.size();
  detail::check_rank("broadcast", "root", root, size);
  const operation_scope scope(
      comm, stream,
      {.kind = operation_kind::broadcast, .type = dtype_of<T>, .root = root, .count = x.size()});
  if constexpr (has_broadcast<C, T>) {
    comm.broadcast(stream, x, root);
  } else {
    // Ranks counted from the root: `place` receives from `place` less its lowest bit, and
    // sends to `place` plus each lower one.
    const int place = detail::ring_rank(comm.rank(), -root, size);
    int bit = 1;
    while (bit < size && (place & bit) == 0) bit *= 2;
    if (place != 0) {
      auto batch = comm.batch(stream);
      batch.recv(detail::ring_rank(place - bit, root, size), as_writable_bytes(x));
      batch.submit();
    }
    auto batch = comm.batch(stream);
    for (bit /= 2; bit > 0; bit /= 2) {
      if (place + bit < size) {
        batch.send(detail::ring_rank(place + bit, root, size), as_bytes(x));
      }
    }
    batch.submit();
  }
}

}  // namespace rondel
