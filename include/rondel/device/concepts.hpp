#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/work.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rondel {

/// What a device holds and has held, in bytes.
///
/// Memory counts from the call that allocates it to the call that frees it, as issued. That is
/// what a stream-ordered pool needs, and the same on every engine and in every run.
struct memory_usage {
  /// Bytes allocated now.
  std::uint64_t live = 0;
  /// The most bytes that were ever live at once.
  std::uint64_t peak = 0;
  /// The most bytes that may be live at once.
  std::uint64_t limit = UINT64_MAX;
  /// How many allocations were made.
  std::uint64_t allocations = 0;
};

namespace detail {

// Stands for any kernel: host engines call it with nothing, CUDA with its stream.
struct any_kernel {
  void operator()() const {}
  void operator()(auto&&) const {}
};

}  // namespace detail

/// A point in a stream that others can wait for; the meaning is that of a CUDA event.
///
/// `stream.record(e)` sets the point, again and again if wished; a wait refers to the newest
/// record that was issued before it. An event that was never recorded has passed.
/// - `e.ready()`: whether the point has passed; never blocks.
/// - `e.synchronize()`: blocks the host until it has. Throws what the stream failed with.
template <class E>
concept event = std::movable<E> && requires(const E& e) {
  { e.ready() } -> std::same_as<bool>;
  { e.synchronize() } -> std::same_as<void>;
};

// The formatter tears `noexcept ->` from its expression.
// clang-format off
/// An owner of device memory, freed in stream order when it dies.
///
/// - `b.data()`: the first byte, aligned to 64 (AVX-512, and a cache line); null if empty.
/// - `b.size()`: bytes asked for. A buffer that was moved from is empty.
template <class B>
concept buffer = std::movable<B> && requires(const B& b) {
  { b.data() } noexcept -> std::same_as<void*>;
  { b.size() } noexcept -> std::same_as<std::size_t>;
};
// clang-format on

/// An ordered queue of work on a device; the meaning is that of a CUDA stream.
///
/// Work of one stream runs in the order of its calls; work of different streams in any order,
/// save for events. A call returns once the work is queued, which an immediate host stream
/// does by running it. Whoever drives a stream is one thread at a time.
/// - `s.launch(w, f)`: queues a kernel. A host stream runs `f()`; a CUDA stream calls
///   `f(cudaStream_t)` at once, which enqueues; a simulated one never calls it. All memory that
///   `f` uses must live until the stream has passed.
/// - `s.copy(to, from)`: device to device. `s.upload(to, from)`: host to device.
///   `s.download(to, from)`: device to host; `to` may be read after a synchronisation.
///   Sizes must be equal, else `invalid_argument`.
/// - `s.record(e)`, `s.wait(e)`: see `event`. The host does not block.
/// - `s.idle()`: whether all queued work is done; never blocks.
/// - `s.synchronize()`: blocks the host until it is.
///
/// Work that throws makes the stream fail: the rest of its work is skipped, and the exception
/// comes out of `synchronize`, or of the next call if that is earlier. Streams that wait for an
/// event of a failed stream fail with it.
template <class S>
concept stream = std::movable<S> && event<typename S::event_type> &&
    requires(S& s, const S& cs, typename S::event_type& e, const typename S::event_type& ce,
             const work& w, device_span<std::byte> to, device_span<const std::byte> from,
             std::span<std::byte> host_to, std::span<const std::byte> host_from) {
  { s.launch(w, detail::any_kernel{}) } -> std::same_as<void>;
  { s.copy(to, from) } -> std::same_as<void>;
  { s.upload(to, host_from) } -> std::same_as<void>;
  { s.download(host_to, from) } -> std::same_as<void>;
  { s.record(e) } -> std::same_as<void>;
  { s.wait(ce) } -> std::same_as<void>;
  { cs.idle() } -> std::same_as<bool>;
  { s.synchronize() } -> std::same_as<void>;
};

// The formatter tears `noexcept ->` from its expression.
// clang-format off
/// Where memory lives and work runs. One rank has one.
///
/// - `d.make_stream(name)`: a stream; `name` is its lane in timelines.
/// - `d.make_event()`: an event that was never recorded.
/// - `d.allocate(s, bytes)`: memory that `s`, and whoever waits for `s`, may use from here on.
///   Its death frees it in the order of the same stream `s`. Other streams that used it must
///   have been waited for by `s`. Throws `out_of_memory`; zero bytes give an empty buffer.
/// - `d.memory()`: what is and was allocated.
/// - `d.rank()`: the owner's rank in its world, -1 where it has none.
template <class D>
concept device = stream<typename D::stream_type> && buffer<typename D::buffer_type> &&
    std::same_as<typename D::event_type, typename D::stream_type::event_type> &&
    requires(D& d, const D& cd, typename D::stream_type& s, std::size_t bytes, const char* name) {
  { d.make_stream(name) } -> std::same_as<typename D::stream_type>;
  { d.make_event() } -> std::same_as<typename D::event_type>;
  { d.allocate(s, bytes) } -> std::same_as<typename D::buffer_type>;
  { cd.memory() } -> std::same_as<memory_usage>;
  { cd.rank() } noexcept -> std::same_as<int>;
};
// clang-format on

/// Whether the streams of `D` call what is launched on them. They do, unless `D` has a member
/// `runs_kernels` that says no.
template <class D>
inline constexpr bool runs_kernels = [] {
  if constexpr (requires { D::runs_kernels; }) {
    return D::runs_kernels;
  } else {
    return true;
  }
}();

/// The kernels that rondel's own primitives need on device `D`: a specialisation per device.
///
/// Each member is static and enqueues on the stream it is given; see `kernels<host_device>` in
/// `rondel/device/host_kernels.hpp` for the list and the meanings.
template <class D>
struct kernels;

}  // namespace rondel
