#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/failure_channel.hpp>
#include <rondel/comm/nccl_batch.hpp>
#include <rondel/comm/nccl_check.hpp>
#include <rondel/comm/nccl_id.hpp>
#include <rondel/comm/nccl_member.hpp>
#include <rondel/comm/nccl_start.hpp>
#include <rondel/comm/nccl_world.hpp>
#include <rondel/core/error.hpp>
#include <rondel/device/cuda.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <nccl.h>

namespace rondel {

template <device Device>
class nccl_step;

namespace detail {
struct nccl_access;
}

/// Ranks with a GPU each that exchange its memory by NCCL. See the concept `communicator`.
///
/// all_reduce and reduce_scatter of `sum`, `max` and `min`, broadcast, and with blocks of one size
/// all_gather, all_to_all, gather and scatter are NCCL's own; the rest is the generic form over
/// NCCL's messages. Sums go in an order that NCCL chooses; `in_rank_order` and `mean` are the
/// generic forms. The NCCL communicator is non-blocking: every call and every wait of the host for
/// a stream looks for NCCL's errors, for ranks that failed or left, and for the deadline, which
/// starts anew when an operation ends. A call returns when NCCL has queued its operation, for which
/// the first one needs the peers. Calls of all communicators of a rank are in the same order on
/// all ranks, and one thread at a time makes them. Sizes of messages, and uneven blocks of an
/// all_to_all, are compared by nobody.
///
/// Failure belongs to the world, which is this communicator and all that were split from it. Ranks
/// learn of another one's through the channel of `nccl_options`; without one only NCCL's own error
/// or the deadline ends their waits. A rank that finds the world failed aborts all its
/// communicators, for which NCCL gets two seconds.
///
/// `close` ends a communicator by will, on all ranks. One that dies without it ends with its world;
/// a world that dies unclosed is aborted, with what is still queued. Holds a stream, events and
/// 256 B of the device, which must outlive the world.
template <device Device = cuda_device>
class nccl_communicator {
 public:
  /// Device type.
  using device_type = Device;
  /// Batch type.
  using batch_type = nccl_batch<Device>;
  /// Stream type.
  using stream_type = typename Device::stream_type;

  /// Joins the world `id` with memory of `device`. Collective; throws `timed_out` unless all ranks
  /// do so within the timeout, `communication_error` if NCCL cannot, `peer_failed`.
  nccl_communicator(Device& device, const nccl_id& id, const nccl_options& options)
      : nccl_communicator(detail::nccl_join(device, id, options)) {}

  /// The user's own `comm`, which stays the user's: it is never destroyed, finalized or aborted
  /// here, and must outlive what is made. `options.rank` and `size` are not looked at. After a
  /// failure the user aborts it. Throws `invalid_argument` if it is on another GPU than `device`.
  [[nodiscard]] static nccl_communicator adopt(Device& device, ncclComm_t comm,
                                               const nccl_options& options = {}) {
    return nccl_communicator(detail::nccl_adopt(device, comm, options));
  }

  nccl_communicator(nccl_communicator&&) noexcept = default;
  nccl_communicator& operator=(nccl_communicator&& other) noexcept {
    nccl_communicator(std::move(other)).swap(*this);
    return *this;
  }
  ~nccl_communicator() {
    if (member_ != nullptr) member_->leave(std::uncaught_exceptions() > 0);
  }

  /// This rank.
  [[nodiscard]] int rank() const noexcept { return member_->rank; }
  /// Number of ranks.
  [[nodiscard]] int size() const noexcept { return member_->size(); }
  /// Whose memory travels.
  [[nodiscard]] Device& device() noexcept { return *member_->device; }
  /// How long a call may wait for its peers.
  [[nodiscard]] seconds timeout() const noexcept { return member_->timeout; }
  /// Sets it for the calls that follow.
  void set_timeout(seconds t) { member_->timeout = t; }
  /// Fails the world with `reason`.
  void abort(std::string_view reason) noexcept {
    world_->fail(reason);
    world_->abort_all();
  }
  /// From here on this rank tells nobody when it is gone. For the injection of faults.
  void vanish() noexcept { world_->state().doing(world_->rank).silent.store(true); }
  /// The last calls of the ranks that this process sees, now or when the first rank failed.
  [[nodiscard]] flight_snapshot flights() const { return world_->state().flights(); }
  /// NCCL's communicator, which stays this object's; null once it is closed or aborted.
  [[nodiscard]] ncclComm_t native() const noexcept { return member_->handle; }

  /// Opens `op`. Throws `peer_failed` if the world has failed.
  void begin(stream_type& s, const operation& op) { member_->begin(s, op); }
  /// Closes it.
  void end() noexcept { member_->end(); }
  /// An empty batch.
  [[nodiscard]] batch_type batch(stream_type& s) noexcept { return {member_, s}; }

