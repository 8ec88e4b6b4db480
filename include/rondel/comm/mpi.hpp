#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/mpi_api.hpp>
#include <rondel/comm/mpi_batch.hpp>
#include <rondel/comm/mpi_collectives.hpp>
#include <rondel/comm/mpi_group.hpp>
#include <rondel/comm/mpi_make_world.hpp>
#include <rondel/comm/mpi_reduction.hpp>
#include <rondel/comm/mpi_world.hpp>
#include <rondel/comm/pending_call.hpp>
#include <rondel/core/error.hpp>
#include <rondel/device/host.hpp>

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

/// Ranks that are processes of an MPI job. See the concept `communicator`.
///
/// Moves memory that the host can read, by non-blocking messages on a duplicate of the user's
/// `MPI_Comm`; no call blocks inside MPI, so every wait sees the failure of a peer and its
/// deadline. Reductions go in the order of the ranks always and have the bits of every other
/// engine. Per rank and call it moves, in each direction, what a bandwidth-optimal algorithm moves:
/// `S (N-1)/N` for reduce_scatter and all_gather, twice that for all_reduce; an all_reduce whose
/// inputs are at most 64 KiB together gathers them whole, `S (N-1)`, in log2(N) steps. Holds
/// that much, or two pieces of 256 KiB from each peer.
///
/// Of mismatched calls only unequal sizes of a message are noticed, by their receiver; the checked
/// mode (`fingerprint_communicator`) notices all. Work on worker streams needs
/// `MPI_THREAD_MULTIPLE`. All processes must have the same byte order. Errors name ranks of the
/// world, and which rank failed first as this one heard it.
///
/// After a failure receives are taken back, so that nobody writes to the user's memory later. If a
/// send that its receiver never took, or a receive in the middle of its data, does not end within
/// 0.1 s, this process calls MPI no more, because such a call might go on with it; so should the
/// user, and let the process end.
template <device Device = host_device>
class mpi_communicator {
 public:
  /// Device type.
  using device_type = Device;
  /// Batch type.
  using batch_type = mpi_batch<Device>;
  /// Stream type.
  using stream_type = typename Device::stream_type;

  /// This process's rank of `world`, with memory of `device`, which must outlive it. Made once for
  /// a world of `make_mpi_world`.
  mpi_communicator(std::shared_ptr<detail::mpi_world> world, Device& device, seconds timeout)
      : device_(&device) {
    std::vector<int> all(static_cast<std::size_t>(world->ranks()));
    for (std::size_t r = 0; r < all.size(); ++r) all[r] = static_cast<int>(r);
    const int rank = world->rank();
    const std::uint64_t number = world->base();
    member_ = std::make_shared<detail::mpi_member>(
        std::make_shared<detail::mpi_group>(std::move(world), number, std::move(all)), rank,
        timeout);
  }

  mpi_communicator(mpi_communicator&&) noexcept = default;
  mpi_communicator& operator=(mpi_communicator&&) noexcept = default;
  ~mpi_communicator() {
    // Queued work may hold the last share of the member, on a thread that does not unwind.
    if (member_ != nullptr && std::uncaught_exceptions() > 0) member_->unwound.store(true);
  }

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
  /// Fails the world with `reason`, of which the others hear the first 972 bytes.
  void abort(std::string_view reason) noexcept {
    member_->group->world().fail(member_->group->world_rank(rank()), reason);
  }

  /// From here on this rank tells nobody when it is gone, as a process that was killed would
  /// not. For the injection of faults.
  void vanish() noexcept { member_->group->world().doing().silent.store(true); }

  /// The last calls of this rank, now or when it heard of the first failure. May be called at any
  /// time by any thread.
  [[nodiscard]] flight_snapshot flights() const { return member_->group->world().flights(); }

  /// Opens `op`: what follows, until `end`, belongs to it. Throws `peer_failed` if the world
  /// has failed.
  void begin(stream_type&, const operation& op) {
    detail::rank_call& call = member_->current;
    call.op = op;
    call.sequence = ++member_->calls;
    member_->group->check_world(call);
    member_->flight = member_->log.issue(op, call.sequence);
  }
  /// Closes it.
  void end() noexcept {
    member_->current.op = {};
    member_->flight.close();
  }

  /// An empty batch.
  [[nodiscard]] batch_type batch(stream_type& stream) noexcept { return {*this, stream}; }

