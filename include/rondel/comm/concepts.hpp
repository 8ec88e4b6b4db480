#pragma once
#include <rondel/comm/blocks.hpp>
#include <rondel/core/dtype.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/device/concepts.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace rondel {

/// Sends and receives that start together and may complete in any order.
///
/// - `b.send(peer, bytes)`, `b.recv(peer, bytes)`: adds one. Messages between two ranks match
///   in the order in which they were added; their sizes must be equal. A peer may be the rank
///   itself. Memory must live until the stream has passed.
/// - `b.submit()`: queues the batch on its stream, as one piece of work. Called once, last.
///   A batch that dies unsubmitted moves nothing.
template <class B>
concept message_batch = std::movable<B> &&
    requires(B& b, int peer, device_span<const std::byte> out, device_span<std::byte> in) {
  { b.send(peer, out) } -> std::same_as<void>;
  { b.recv(peer, in) } -> std::same_as<void>;
  { b.submit() } -> std::same_as<void>;
};

// The formatter tears `noexcept ->` from its expression.
// clang-format off
/// A group of ranks that exchange memory of their devices, in the order of streams.
///
/// Each rank holds its own object and drives it from one thread. Ranks must make the same
/// collective calls in the same order. Operations of one communicator run in the order of the
/// calls, on whatever streams. A blocking call completes, or throws `peer_failed` or
/// `timed_out`; on a worker stream that comes out of the stream.
/// - `c.rank()`, `c.size()`: this rank and how many there are.
/// - `c.device()`: whose memory travels.
/// - `c.begin(stream, operation)`, `c.end()`: bracket the messages of one operation, for
///   whoever counts, checks or names them. The functions of `collective/` call them; so does
///   who uses `batch` directly.
/// - `c.batch(stream)`: an empty batch.
/// - `c.exchange_host(mine, all)`: gathers a few host bytes of every rank on every rank, rank
///   after rank; `all.size() == size() * mine.size()`. Collective, blocks the host, passes by
///   the streams and the ledger: for set-up and reports.
/// - `c.split(color, key)`: a communicator of the ranks with the same `color`, in order of
///   (`key`, rank); none for a negative color. Collective, blocks the host.
/// - `c.duplicate()`: the same ranks, apart from this one's operations. Collective.
/// - `c.timeout()`, `c.set_timeout(t)`: how long a call may wait for its peers.
/// - `c.abort(reason)`: fails the world, so that every rank's next or present wait throws.
///
/// Copying is deleted: a second communicator is made by name.
template <class C>
concept communicator =
    std::movable<C> && !std::copyable<C> && device<typename C::device_type> &&
    message_batch<typename C::batch_type> &&
    requires(C& c, const C& k, typename C::device_type::stream_type& s, const operation& op,
             std::span<const std::byte> mine, std::span<std::byte> all, int i, seconds t,
             std::string_view reason) {
  { k.rank() } noexcept -> std::same_as<int>;
  { k.size() } noexcept -> std::same_as<int>;
  { c.device() } noexcept -> std::same_as<typename C::device_type&>;
  { c.begin(s, op) } -> std::same_as<void>;
  { c.end() } noexcept -> std::same_as<void>;
  { c.batch(s) } -> std::same_as<typename C::batch_type>;
  { c.exchange_host(mine, all) } -> std::same_as<void>;
  { c.split(i, i) } -> std::same_as<std::optional<C>>;
  { c.duplicate() } -> std::same_as<C>;
  { k.timeout() } noexcept -> std::same_as<seconds>;
  { c.set_timeout(t) } -> std::same_as<void>;
  { c.abort(reason) } noexcept -> std::same_as<void>;
};
// clang-format on

/// The stream type of a communicator. Not constrained, so that an error names the concept that
/// the function asks for.
template <class C>
using stream_of = typename C::device_type::stream_type;

/// @name Capabilities
/// What a communicator may offer beyond the base. The functions of `collective/` use what is
/// there, and else a ring or tree over `batch`. Arguments have been checked by then.
/// @{

/// `c.barrier(stream)`.
template <class C>
concept has_barrier = communicator<C> && requires(C& c, stream_of<C>& s) {
  c.barrier(s);
};

/// `c.broadcast(stream, span, root)`.
template <class C, class T>
concept has_broadcast = communicator<C> && requires(C& c, stream_of<C>& s, device_span<T> x) {
  c.broadcast(s, x, 0);
};

/// `c.gather(stream, in, out, blocks, root)`; `out` counts on the root alone.
template <class C, class T, class Blocks>
concept has_gather = communicator<C> &&
    requires(C& c, stream_of<C>& s, device_span<const T> in, device_span<T> out, const Blocks& b) {
  c.gather(s, in, out, b, 0);
};

/// `c.scatter(stream, in, out, blocks, root)`; `in` counts on the root alone.
template <class C, class T, class Blocks>
concept has_scatter = communicator<C> &&
    requires(C& c, stream_of<C>& s, device_span<const T> in, device_span<T> out, const Blocks& b) {
  c.scatter(s, in, out, b, 0);
};

/// `c.all_gather(stream, in, out, blocks)`.
template <class C, class T, class Blocks>
concept has_all_gather = communicator<C> &&
    requires(C& c, stream_of<C>& s, device_span<const T> in, device_span<T> out, const Blocks& b) {
  c.all_gather(s, in, out, b);
};

/// `c.reduce_scatter(stream, in, out, blocks, op)`.
template <class C, class T, class Blocks, class Op>
concept has_reduce_scatter = communicator<C> &&
    requires(C& c, stream_of<C>& s, device_span<const T> in, device_span<T> out, const Blocks& b,
             const Op& op) {
  c.reduce_scatter(s, in, out, b, op);
};

/// `c.all_reduce(stream, in, out, op)`.
template <class C, class T, class Op>
concept has_all_reduce = communicator<C> &&
    requires(C& c, stream_of<C>& s, device_span<const T> in, device_span<T> out, const Op& op) {
  c.all_reduce(s, in, out, op);
};

/// `c.all_to_all(stream, in, in_blocks, out, out_blocks)`.
template <class C, class T, class Blocks>
concept has_all_to_all = communicator<C> &&
    requires(C& c, stream_of<C>& s, device_span<const T> in, device_span<T> out, const Blocks& b) {
  c.all_to_all(s, in, b, out, b);
};

/// @}

}  // namespace rondel