  /// Gathers host bytes of all ranks, by way of device memory. See the concept.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    if (all.size() != mine.size() * static_cast<std::size_t>(size())) {
      throw invalid_argument(concat("exchange_host: ", size(), " ranks of ", mine.size(),
                                    " B do not fit ", all.size(), " B"));
    }
    stream_type& s = *member_->host_stream;
    device_array<std::byte, Device> in(device(), s, std::max<std::size_t>(1, mine.size()));
    device_array<std::byte, Device> out(device(), s, in.size() * static_cast<std::size_t>(size()));
    s.upload(in.span().first(mine.size()), mine);
    s.synchronize();  // an exception below frees what is uploaded
    {
      const nested inside(*member_);  // wrappers call this within an operation
      begin(s, {.kind = operation_kind::exchange_host, .count = mine.size()});
      all_gather<std::uint8_t>(s, as_elements(in.span()), as_elements(out.span()),
                               even_blocks(in.size(), size()));
    }
    s.synchronize();  // before the copy, which would block beyond every deadline
    s.download(all, out.span().first(all.size()));
    s.synchronize();
  }

  /// The ranks of one color. See the concept.
  [[nodiscard]] std::optional<nccl_communicator> split(int color, int key);
  /// The same ranks once more.
  [[nodiscard]] nccl_communicator duplicate() { return *split(0, rank()); }

  /// Ends the communicator, when all ranks have called this and what they queued is done. On the
  /// communicator that the world was joined with it ends all of the world's, which all ranks must
  /// be done with. Throws as an operation does, and `invalid_argument` if an `nccl_step` lives.
  void close() { detail::nccl_close(*world_, member_); }

  /// Waits for all ranks.
  void barrier(stream_type& s) {
    std::byte* const byte = member_->scratch.span().data();
    call(s, 1, 1, "ncclAllReduce", [=](ncclComm_t comm, cudaStream_t stream) {
      return ncclAllReduce(byte, byte, 1, ncclUint8, ncclMax, comm, stream);
    });
  }

  /// Copies `x` of `root` to all.
  template <element T>
  void broadcast(stream_type& s, device_span<T> x, int root) {
    if (x.empty()) return;
    const bool sends = rank() == root;
    call(s, sends ? x.size_bytes() : 0, sends ? 0 : x.size_bytes(), "ncclBroadcast",
         [=](ncclComm_t comm, cudaStream_t stream) {
           return ncclBroadcast(x.data(), x.data(), x.size(), detail::nccl_type<T>, root, comm,
                                stream);
         });
  }

  /// Copies all ranks' `in` to `out` of `root`.
  template <element T, detail::nccl_blocks Blocks>
  void gather(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
              int root) {
    if (blocks.total() == 0) return;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 3)
    if (detail::nccl_has(detail::nccl_with_all_to_all)) {
      return call(s, in.size_bytes(), rank() == root ? out.size_bytes() : 0, "ncclGather",
                  [=](ncclComm_t comm, cudaStream_t stream) {
                    return ncclGather(in.data(), out.data(), in.size(), detail::nccl_type<T>, root,
                                      comm, stream);
                  });
    }