  /// Gathers host bytes of all ranks. See the concept.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    if (all.size() != mine.size() * static_cast<std::size_t>(size())) {
      throw invalid_argument(concat("exchange_host: ", size(), " ranks of ", mine.size(),
                                    " B do not fit ", all.size(), " B"));
    }
    exchange({.kind = operation_kind::exchange_host, .count = mine.size()}, mine, all);
  }

  /// The ranks of one color. See the concept.
  [[nodiscard]] std::optional<mpi_communicator> split(int color, int key);

  /// The same ranks once more.
  [[nodiscard]] mpi_communicator duplicate() { return *split(0, rank()); }

  /// Waits for all ranks.
  void barrier(stream_type& s) {
    enqueue(s, {}, [](const detail::mpi_run& run) { detail::mpi_barrier(run); });
  }

  /// Copies `x` of `root` to all.
  template <class T>
  void broadcast(stream_type& s, device_span<T> x, int root) {
    const bool is_root = rank() == root;
    enqueue(s, copies(is_root ? 0 : x.size_bytes()), [=](const detail::mpi_run& run) {
      detail::mpi_broadcast(run, bytes(x.data()), x.size_bytes(), root);
    });
  }

  /// Copies all ranks' `in` to `out` of `root`.
  template <class T, block_sizes Blocks>
  void gather(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
              int root) {
    enqueue(s, copies(rank() == root ? out.size_bytes() : 0), [=](const detail::mpi_run& run) {
      detail::mpi_gather(run, bytes(in.data()), bytes(out.data()), {blocks, sizeof(T)}, root);
    });
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`.
  template <class T, block_sizes Blocks>
  void scatter(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
               int root) {
    enqueue(s, copies(out.size_bytes()), [=](const detail::mpi_run& run) {
      detail::mpi_scatter(run, bytes(in.data()), bytes(out.data()), {blocks, sizeof(T)}, root);
    });
  }

  /// Copies all ranks' `in` to all ranks' `out`.
  template <class T, block_sizes Blocks>
  void all_gather(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks) {
    enqueue(s, copies(out.size_bytes()), [=](const detail::mpi_run& run) {
      detail::mpi_all_gather(run, bytes(in.data()), bytes(out.data()), {blocks, sizeof(T)});
    });
  }

  /// Reduces the ranks' block `rank()` of `in` into `out`.
  template <class T, block_sizes Blocks, class Op>
  void reduce_scatter(stream_type& s, device_span<const T> in, device_span<T> out, Blocks blocks,
                      const Op& op) {
    enqueue(s, reduces<T>(blocks.size(rank()), out.size_bytes()),
            [=, reduce = detail::base_reduction(op)](const detail::mpi_run& run) {
              detail::mpi_reduce_scatter<T>(run, in.data(), out.data(), detail::block_view(blocks),
                                            reduce);
            });
  }

  /// Reduces the ranks' `in` into all ranks' `out`.
  template <class T, class Op>
  void all_reduce(stream_type& s, device_span<const T> in, device_span<T> out, const Op& op) {
    enqueue(s, reduces<T>(balanced_blocks(in.size(), size()).size(rank()), out.size_bytes()),
            [=, reduce = detail::base_reduction(op)](const detail::mpi_run& run) {
              detail::mpi_all_reduce<T>(run, in.data(), out.data(), in.size(), reduce);
            });
  }

  /// Copies block `r` of `in` to block `rank()` of `out` of rank `r`.
  template <class T, block_sizes Blocks>
  void all_to_all(stream_type& s, device_span<const T> in, Blocks in_blocks, device_span<T> out,
                  Blocks out_blocks) {
    enqueue(s, copies(out.size_bytes()), [=](const detail::mpi_run& run) {
      detail::mpi_all_to_all(run, bytes(in.data()), {in_blocks, sizeof(T)}, bytes(out.data()),
                             {out_blocks, sizeof(T)});
    });
  }

 private:
  friend class mpi_batch<Device>;

  mpi_communicator(std::shared_ptr<detail::mpi_group> group, int rank, Device& device,
                   seconds timeout)
      : member_(std::make_shared<detail::mpi_member>(std::move(group), rank, timeout)),
        device_(&device) {}

  [[nodiscard]] static const std::byte* bytes(const void* p) noexcept {
    return static_cast<const std::byte*>(p);
  }
  [[nodiscard]] static std::byte* bytes(void* p) noexcept { return static_cast<std::byte*>(p); }

  // What this rank does to deliver `bytes`, or to reduce `count` elements of every rank and store
  // `written` bytes of results.
  [[nodiscard]] static work copies(std::size_t bytes) noexcept {
    return {.bytes_read = bytes, .bytes_written = bytes};
  }
  template <class T>
  [[nodiscard]] work reduces(std::size_t count, std::size_t written) const noexcept {
    const auto ranks = static_cast<std::size_t>(size());
    return {.flops = static_cast<double>(count * (ranks - 1)),
            .bytes_read = count * ranks * sizeof(T),
            .bytes_written = written};
  }

  [[nodiscard]] int checked_peer(int peer) const {
    if (peer < 0 || peer >= size()) {
      throw invalid_argument(concat("message of rank ", rank(), ": peer ", peer,
                                    " is not a rank of a communicator of ", size()));
    }
    return peer;
  }

  // Gathers host bytes as the call `op`.
  void exchange(const operation& op, std::span<const std::byte> mine, std::span<std::byte> all) {
    member_->meet_hosts(op, [&](const detail::mpi_run& run) {
      const even_blocks blocks(mine.size(), run.size());
      if (all.size() > detail::mpi_whole_bytes) {
        detail::mpi_all_gather(run, mine.data(), all.data(), {blocks, 1});
        return;
      }
      const std::byte* const got = detail::mpi_gather_whole(run, mine.data(), mine.size());
      for (int r = 0; r < run.size(); ++r) {
        detail::copy_bytes(all.data() + blocks.offset(r),
                           got + detail::whole_place(run, r) * mine.size(), mine.size(), false);
      }
    });
  }

  // Queues `body(run)`, as one piece of work that runs when all earlier ones of this communicator
  // have, whatever streams those are on.
  template <class Body>
  void enqueue(stream_type& s, work cost, Body body) {
    using member_type = detail::mpi_member;
    cost.name = to_string(member_->current.op.kind);
    const bool now = s.mode() == stream_mode::immediate;
    if (!now) member_->group->world().check_worker(cost.name);
    const std::uint64_t ticket = member_->tickets++;
    const auto in_turn = [run = std::move(body)](member_type& member) {
      return
          [&run, &member](detail::mpi_group&, detail::rank_call& call) { member.run(call, run); };
    };
    if (now) {
      detail::call_in_place pending(*member_, true);
      s.launch(cost, [&] {
        auto piece = in_turn(*member_);
        pending.run(ticket, piece);
        member_->served.store(ticket + 1, std::memory_order_release);
      });
      return;
    }
    s.launch(cost, [queued = detail::queued_call(member_, true), ticket, in_turn]() mutable {
      auto piece = in_turn(*queued.member);
      queued.call.run(ticket, piece);
      queued.member->served.store(ticket + 1, std::memory_order_seq_cst);
    });
  }

  void submit(stream_type& s, std::vector<detail::mpi_message> messages) {
    int to = -1, from = -1;
    std::size_t received = 0;
    for (const detail::mpi_message& m : messages) {
      int& peer = m.incoming ? from : to;
      peer = peer == -1 ? m.peer : -2;
      if (m.incoming) received += m.size;
    }
    if (!is_collective(member_->current.op.kind)) member_->flight.messages(to, from, received);
    enqueue(s, copies(received), [all = std::move(messages)](const detail::mpi_run& run) {
      for (const bool incoming : {true, false}) {
        for (const detail::mpi_message& m : all) {
          if (m.incoming != incoming) continue;
          if (incoming) {
            run.recv(m.peer, m.data, m.size);
          } else {
            run.send(m.peer, m.data, m.size);
          }
        }
      }
      run.finish();
    });
  }

  std::shared_ptr<detail::mpi_member> member_;
  Device* device_;
};

template <device Device>
std::optional<mpi_communicator<Device>> mpi_communicator<Device>::split(int color, int key) {
  struct choice {
    std::int64_t color, key;
    std::uint64_t next;  // group number that this rank has not used
  };
  detail::mpi_group& parent = *member_->group;
  detail::mpi_world& world = parent.world();
  const choice mine{color, key, world.next_number()};
  std::vector<choice> all(static_cast<std::size_t>(size()));
  exchange({.kind = operation_kind::split}, std::as_bytes(std::span(&mine, 1)),
           std::as_writable_bytes(std::span(all)));

  // Numbers follow the colors, from one that none of the ranks has used.
  std::uint64_t next = 0;
  std::vector<std::int64_t> colors;
  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    const choice& c = all[static_cast<std::size_t>(r)];
    next = std::max(next, c.next);
    if (c.color >= 0) colors.push_back(c.color);
    if (c.color == color) members.push_back(r);
  }
  std::sort(colors.begin(), colors.end());
  colors.erase(std::unique(colors.begin(), colors.end()), colors.end());
  const auto own = std::lower_bound(colors.begin(), colors.end(), color) - colors.begin();
  const std::uint64_t number = color < 0 ? 0 : next + static_cast<std::uint64_t>(own);
  world.open(number, next + colors.size());
  if (color < 0) return std::nullopt;
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key;
  });
  const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
  for (int& r : members) r = parent.world_rank(r);
  return mpi_communicator(
      std::make_shared<detail::mpi_group>(parent.shared_world(), number, std::move(members)),
      static_cast<int>(place), *device_, timeout());
}

static_assert(communicator<mpi_communicator<host_device>>);

}  // namespace rondel
