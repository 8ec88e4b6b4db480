#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

namespace rondel {

/// Lets `stream` pass only when all ranks' streams have come this far. Moves no payload.
///
/// The generic form sends empty messages to the ranks 1, 2, 4, ... further, log2(N) rounds.
/// Throws `peer_failed`, `timed_out`, `mismatched_operation`.
template <communicator C>
void barrier(C& comm, stream_of<C>& stream) {
  const operation_scope scope(comm, stream, {.kind = operation_kind::barrier});
  if constexpr (has_barrier<C>) {
    comm.barrier(stream);
  } else {
    for (int distance = 1; distance < comm.size(); distance *= 2) {
      auto batch = comm.batch(stream);
      batch.send(detail::ring_rank(comm.rank(), distance, comm.size()), {});
      batch.recv(detail::ring_rank(comm.rank(), -distance, comm.size()), {});
      batch.submit();
    }
  }
}

}  // namespace rondel
