#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/stream_copy.hpp>
#include <rondel/comm/thread_group.hpp>
#include <rondel/comm/thread_member.hpp>
#include <rondel/core/error.hpp>
#include <rondel/device/host_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {

template <device Device>
class thread_communicator;

/// The sends and receives of a `thread_communicator`. See the concept `message_batch`.
template <device Device>
class thread_batch {
 public:
  /// Made by `thread_communicator::batch`.
  thread_batch(thread_communicator<Device>& owner, typename Device::stream_type& stream) noexcept
      : owner_(&owner), stream_(&stream) {}

  /// Adds a message to `peer`.
  void send(int peer, device_span<const std::byte> bytes) {
    // The receiver only reads it; one type serves both directions.
    auto* data = const_cast<std::byte*>(bytes.data());  // NOLINT
    sends_.push_back({owner_->checked_peer(peer), data, bytes.size()});
  }
  /// Adds a message from `peer`.
  void recv(int peer, device_span<std::byte> bytes) {
    recvs_.push_back({owner_->checked_peer(peer), bytes.data(), bytes.size()});
  }
  /// Queues the batch.
  void submit() {
    if (sends_.empty() && recvs_.empty()) return;
    owner_->submit(*stream_, std::move(sends_), std::move(recvs_));
  }

 private:
  thread_communicator<Device>* owner_;
  typename Device::stream_type* stream_;
  std::vector<detail::thread_message> sends_, recvs_;
};

/// Ranks that are threads of one process. See the concept `communicator`.
///
/// Collectives read the peers' memory directly: each rank reduces or copies its share, which in
/// shared memory beats every ring. Holds no device memory. Per rank and call it moves, in each
/// direction, what a bandwidth-optimal algorithm moves: `S (N-1)/N` for reduce_scatter and
/// all_gather, twice that for all_reduce. Reductions go in the order of the ranks always, with
/// or without `in_rank_order`. Mismatched collectives throw `mismatched_operation` on every
/// rank. On a device that runs no kernels it moves and waits for nothing.
template <device Device>
class thread_communicator {
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
      : member_(std::make_shared<detail::thread_member>(std::move(group), rank, timeout)),
        device_(&device) {}

  thread_communicator(thread_communicator&&) noexcept = default;
  thread_communicator& operator=(thread_communicator&&) noexcept = default;

  /// This rank.
  [[nodiscard]] int rank() const noexcept { return member_->rank; }
  /// Number of ranks.
  [[nodiscard]] int size() const noexcept { return member_->group->size(); }
  /// Whose memory travels.
  [[nodiscard]] Device& device() noexcept { return *device_; }
  /// How long a call may wait for its peers.
  [[nodiscard]] seconds timeout() const noexcept { return member_->timeout; }
  /// Sets it for the calls that follow.
  void set_timeout(seconds t) { member_->timeout = t; }
  /// Fails the world with `reason`.
  void abort(std::string_view reason) noexcept {
    member_->group->world().fail(member_->group->world_rank(rank()), reason);
  }

  /// Opens `op`: what follows, until `end`, belongs to it. Throws `peer_failed` if the world
  /// has failed.
  void begin(stream_type&, const operation& op) {
    member_->current = {op, ++member_->calls};
    if (member_->group->world().failed()) {
      member_->group->world().throw_peer_failed(member_->group->world_rank(rank()),
                                                detail::thread_group::describe(member_->current));
    }
  }
  /// Closes it.
  void end() noexcept { member_->current.op = {}; }

  /// An empty batch.
  [[nodiscard]] batch_type batch(stream_type& stream) noexcept { return {*this, stream}; }

