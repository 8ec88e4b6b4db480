#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/pending_call.hpp>
#include <rondel/comm/stream_copy.hpp>
#include <rondel/comm/thread_batch.hpp>
#include <rondel/comm/thread_endpoint.hpp>
#include <rondel/comm/thread_group.hpp>
#include <rondel/comm/thread_member.hpp>
#include <rondel/core/error.hpp>
#include <rondel/device/host_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// Ranks that are threads of one process. See the concept `communicator`.
///
/// Collectives read the peers' memory directly: each rank reduces or copies its share, which in
/// shared memory beats every ring. Holds no device memory. Per rank and call it moves, in each
/// direction, what a bandwidth-optimal algorithm moves: `S (N-1)/N` for reduce_scatter and
/// all_gather, twice that for all_reduce. Inputs of up to 4 KiB are copied for the peers to read,
/// which saves a wait; an all_reduce of up to 2 KiB then reads all ranks' input. Reductions go in
/// the order of the ranks always, with or without `in_rank_order`. Mismatched collectives throw
/// `mismatched_operation` on every rank; a collective against a split or an `exchange_host` of
/// another rank meets nobody, and ends at the deadline. On a device that runs no kernels it moves
/// and waits for nothing. An operation that its stream cannot run any more, because the stream has
/// failed, fails the world. A communicator that an exception destroys is left without words:
/// whoever handles the exception says them by `abort`, as `run` does, or the peers learn only that
/// it is gone.
template <device Device>
class thread_communicator : public thread_endpoint {
 public:
  /// Device type.
  using device_type = Device;
  /// Batch type.
  using batch_type = thread_batch<Device>;
  /// Stream type.
  using stream_type = typename Device::stream_type;

  /// Rank `rank` of `group`, with memory of `device`, which must outlive it. Made by `run`, or
  /// by `make_thread_group` for threads of the user's own.
  thread_communicator(std::shared_ptr<detail::thread_group> group, int rank, Device& device,
                      seconds timeout)
      : thread_endpoint(std::move(group), rank, timeout), device_(&device) {}

  /// Whose memory travels.
  [[nodiscard]] Device& device() noexcept { return *device_; }

  /// An empty batch.
  [[nodiscard]] batch_type batch(stream_type& stream) noexcept { return {*this, stream}; }

  /// The ranks of one color. See the concept.
  [[nodiscard]] std::optional<thread_communicator> split(int color, int key) {
    auto joined = split_group(color, key);
    if (joined.group == nullptr) return std::nullopt;
    return thread_communicator(std::move(joined.group), joined.rank, *device_, timeout());
  }

  /// The same ranks once more.
  [[nodiscard]] thread_communicator duplicate() { return *split(0, rank()); }

  /// Waits for all ranks.
  void barrier(stream_type& s) {
    meeting(s, {nullptr, 0, 0}, nullptr, {}, [](const auto&) {});
  }

  /// Copies `x` of `root` to all.
  template <class T>
  void broadcast(stream_type& s, device_span<T> x, int root) {
    const bool is_root = rank() == root;
    meeting(s, detail::input_of(x.data(), is_root ? x.size() : 0, x.size()), x.data(),
            copies(is_root ? 0 : x.size_bytes()), [=, me = rank()](const auto& peers) {
              if (me != root) detail::copy_large(x.data(), peers(root).in, x.size());
            });
  }

