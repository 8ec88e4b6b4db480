#pragma once
#include <rondel/comm/blocks.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/cuda_port.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/device/cuda.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace rondel {

/// Ranks that are threads of one process, each with a `cuda_device`: one GPU each, or several on
/// one. See the concept `communicator`.
///
/// Data goes straight between the memories of the GPUs, by copies and by kernels that read the
/// peers' memory. At each call the hosts of the ranks meet, and show each other addresses and
/// events; then each queues its share, behind the events of its peers, and goes on: no host waits
/// for a GPU. So a call blocks until all ranks have called it, and what a call throws comes out of
/// the call. Buffers must be of the communicator's device object. Per rank and call it moves what
/// `thread_communicator<host_device>` does, and reductions go in the order of the ranks always,
/// with the same bits. Holds no device memory, save where GPUs cannot reach each other's memory:
/// there a reduction holds this rank's share of every input until it has run.
///
/// A rank that fails takes its memory back once no stream of a peer uses it, or after `timeout()`.
/// The kernels come from `device/cuda_kernels.cuh`, which who reduces must include.
template <>
class thread_communicator<cuda_device> : public thread_endpoint {
 public:
  /// Device type.
  using device_type = cuda_device;
  /// Batch type.
  using batch_type = thread_batch<cuda_device>;
  /// Stream type.
  using stream_type = cuda_stream;

  /// Rank `rank` of `group`, with memory of `device`, which must outlive it. Throws `device_error`.
  thread_communicator(std::shared_ptr<detail::thread_group> group, int rank, cuda_device& device,
                      seconds timeout)
      : thread_endpoint(std::move(group), rank, timeout),
        device_(&device),
        port_(std::make_shared<detail::cuda_port>(device, size())) {
    member_->group->lend(rank, port_);
  }

  /// Whose memory travels.
  [[nodiscard]] cuda_device& device() noexcept { return *device_; }

  /// An empty batch.
  [[nodiscard]] batch_type batch(cuda_stream& stream) noexcept { return {*this, stream}; }

  /// The ranks of one color. See the concept.
  [[nodiscard]] std::optional<thread_communicator> split(int color, int key) {
    auto joined = split_group(color, key);
    if (joined.group == nullptr) return std::nullopt;
    return thread_communicator(std::move(joined.group), joined.rank, *device_, timeout());
  }

  /// The same ranks once more.
  [[nodiscard]] thread_communicator duplicate() { return *split(0, rank()); }

  /// Lets `s` wait for all ranks' streams.
  void barrier(cuda_stream& s) {
    meeting(s, nullptr, nullptr, {}, [](const auto&, const call_part&) {});
  }

  /// Copies `x` of `root` to all.
  template <class T>
  void broadcast(cuda_stream& s, device_span<T> x, int root) {
    const bool is_root = rank() == root;
    meeting(s, x.data(), x.data(), copies(is_root ? 0 : x.size_bytes()),
            [&](const auto& peers, const call_part& part) {
              if (!is_root) fetch(part, x.data(), peers(root).in, x.size(), root);
            });
  }