  /// Gathers host bytes of all ranks. See the concept.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    host_meeting({.kind = operation_kind::exchange_host, .count = mine.size()}, mine, all);
  }

  /// The ranks of one color. See the concept.
  [[nodiscard]] std::optional<thread_communicator> split(int color, int key);

  /// The same ranks once more.
  [[nodiscard]] thread_communicator duplicate() { return *split(0, rank()); }

  /// Waits for all ranks.
  void barrier(stream_type& s) {
    meeting(s, nullptr, nullptr, nullptr, 0, [](const auto&) {});
  }

  /// Copies `x` of `root` to all.
  template <class T>
  void broadcast(stream_type& s, device_span<T> x, int root) {
    meeting(s, x.data(), x.data(), nullptr, x.size_bytes(), [=, me = rank()](const auto& seats) {
      if (me != root) copy(x.data(), seats[root].shown.in, x.size());
    });
  }

  /// Copies all ranks' `in` to `out` of `root`.
  template <class T, block_sizes Blocks>
  void gather(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
              int root) {
    meeting(s, in.data(), out.data(), nullptr, in.size_bytes(),
            [=, me = rank()](const auto& seats) {
              if (me != root) return;
              for (int r = 0; r < blocks.ranks(); ++r) {
                copy(out.data() + blocks.offset(r), seats[r].shown.in, blocks.size(r));
              }
            });
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`.
  template <class T, block_sizes Blocks>
  void scatter(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
               int root) {
    meeting(s, in.data(), out.data(), nullptr, out.size_bytes(),
            [=, me = rank()](const auto& seats) {
              copy(out.data(), static_cast<const T*>(seats[root].shown.in) + blocks.offset(me),
                   blocks.size(me));
            });
  }

  /// Copies all ranks' `in` to all ranks' `out`.
  template <class T, block_sizes Blocks>
  void all_gather(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks) {
    meeting(s, in.data(), out.data(), nullptr, out.size_bytes(),
            [=, me = rank()](const auto& seats) {
              for (int i = 0; i < blocks.ranks(); ++i) {
                const int r = (me + i) % blocks.ranks();
                copy(out.data() + blocks.offset(r), seats[r].shown.in, blocks.size(r));
              }
            });
  }

  /// Reduces the ranks' block `rank()` of `in` into `out`.
  template <class T, block_sizes Blocks, class Op>
  void reduce_scatter(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
                      const Op& op) {
    meeting(s, in.data(), out.data(), nullptr, in.size_bytes(),
            [=, me = rank(), reduce = detail::base_reduction(op)](const auto& seats) {
              const std::size_t begin = blocks.offset(me);
              detail::reduce_in_order<T>(
                  begin, begin + blocks.size(me), blocks.ranks(), reduce,
                  [&](int r) { return static_cast<const T*>(seats[r].shown.in); },
                  [&](std::size_t at, const T* block, std::size_t size) {
                    detail::copy_bytes(out.data() + (at - begin), block, size * sizeof(T), false);
                  });
            });
  }

  /// Reduces the ranks' `in` into all ranks' `out`.
  template <class T, class Op>
  void all_reduce(stream_type& s, device_span<const T> in, device_span<T> out, const Op& op) {
    const balanced_blocks blocks(in.size(), size());
    meeting(s, in.data(), out.data(), nullptr, 2 * in.size_bytes(),
            [=, me = rank(), reduce = detail::base_reduction(op)](const auto& seats) {
              const int ranks = blocks.ranks();
              const bool streaming = in.size_bytes() >= detail::streaming_threshold;
              detail::reduce_in_order<T>(
                  blocks.offset(me), blocks.offset(me + 1), ranks, reduce,
                  [&](int r) { return static_cast<const T*>(seats[r].shown.in); },
                  [&](std::size_t at, const T* block, std::size_t size) {
                    for (int r = 0; r < ranks; ++r) {
                      detail::copy_bytes(static_cast<T*>(seats[r].shown.out) + at, block,
                                         size * sizeof(T), streaming);
                    }
                  });
              detail::finish_streaming(streaming);
            });
  }

  /// Copies block `r` of `in` to block `rank()` of `out` of rank `r`.
  template <class T, block_sizes Blocks>
  void all_to_all(stream_type& s, device_span<const T> in, Blocks in_blocks, device_span<T> out,
                  Blocks out_blocks) {
    meeting(s, in.data(), out.data(), &in_blocks, in.size_bytes(),
            [=, me = rank(), group = member_->group.get()](const auto& seats) {
              for (int i = 0; i < out_blocks.ranks(); ++i) {
                const int r = (me + i) % out_blocks.ranks();
                const auto& theirs = *static_cast<const Blocks*>(seats[r].shown.blocks);
                if (theirs.size(me) != out_blocks.size(r)) {
                  throw mismatched_operation(
                      concat("rank ", group->world_rank(me), " in all_to_all expects ",
                             out_blocks.size(r), " elements from rank ", group->world_rank(r),
                             ", which sends ", theirs.size(me)),
                      group->world_rank(me));
                }
                copy(out.data() + out_blocks.offset(r),
                     static_cast<const T*>(seats[r].shown.in) + theirs.offset(me),
                     out_blocks.size(r));
              }
            });
  }

 private:
  friend class thread_batch<Device>;

  template <class T>
  static void copy(T* to, const void* from, std::size_t count) noexcept {
    const std::size_t bytes = count * sizeof(T);
    if (to == from) return;
    const bool streaming = bytes >= detail::streaming_threshold;
    detail::copy_bytes(to, from, bytes, streaming);
    detail::finish_streaming(streaming);
  }

  [[nodiscard]] int checked_peer(int peer) const {
    if (peer < 0 || peer >= size()) {
      throw invalid_argument(concat("message of rank ", rank(), ": peer ", peer,
                                    " is not a rank of a communicator of ", size()));
    }
    return peer;
  }

  // Queues `body`, as one piece of work that runs when all earlier ones of this communicator
  // have, whatever streams those are on.
  template <class Body>
  void enqueue(stream_type& s, std::size_t bytes, Body&& body) {
    detail::thread_member& m = *member_;
    const std::uint64_t ticket = m.tickets++;
    s.launch({.name = to_string(m.current.op.kind), .bytes_read = bytes, .bytes_written = bytes},
             [member = member_, ticket, call = m.current, timeout = m.timeout,
              run = std::forward<Body>(body)]() mutable {
               detail::thread_group& group = *member->group;
               group.run(member->rank, call, [&] {
                 group.await(member->rank, member->rank, timeout, call, [&] {
                   return member->served.load(std::memory_order_acquire) == ticket;
                 });
                 run(group, member->rank, call, timeout);
               });
               member->served.store(ticket + 1, std::memory_order_release);
               group.world().notify();
             });
  }

  // Queues a meeting of all ranks. `blocks` points to a block_sizes or is null; it is copied.
  template <class Blocks, class Move>
  void meeting(stream_type& s, const void* in, void* out, const Blocks* blocks, std::size_t bytes,
               const Move& move) {
    const std::uint64_t turn = ++member_->meetings;
    if constexpr (std::is_same_v<Blocks, std::nullptr_t>) {
      enqueue(s, bytes,
              [=](detail::thread_group& group, int me, const detail::thread_call& call,
                  seconds timeout) {
                group.meet(me, false, turn, timeout, call, {call.op, in, out, nullptr}, move);
              });
    } else {
      enqueue(s, bytes,
              [=, own = *blocks](detail::thread_group& group, int me,
                                 const detail::thread_call& call, seconds timeout) {
                group.meet(me, false, turn, timeout, call, {call.op, in, out, &own}, move);
              });
    }
  }
  template <class Move>
  void meeting(stream_type& s, const void* in, void* out, std::nullptr_t, std::size_t bytes,
               const Move& move) {
    meeting<std::nullptr_t>(s, in, out, static_cast<const std::nullptr_t*>(nullptr), bytes, move);
  }

  void host_meeting(const operation& op, std::span<const std::byte> mine,
                    std::span<std::byte> all) {
    if (all.size() != mine.size() * static_cast<std::size_t>(size())) {
      throw invalid_argument(concat("exchange_host: ", size(), " ranks of ", mine.size(),
                                    " B do not fit ", all.size(), " B"));
    }
    detail::thread_member& m = *member_;
    const detail::thread_call call{op, ++m.calls};
    m.group->run(m.rank, call, [&] {
      m.group->meet(m.rank, true, ++m.host_meetings, m.timeout, call,
                    {op, mine.data(), nullptr, nullptr}, [&](const auto& seats) {
                      for (int r = 0; r < size(); ++r) {
                        detail::copy_bytes(all.data() + mine.size() * static_cast<std::size_t>(r),
                                           seats[r].shown.in, mine.size(), false);
                      }
                    });
    });
  }

  void submit(stream_type& s, std::vector<detail::thread_message> sends,
              std::vector<detail::thread_message> recvs) {
    std::size_t bytes = 0;
    for (const auto& m : recvs) bytes += m.size;
    enqueue(s, bytes,
            [out = std::move(sends), in = std::move(recvs)](
                detail::thread_group& group, int me, const detail::thread_call& call,
                seconds timeout) mutable { group.exchange(me, timeout, call, out, in); });
  }

  std::shared_ptr<detail::thread_member> member_;
  Device* device_;
};

template <device Device>
std::optional<thread_communicator<Device>> thread_communicator<Device>::split(int color, int key) {
  struct choice {
    int color, key;
    // Set by the first rank of each color in the second round: the new group, kept alive by
    // that rank until the third.
    const std::shared_ptr<detail::thread_group>* made;
  };
  const operation op{.kind = operation_kind::split};
  const auto ranks = static_cast<std::size_t>(size());
  choice mine{color, key, nullptr};
  std::vector<choice> all(ranks);
  const auto round = [&] {
    host_meeting(op, std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  };
  round();

  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    if (all[static_cast<std::size_t>(r)].color == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key;
  });
  std::shared_ptr<detail::thread_group> group;
  if (color >= 0 && members.front() == rank()) {
    std::vector<int> world;
    for (const int r : members) world.push_back(member_->group->world_rank(r));
    group =
        std::make_shared<detail::thread_group>(member_->group->shared_world(), std::move(world));
    mine.made = &group;
  }
  round();
  std::shared_ptr<detail::thread_group> joined;
  if (color >= 0) joined = *all[static_cast<std::size_t>(members.front())].made;
  round();
  if (color < 0) return std::nullopt;
  const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
  return thread_communicator(std::move(joined), static_cast<int>(place), *device_, timeout());
}

/// A group of `ranks` threads, each of which then makes its own `thread_communicator` from it.
/// For programs that start their threads themselves; `run` does it for all others.
/// Throws `invalid_argument` if `ranks` is less than 1.
[[nodiscard]] inline std::shared_ptr<detail::thread_group> make_thread_group(int ranks) {
  if (ranks < 1)
    throw invalid_argument(concat("a group of ", ranks, " ranks: at least 1 expected"));
  std::vector<int> all(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r) all[static_cast<std::size_t>(r)] = r;
  return std::make_shared<detail::thread_group>(std::make_shared<detail::thread_world>(ranks),
                                                std::move(all));
}

static_assert(communicator<thread_communicator<host_device>>);
static_assert(communicator<thread_communicator<sim_device>>);

}  // namespace rondel