  /// Copies all ranks' `in` to `out` of `root`.
  template <class T, block_sizes Blocks>
  void gather(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
              int root) {
    meeting(s, detail::input_of(in.data(), in.size(), largest_block(blocks)), out.data(),
            copies(rank() == root ? out.size_bytes() : 0), [=, me = rank()](const auto& peers) {
              if (me != root) return;
              for (int r = 0; r < blocks.ranks(); ++r) {
                detail::copy_large(out.data() + blocks.offset(r), peers(r).in, blocks.size(r));
              }
            });
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`.
  template <class T, block_sizes Blocks>
  void scatter(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
               int root) {
    meeting(s, detail::input_of(in.data(), rank() == root ? in.size() : 0, blocks.total()),
            out.data(), copies(out.size_bytes()), [=, me = rank()](const auto& peers) {
              detail::copy_large(out.data(),
                                 static_cast<const T*>(peers(root).in) + blocks.offset(me),
                                 blocks.size(me));
            });
  }

  /// Copies all ranks' `in` to all ranks' `out`.
  template <class T, block_sizes Blocks>
  void all_gather(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks) {
    meeting(s, detail::input_of(in.data(), in.size(), largest_block(blocks)), out.data(),
            copies(out.size_bytes()), [=, me = rank()](const auto& peers) {
              for (int i = 0; i < blocks.ranks(); ++i) {
                const int r = (me + i) % blocks.ranks();
                detail::copy_large(out.data() + blocks.offset(r), peers(r).in, blocks.size(r));
              }
            });
  }

  /// Reduces the ranks' block `rank()` of `in` into `out`.
  template <class T, block_sizes Blocks, class Op>
  void reduce_scatter(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
                      const Op& op) {
    const auto shown =
        detail::input_of(in.data(), in.size(), in.size()).for_peers_of(rank(), blocks, sizeof(T));
    meeting(s, shown, out.data(), reduces<T>(blocks.size(rank()), out.size_bytes()),
            [=, me = rank(), reduce = detail::base_reduction(op)](const auto& peers) {
              const std::size_t begin = blocks.offset(me);
              detail::reduce_in_order<T>(begin, begin + blocks.size(me), blocks.ranks(), reduce,
                                         detail::inputs_of<T>(peers),
                                         [&](std::size_t at, const T* block, std::size_t size) {
                                           detail::copy_bytes(out.data() + (at - begin), block,
                                                              size * sizeof(T), false);
                                         });
            });
  }

  /// Reduces the ranks' `in` into all ranks' `out`.
  template <class T, class Op>
  void all_reduce(stream_type& s, device_span<const T> in, device_span<T> out, const Op& op) {
    // Every rank reads all of a copy, and only its share of what is shown.
    const bool copied = in.size_bytes() <= detail::thread_input::copied_bytes / 2;
    const detail::thread_input shown = detail::input_of(
        in.data(), in.size(), copied ? in.size() : detail::thread_input::not_agreed);
    const auto reduce = detail::base_reduction(op);
    if (copied) {
      meeting(s, shown, out.data(), reduces<T>(in.size(), out.size_bytes()),
              [=, ranks = size()](const auto& peers) {
                detail::reduce_in_order_to<T>(out.data(), in.size(), ranks, reduce,
                                              detail::inputs_of<T>(peers));
              });
      return;
    }
    const balanced_blocks blocks(in.size(), size());
    const std::size_t own = blocks.size(rank());
    meeting(
        s, shown, out.data(), reduces<T>(own, own * sizeof(T) * static_cast<std::size_t>(size())),
        [=, me = rank()](const auto& peers) {
          const int ranks = blocks.ranks();
          const bool streaming = in.size_bytes() >= detail::streaming_threshold;
          detail::reduce_in_order<T>(blocks.offset(me), blocks.offset(me + 1), ranks, reduce,
                                     detail::inputs_of<T>(peers),
                                     [&](std::size_t at, const T* block, std::size_t count) {
                                       for (int r = 0; r < ranks; ++r) {
                                         detail::copy_bytes(static_cast<T*>(peers(r).out) + at,
                                                            block, count * sizeof(T), streaming);
                                       }
                                     });
          detail::finish_streaming(streaming);
        });
  }

  /// Copies block `r` of `in` to block `rank()` of `out` of rank `r`.
  template <class T, block_sizes Blocks>
  void all_to_all(stream_type& s, device_span<const T> in, Blocks in_blocks, device_span<T> out,
                  Blocks out_blocks) {
    // Only sizes that are even are known to be the same on all ranks.
    const detail::thread_input shown =
        detail::input_of(in.data(), in.size(),
                         in_blocks.layout() == 0 ? in.size() : detail::thread_input::not_agreed)
            .for_peers_of(rank(), in_blocks, sizeof(T));
    meeting(
        s, shown, out.data(), copies(out.size_bytes()),
        [=, me = rank(), group = member_->group.get()](const auto& peers) {
          for (int i = 0; i < out_blocks.ranks(); ++i) {
            const int r = (me + i) % out_blocks.ranks();
            // Who shows a copy does not wait here with its block sizes, which are even.
            const detail::block_view theirs =
                shown.is_copied() ? detail::block_view(in_blocks) : peers(r).blocks;
            if (theirs.size(me) != out_blocks.size(r)) {
              throw mismatched_operation(
                  concat("rank ", group->world_rank(me), " in all_to_all expects ",
                         out_blocks.size(r), " elements from rank ", group->world_rank(r),
                         ", which sends ", theirs.size(me)),
                  group->world_rank(me));
            }
            detail::copy_large(out.data() + out_blocks.offset(r),
                               static_cast<const T*>(peers(r).in) + theirs.offset(me),
                               out_blocks.size(r));
          }
        },
        in_blocks);
  }

 private:
  friend class thread_batch<Device>;

  // Queues `body(group, call)`, as one piece of work that runs when all earlier ones of this
  // communicator have, whatever streams those are on.
  template <class Body>
  void enqueue(stream_type& s, work cost, Body body) {
    cost.name = to_string(member_->current.op.kind);
    const std::uint64_t ticket = member_->tickets++;
    if (runs_in_launch(s)) {
      detail::call_in_place pending(*member_, runs_kernels<Device>);
      s.launch(cost, [&] {
        pending.run(ticket, body);
        // Nobody waits for this: later calls come from the thread that is in this one.
        member_->served.store(ticket + 1, std::memory_order_release);
      });
      return;
    }
    s.launch(cost, [queued = detail::queued_call(member_, runs_kernels<Device>), ticket,
                    run = std::move(body)]() mutable {
      queued.call.run(ticket, run);
      queued.member->served.store(ticket + 1, std::memory_order_seq_cst);
      queued.member->group->world().notify();
    });
  }

  [[nodiscard]] static bool runs_in_launch(const stream_type& s) noexcept {
    if constexpr (requires { s.mode(); }) {
      return s.mode() == stream_mode::immediate;
    } else {
      return false;
    }
  }

  // Queues a meeting of all ranks, at which this one shows `in`, `out` and `blocks`.
  template <class Move, block_sizes Blocks = even_blocks>
  void meeting(stream_type& s, const detail::thread_input& in, void* out, const work& cost,
               const Move& move, const Blocks& blocks = {0, 0}) {
    enqueue(
        s, cost,
        [=, turn = ++member_->meetings](detail::thread_group& group, detail::thread_call& call) {
          group.meet(call, turn, in, out, detail::block_view(blocks), move);
        });
  }

  void submit(stream_type& s, std::vector<detail::thread_message> sends,
              std::vector<detail::thread_message> recvs) {
    const std::size_t bytes = member_->note_messages(sends, recvs);
    enqueue(s, copies(bytes),
            [out = std::move(sends), in = std::move(recvs)](detail::thread_group& group,
                                                            detail::thread_call& call) mutable {
              group.exchange(call, out, in);
            });
  }

  Device* device_;
};

/// A group of `ranks` threads, each of which then makes its own `thread_communicator` from it.
/// For programs that start their threads themselves; `run` does it for all others.
/// Of each rank the last `flight_records` calls are kept. Throws `invalid_argument` if `ranks` is
/// less than 1.
[[nodiscard]] inline std::shared_ptr<detail::thread_group> make_thread_group(
    int ranks, std::size_t flight_records = 32) {
  if (ranks < 1) {
    throw invalid_argument(concat("a group of ", ranks, " ranks: at least 1 expected"));
  }
  std::vector<int> all(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r) all[static_cast<std::size_t>(r)] = r;
  return std::make_shared<detail::thread_group>(
      std::make_shared<detail::thread_world>(ranks, flight_records), std::move(all));
}

static_assert(communicator<thread_communicator<host_device>>);
static_assert(communicator<thread_communicator<sim_device>>);

}  // namespace rondel