#endif
    auto messages = batch(s);
    if (rank() == root) {
      for (int r = 0; r < size(); ++r) {
        if (r != root) messages.recv(r, as_writable_bytes(block_of(out, blocks, r)));
      }
      copy_block(s, block_of(out, blocks, root), in);
    } else {
      messages.send(root, as_bytes(in));
    }
    messages.submit();
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`.
  template <element T, detail::nccl_blocks Blocks>
  void scatter(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
               int root) {
    if (blocks.total() == 0) return;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 3)
    if (detail::nccl_has(detail::nccl_with_all_to_all)) {
      return call(s, rank() == root ? in.size_bytes() : 0, out.size_bytes(), "ncclScatter",
                  [=](ncclComm_t comm, cudaStream_t stream) {
                    return ncclScatter(in.data(), out.data(), out.size(), detail::nccl_type<T>,
                                       root, comm, stream);
                  });
    }
#endif
    auto messages = batch(s);
    if (rank() == root) {
      for (int r = 0; r < size(); ++r) {
        if (r != root) messages.send(r, as_bytes(block_of(in, blocks, r)));
      }
      copy_block(s, out, block_of(in, blocks, root));
    } else {
      messages.recv(root, as_writable_bytes(out));
    }
    messages.submit();
  }

  /// Copies all ranks' `in` to all ranks' `out`.
  template <element T, detail::nccl_blocks Blocks>
  void all_gather(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks&) {
    if (in.empty()) return;
    call(s, in.size_bytes(), out.size_bytes(), "ncclAllGather",
         [=](ncclComm_t comm, cudaStream_t stream) {
           return ncclAllGather(in.data(), out.data(), in.size(), detail::nccl_type<T>, comm,
                                stream);
         });
  }

  /// Reduces the ranks' block `rank()` of `in` into `out`.
  template <element T, detail::nccl_blocks Blocks, detail::nccl_reduction Op>
  void reduce_scatter(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks&,
                      const Op&) {
    if (out.empty()) return;
    call(s, in.size_bytes(), out.size_bytes(), "ncclReduceScatter",
         [=](ncclComm_t comm, cudaStream_t stream) {
           return ncclReduceScatter(in.data(), out.data(), out.size(), detail::nccl_type<T>,
                                    detail::nccl_op<Op>, comm, stream);
         });
  }

  /// Reduces the ranks' `in` into all ranks' `out`.
  template <element T, detail::nccl_reduction Op>
  void all_reduce(stream_type& s, device_span<const T> in, device_span<T> out, const Op&) {
    if (in.empty()) return;
    call(s, in.size_bytes(), out.size_bytes(), "ncclAllReduce",
         [=](ncclComm_t comm, cudaStream_t stream) {
           return ncclAllReduce(in.data(), out.data(), in.size(), detail::nccl_type<T>,
                                detail::nccl_op<Op>, comm, stream);
         });
  }

  /// Copies block `r` of `in` to block `rank()` of `out` of rank `r`.
  template <element T, detail::nccl_blocks Blocks>
  void all_to_all(stream_type& s, device_span<const T> in, const Blocks& in_blocks,
                  device_span<T> out, const Blocks& out_blocks) {
    if (in.empty()) return;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 3)
    if (detail::nccl_has(detail::nccl_with_all_to_all)) {
      return call(s, in.size_bytes(), out.size_bytes(), "ncclAlltoAll",
                  [=](ncclComm_t comm, cudaStream_t stream) {
                    return ncclAlltoAll(in.data(), out.data(), in_blocks.size(0),
                                        detail::nccl_type<T>, comm, stream);
                  });
    }
#endif
    auto messages = batch(s);
    for (int r = 0; r < size(); ++r) {
      messages.send(r, as_bytes(block_of(in, in_blocks, r)));
      messages.recv(r, as_writable_bytes(block_of(out, out_blocks, r)));
    }
    messages.submit();
  }

 private:
  friend class nccl_step<Device>;
  friend struct detail::nccl_access;

  // An operation of the host's own, which may lie within another one.
  class nested {
   public:
    explicit nested(detail::nccl_member<Device>& member)
        : member_(member), outer_(std::exchange(member.now, {})) {}
    nested(const nested&) = delete;
    nested& operator=(const nested&) = delete;
    ~nested() {
      member_.end();
      member_.now = outer_;
    }

   private:
    detail::nccl_member<Device>& member_;
    typename detail::nccl_member<Device>::call_state outer_;
  };

  explicit nccl_communicator(detail::nccl_seat<Device> seat) noexcept
      : world_(std::move(seat.world)), member_(std::move(seat.member)) {}
  void swap(nccl_communicator& other) noexcept {
    std::swap(world_, other.world_);
    std::swap(member_, other.member_);
  }

  template <class F>
  void call(stream_type& s, std::size_t read, std::size_t written, const char* name, const F& f) {
    member_->issue(s, {.bytes_read = read, .bytes_written = written}, name, f);
  }
  template <class T, class Blocks>
  [[nodiscard]] static device_span<T> block_of(device_span<T> x, const Blocks& blocks, int r) {
    return x.subspan(blocks.offset(r), blocks.size(r));
  }
  template <class T>
  static void copy_block(stream_type& s, device_span<T> to, device_span<const T> from) {
    if (to.data() != from.data()) s.copy(as_writable_bytes(to), as_bytes(from));
  }
  [[nodiscard]] static device_span<std::uint8_t> as_elements(device_span<std::byte> x) {
    return {reinterpret_cast<std::uint8_t*>(x.data()), x.size()};
  }

  // The member refers to the world, so it goes first.
  std::shared_ptr<detail::nccl_world> world_;
  std::shared_ptr<detail::nccl_member<Device>> member_;
};

template <device Device>
std::optional<nccl_communicator<Device>> nccl_communicator<Device>::split(int color, int key) {
  struct choice {
    int color, key;
  };
  const choice mine{color, key};
  std::vector<choice> all(static_cast<std::size_t>(size()));
  exchange_host(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    if (color >= 0 && all[static_cast<std::size_t>(r)].color == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key;
  });
  detail::nccl_seat<Device> seat = detail::nccl_split(*world_, member_, color, key, members);
  if (seat.member == nullptr) return std::nullopt;
  seat.world = world_;
  return nccl_communicator(std::move(seat));
}

namespace detail {

// For who starts the ranks, and ends their worlds when all are done.
struct nccl_access {
  template <device Device>
  [[nodiscard]] static std::shared_ptr<nccl_world> world(const nccl_communicator<Device>& comm) {
    return comm.world_;
  }
};

}  // namespace detail

static_assert(communicator<nccl_communicator<>>);

}  // namespace rondel