  /// Copies all ranks' `in` to `out` of `root`.
  template <class T, block_sizes Blocks>
  void gather(cuda_stream& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
              int root) {
    const bool is_root = rank() == root;
    meeting(s, in.data(), out.data(), copies(is_root ? out.size_bytes() : 0),
            [&](const auto& peers, const call_part& part) {
              for (int r = 0; is_root && r < size(); ++r) {
                fetch(part, out.data() + blocks.offset(r), peers(r).in, blocks.size(r), r);
              }
            });
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`.
  template <class T, block_sizes Blocks>
  void scatter(cuda_stream& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
               int root) {
    meeting(s, in.data(), out.data(), copies(out.size_bytes()),
            [&](const auto& peers, const call_part& part) {
              fetch(part, out.data(), static_cast<const T*>(peers(root).in) + blocks.offset(rank()),
                    blocks.size(rank()), root);
            });
  }

  /// Copies all ranks' `in` to all ranks' `out`.
  template <class T, block_sizes Blocks>
  void all_gather(cuda_stream& s, device_span<const T> in, device_span<T> out,
                  const Blocks& blocks) {
    meeting(s, in.data(), out.data(), copies(out.size_bytes()),
            [&](const auto& peers, const call_part& part) {
              for (int i = 0; i < size(); ++i) {
                const int r = (rank() + i) % size();
                fetch(part, out.data() + blocks.offset(r), peers(r).in, blocks.size(r), r);
              }
            });
  }

  /// Reduces the ranks' block `rank()` of `in` into `out`.
  template <class T, block_sizes Blocks, class Op>
  void reduce_scatter(cuda_stream& s, device_span<const T> in, device_span<T> out,
                      const Blocks& blocks, const Op& op) {
    meeting(s, in.data(), out.data(), reduces<T>(blocks.size(rank()), out.size_bytes()),
            [&](const auto& peers, const call_part& part) {
              reduce_share<T>(part, {out}, peers, blocks.offset(rank()), out.size(), op);
            });
  }

  /// Reduces the ranks' `in` into all ranks' `out`.
  template <class T, class Op>
  void all_reduce(cuda_stream& s, device_span<const T> in, device_span<T> out, const Op& op) {
    const balanced_blocks blocks(in.size(), size());
    const std::size_t begin = blocks.offset(rank());
    const std::size_t count = blocks.size(rank());
    meeting(s, in.data(), out.data(),
            reduces<T>(count, count * sizeof(T) * static_cast<std::size_t>(size())),
            [&](const auto& peers, const call_part& part) {
              // Written by the kernel that reduces, where that can reach them, and else copied.
              const auto own = out.subspan(begin, count);
              std::vector<device_span<T>> outs{own};
              std::vector<int> unreached;
              for (int r = 0; r < size(); ++r) {
                if (r == rank()) continue;
                if (port(r).open_to(port_->ordinal())) {
                  outs.push_back({static_cast<T*>(peers(r).out) + begin, count});
                } else {
                  unreached.push_back(r);
                }
              }
              reduce_share<T>(part, std::move(outs), peers, begin, count, op);
              for (const int r : unreached) {
                copy_between(part, static_cast<T*>(peers(r).out) + begin, port(r).ordinal(),
                             own.data(), port_->ordinal(), own.size_bytes());
              }
            });
  }

  /// Copies block `r` of `in` to block `rank()` of `out` of rank `r`.
  template <class T, block_sizes Blocks>
  void all_to_all(cuda_stream& s, device_span<const T> in, const Blocks& in_blocks,
                  device_span<T> out, const Blocks& out_blocks) {
    meeting(
        s, in.data(), out.data(), copies(out.size_bytes()),
        [&](const auto& peers, const call_part& part) {
          for (int i = 0; i < size(); ++i) {
            const int r = (rank() + i) % size();
            const detail::block_view& theirs = peers(r).blocks;
            if (theirs.size(rank()) != out_blocks.size(r)) {
              const detail::thread_group& group = *member_->group;
              throw mismatched_operation(
                  concat("rank ", group.world_rank(rank()), " in all_to_all expects ",
                         out_blocks.size(r), " elements from rank ", group.world_rank(r),
                         ", which sends ", theirs.size(rank())),
                  group.world_rank(rank()));
            }
            fetch(part, out.data() + out_blocks.offset(r),
                  static_cast<const T*>(peers(r).in) + theirs.offset(rank()), out_blocks.size(r),
                  r);
          }
        },
        in_blocks);
  }

 private:
  friend class thread_batch<cuda_device>;

  // The launch that a call is: its stream, and that stream's handle.
  struct call_part {
    cuda_stream& owner;
    cudaStream_t stream;
  };

  // The kernels, which need not be declared before somebody reduces.
  template <class T>
  using kernels_for = kernels<std::conditional_t<sizeof(T) != 0, cuda_device, void>>;

  [[nodiscard]] detail::cuda_port& port(int r) const noexcept {
    return detail::cuda_port::of(*member_->group, r);
  }

  static void copy_between(const call_part& part, void* to, int to_device, const void* from,
                           int from_device, std::size_t bytes) {
    if (bytes == 0 || to == from) return;
    if (to_device == from_device) {
      detail::check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, part.stream),
                         "cudaMemcpyAsync");
    } else {
      detail::check_cuda(cudaMemcpyPeerAsync(to, to_device, from, from_device, bytes, part.stream),
                         "cudaMemcpyPeerAsync");
    }
  }
  // Copies elements of rank `r` to this rank.
  template <class T>
  void fetch(const call_part& part, T* to, const void* from, std::size_t count, int r) const {
    copy_between(part, to, port_->ordinal(), from, port(r).ordinal(), count * sizeof(T));
  }

  // Reduces elements [begin, begin + count) of all ranks' inputs, in rank order, into `outs`.
  template <class T, class Op, class Peers>
  void reduce_share(const call_part& part, std::vector<device_span<T>> outs, const Peers& peers,
                    std::size_t begin, std::size_t count, const Op& op) {
    if (count == 0) return;
    std::vector<device_span<const T>> in;
    std::vector<cuda_buffer> staged;  // of ranks that kernels here cannot reach
    for (int r = 0; r < size(); ++r) {
      const T* from = static_cast<const T*>(peers(r).in) + begin;
      if (!port(r).open_to(port_->ordinal())) {
        staged.push_back(device_->allocate(part.owner, count * sizeof(T)));
        auto* const here = static_cast<T*>(staged.back().data());
        fetch(part, here, from, count, r);
        from = here;
      }
      in.push_back({from, count});
    }
    const detail::cuda_launch_part on{part.stream, port_->ordinal()};
    kernels_for<T>::template reduce_to_many<T>(on, std::move(outs), std::move(in),
                                               detail::base_reduction(op));
  }

  // Runs `body(group, call, stream)` as one launch, now.
  template <class Body>
  void enqueue(cuda_stream& s, work cost, const Body& body) {
    cost.name = to_string(member_->current.op.kind);
    detail::call_in_place pending(*member_, true);
    const std::uint64_t ticket = member_->tickets++;
    const auto run = [&](cudaStream_t stream) {
      const auto queue = [&](detail::thread_group& group, detail::thread_call& call) {
        port_->begin(stream);
        body(group, call, stream);
        port_->end(stream);
      };
      try {
        pending.run(ticket, queue);
      } catch (...) {
        port_->settle(*member_->group, timeout());
        throw;
      }
      member_->served.store(ticket + 1, std::memory_order_release);
    };
    try {
      s.launch(cost, run);
    } catch (const std::exception& e) {
      // If the call has not run, these are the words that its peers get.
      member_->group->world().note_stream_failure(member_->group->world_rank(rank()), e.what());
      throw;
    }
  }

  // A meeting of all ranks, at which this one shows `in`, `out` and `blocks`, and then queues
  // `move(peers, part)`.
  template <class Move, block_sizes Blocks = even_blocks>
  void meeting(cuda_stream& s, const void* in, void* out, const work& cost, const Move& move,
               const Blocks& blocks = {0, 0}) {
    enqueue(s, cost,
            [&, turn = ++member_->meetings](detail::thread_group& group, detail::thread_call& call,
                                            cudaStream_t stream) {
              const detail::thread_input shown{in, 0};
              group.meet(call, turn, shown, out, detail::block_view(blocks),
                         [&](const auto& peers) {
                           detail::cuda_port::use use(*port_, stream, timeout());
                           for (int r = 0; r < size(); ++r) {
                             if (r != rank()) port_->await_ready(stream, group, r);
                           }
                           move(peers, call_part{s, stream});
                           use.done();
                         });
              for (int r = 0; r < size(); ++r) {
                if (r != rank()) port_->await_done(stream, group, r);
              }
            });
  }

  void submit(cuda_stream& s, std::vector<detail::thread_message> sends,
              std::vector<detail::thread_message> recvs) {
    const std::size_t bytes = member_->note_messages(sends, recvs);
    enqueue(s, copies(bytes),
            [&](detail::thread_group& group, detail::thread_call& call, cudaStream_t stream) {
              const auto carry = [&](void* to, const void* from, std::size_t size, int peer) {
                detail::cuda_port::use use(*port_, stream, timeout());
                port_->await_ready(stream, group, peer);
                copy_between({s, stream}, to, port_->ordinal(), from, port(peer).ordinal(), size);
                use.done();
              };
              group.exchange(call, sends, recvs, carry);
              for (const detail::thread_message& m : sends) {
                if (m.size != 0) port_->await_done(stream, group, m.peer);
              }
            });
  }

  cuda_device* device_;
  std::shared_ptr<detail::cuda_port> port_;
};

static_assert(communicator<thread_communicator<cuda_device>>);

/// Ranks that are threads of this process, each with a `cuda_device` of its own: an engine of
/// `run`, whose context has a `thread_communicator<cuda_device>`.
struct cuda_threads {
  /// Number of ranks.
  int ranks = 1;
  /// Number of GPUs, which ranks take in turn; 0 for all that are visible.
  int gpus = 0;
  /// Bytes that may be live on each rank's device.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// How long a call may wait for its peers.
  seconds timeout{600};
  /// Where all streams record what they run; null for nowhere. Must outlive the run.
  timeline* recorder = nullptr;
  /// How many of each rank's last calls are kept for the words of a failure; 0 for none.
  std::size_t flight_records = 32;

  /// The device of rank `rank`, for `run`.
  [[nodiscard]] friend cuda_device make_device(const cuda_threads& engine, int rank,
                                               stream_listener& listener) {
    int count = engine.gpus;
    if (count == 0) detail::check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount", -1);
    if (count < 1) throw invalid_argument(concat("cuda_threads: ", count, " GPUs"));
    return cuda_device({.ordinal = rank % count,
                        .memory_limit = engine.memory_limit,
                        .rank = rank,
                        .recorder = engine.recorder,
                        .listener = &listener});
  }
};

}  // namespace rondel
