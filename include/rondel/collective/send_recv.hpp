#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

#include <type_traits>

namespace rondel {

/// Sends `out` to rank `to`, which must receive as many bytes.
///
/// Moves `out.size_bytes()`. On an immediate stream it blocks until the receiver has them: two
/// ranks that both send first wait for each other until the deadline; `send_recv` does not.
/// Throws `invalid_argument` for a peer that does not exist, `peer_failed`, `timed_out`.
template <communicator C, class T>
void send(C& comm, stream_of<C>& stream, device_span<T> out, int to) {
  detail::check_rank("send", "receiver", to, comm.size());
  const operation_scope scope(comm, stream, {.kind = operation_kind::send_recv});
  auto batch = comm.batch(stream);
  batch.send(to, as_bytes(out));
  batch.submit();
}

/// Receives `in` from rank `from`. The counterpart of `send`; throws as it does, and
/// `mismatched_operation` if the sender sends another number of bytes.
template <communicator C, class T>
void recv(C& comm, stream_of<C>& stream, device_span<T> in, int from) {
  detail::check_rank("recv", "sender", from, comm.size());
  const operation_scope scope(comm, stream, {.kind = operation_kind::send_recv});
  auto batch = comm.batch(stream);
  batch.recv(from, as_writable_bytes(in));
  batch.submit();
}

/// Sends `out` to rank `to` while it receives `in` from rank `from`. The sizes may differ, and
/// be zero; the buffers must be apart. Throws as `send` and `recv` do, and `invalid_argument`
/// for buffers that overlap.
template <communicator C, class T>
void send_recv(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> out,
               int to, device_span<T> in, int from) {
  detail::check_rank("send_recv", "receiver", to, comm.size());
  detail::check_rank("send_recv", "sender", from, comm.size());
  detail::check_overlap<T>("send_recv", out, in, nullptr);
  const operation_scope scope(comm, stream, {.kind = operation_kind::send_recv});
  auto batch = comm.batch(stream);
  batch.send(to, as_bytes(out));
  batch.recv(from, as_writable_bytes(in));
  batch.submit();
}

}  // namespace rondel
