#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace rondel {

/// Which way blocks go round the ring.
enum class ring_direction : std::uint8_t {
  /// From rank `r` to rank `r + 1`.
  forward,
  /// From rank `r` to rank `r - 1`.
  backward,
};

/// How `ring_pass` goes.
struct ring_pass_options {
  /// Which way.
  ring_direction direction = ring_direction::forward;
  /// Whether each block is passed once more at the end, back to its owner.
  bool return_home = false;
};

namespace detail {

// Keeps the buffers that `link` moves from being freed in the order of `compute` before `link` is
// done with them, when an exception leaves in between.
template <stream S>
class stream_join {
 public:
  stream_join(S& compute, S& link, typename S::event_type& done) noexcept
      : compute_(compute), link_(link), done_(done), exceptions_(std::uncaught_exceptions()) {}
  stream_join(const stream_join&) = delete;
  stream_join& operator=(const stream_join&) = delete;
  ~stream_join() {
    if (std::uncaught_exceptions() == exceptions_) return;
    try {
      link_.record(done_);
      compute_.wait(done_);
    } catch (...) {
      try {
        link_.synchronize();
      } catch (...) {
        // A failed stream moves nothing any more.
      }
    }
  }

 private:
  S& compute_;
  S& link_;
  typename S::event_type& done_;
  int exceptions_;
};

}  // namespace detail

/// Shows every rank's block to every rank, one per step: the next block travels while the user
/// works on this one.
///
/// `buffers[0]` holds this rank's block at the call; block `i` has `blocks.size(i)` elements,
/// and both buffers have room for the largest. In step `s` of `0 ... N-1` it calls
/// `use(block, owner, s)`, which launches work that reads `block`, the block of rank `owner`,
/// on `compute`; meanwhile `link` sends that block on and receives the next into the other
/// buffer. `owner` is `rank - s` forward, `rank + s` backward (mod N). Events order the two
/// streams; the host does not wait. With `compute` and `link` the same stream nothing overlaps,
/// nor on immediate streams. When it returns, `compute` is behind all that `link` does.
///
/// Returns the part of a buffer that holds the block which came last: of the last owner, or, if
/// `return_home`, this rank's own. A rank sends `N-1` blocks, or `N`; every block but the last
/// to come, or every one. Holds nothing beside the two buffers.
/// Throws `invalid_argument` for buffers that are too small or overlap, `peer_failed`,
/// `timed_out`, `mismatched_operation` for a block of another size than told, and what `use`
/// throws; `compute` is behind all that `link` does then too.
/// Source: Li et al., Sequence Parallelism (RSA), section 3.2; Liu et al., Ring Attention,
/// section 3.
template <communicator C, class T, block_sizes Blocks, class Use>
requires std::is_trivially_copyable_v<T> && std::invocable < Use&, device_span<const T>,
int, int > device_span<T> ring_pass_v(C& comm, stream_of<C>& compute, stream_of<C>& link,
                                      std::array<device_span<T>, 2> buffers, const Blocks& blocks,
                                      Use&& use, ring_pass_options options = {}) {
  const int size = comm.size();
  const int rank = comm.rank();
  detail::check_blocks("ring_pass", blocks, size);
  const std::size_t largest = largest_block(blocks);
  for (const auto& buffer : buffers) {
    if (buffer.size() < largest) {
      throw invalid_argument(concat("ring_pass: a buffer has ", buffer.size(),
                                    " elements, the largest block ", largest));
    }
  }
  detail::check_overlap<T>("ring_pass", buffers[0], buffers[1], nullptr);
  const int way = options.direction == ring_direction::forward ? 1 : -1;
  const int passes = options.return_home && size > 1 ? size : size - 1;
  const auto owner = [&](int step) { return detail::ring_rank(rank, -way * (step % size), size); };
  const auto held = [&](int step) {
    return buffers[static_cast<std::size_t>(step % 2)].first(blocks.size(owner(step)));
  };
  auto arrived = comm.device().make_event();
  auto used = comm.device().make_event();
  const detail::stream_join<stream_of<C>> join(compute, link, arrived);
  compute.record(used);
  for (int step = 0; step < size; ++step) {
    if (step < passes) {
      // The buffer that the next block comes into was read in the step before this.
      link.wait(used);
      const operation_scope scope(comm, link, {.kind = operation_kind::ring_pass});
      auto batch = comm.batch(link);
      batch.send(detail::ring_rank(rank, way, size), as_bytes(held(step)));
      batch.recv(detail::ring_rank(rank, -way, size), as_writable_bytes(held(step + 1)));
      batch.submit();
    }
    use(device_span<const T>(held(step)), owner(step), step);
    compute.record(used);
    if (step < passes) {
      link.record(arrived);
      compute.wait(arrived);
    }
  }
  return held(passes);
}

/// `ring_pass_v` with blocks of one size, that of `buffers[0]`; `buffers[1]` has as many.
template <communicator C, class T, class Use>
device_span<T> ring_pass(C& comm, stream_of<C>& compute, stream_of<C>& link,
                         std::array<device_span<T>, 2> buffers, Use&& use,
                         ring_pass_options options = {}) {
  return ring_pass_v(comm, compute, link, buffers, even_blocks(buffers[0].size(), comm.size()),
                     std::forward<Use>(use), options);
}

}  // namespace rondel
