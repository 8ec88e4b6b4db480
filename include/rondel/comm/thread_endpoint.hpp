#pragma once
#include <rondel/comm/stream_copy.hpp>
#include <rondel/comm/thread_group.hpp>
#include <rondel/comm/thread_member.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/work.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// What the communicators of ranks that are threads have in common, whatever their device: who
/// they are, and what passes by the streams. See the concept `communicator`.
class thread_endpoint {
 public:
  /// This rank.
  [[nodiscard]] int rank() const noexcept { return member_->rank; }
  /// Number of ranks.
  [[nodiscard]] int size() const noexcept { return member_->group->size(); }
  /// How long a call may wait for its peers.
  [[nodiscard]] seconds timeout() const noexcept { return member_->timeout; }
  /// Sets it for the calls that follow.
  void set_timeout(seconds t) { member_->timeout = t; }
  /// Fails the world with `reason`.
  void abort(std::string_view reason) noexcept {
    member_->group->world().fail(member_->group->world_rank(rank()), reason);
  }

  /// From here on this rank tells nobody when it is gone, as a process that was killed would
  /// not. For the injection of faults.
  void vanish() noexcept {
    detail::thread_group& group = *member_->group;
    group.world().doing(group.world_rank(rank())).silent.store(true);
  }

  /// The last calls of every rank of the world, now or when the first rank failed. May be called
  /// at any time by any thread. For a reader: `to_table` in `trace/flight_report.hpp`.
  [[nodiscard]] flight_snapshot flights() const { return member_->group->world().flights(); }

  /// Opens `op`: what follows, until `end`, belongs to it. Throws `peer_failed` if the world
  /// has failed.
  template <class Stream>
  void begin(Stream&, const operation& op) {
    detail::thread_call& call = member_->current;
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

  /// Gathers host bytes of all ranks. See the concept.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    if (all.size() != mine.size() * static_cast<std::size_t>(size())) {
      throw invalid_argument(concat("exchange_host: ", size(), " ranks of ", mine.size(),
                                    " B do not fit ", all.size(), " B"));
    }
    member_->meet_hosts({.kind = operation_kind::exchange_host, .count = mine.size()},
                        {mine.data(), mine.size(), mine.size()}, [&](const auto& peers) {
                          for (std::size_t r = 0; r < static_cast<std::size_t>(size()); ++r) {
                            detail::copy_bytes(all.data() + mine.size() * r, peers(r).in,
                                               mine.size(), false);
                          }
                        });
  }

 protected:
  /// Rank `rank` of `group`.
  thread_endpoint(std::shared_ptr<detail::thread_group> group, int rank, seconds timeout)
      : member_(std::make_shared<detail::thread_member>(std::move(group), rank, timeout)) {}

  thread_endpoint(thread_endpoint&&) noexcept = default;
  thread_endpoint& operator=(thread_endpoint&&) noexcept = default;
  ~thread_endpoint() {
    // Queued work may hold the last share of the member, on a thread that does not unwind.
    if (member_ != nullptr && std::uncaught_exceptions() > 0) member_->unwound.store(true);
  }

  /// A group and this rank's place in it; null where it has none.
  struct joined_group {
    /// The group.
    std::shared_ptr<detail::thread_group> group;
    /// The rank in it.
    int rank = 0;
  };

  /// What `split` joins. See the concept.
  [[nodiscard]] joined_group split_group(int color, int key) {
    struct choice {
      int color, key;
    };
    const operation op{.kind = operation_kind::split};
    detail::thread_group& parent = *member_->group;
    const choice mine{color, key};
    std::vector<choice> all(static_cast<std::size_t>(size()));
    member_->meet_hosts(op, {&mine, sizeof mine, sizeof mine}, [&](const auto& peers) {
      for (std::size_t r = 0; r < all.size(); ++r)
        all[r] = *static_cast<const choice*>(peers(r).in);
    });

    std::vector<int> members;
    for (int r = 0; r < size(); ++r) {
      if (all[static_cast<std::size_t>(r)].color == color) members.push_back(r);
    }
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
      return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key;
    });
    // The first rank of each color makes the new group, and the others take their share of it
    // while that rank waits for them.
    joined_group joined;
    std::shared_ptr<detail::thread_group> made;
    if (color >= 0 && members.front() == rank()) {
      std::vector<int> world;
      for (const int r : members) world.push_back(parent.world_rank(r));
      made = std::make_shared<detail::thread_group>(parent.shared_world(), std::move(world));
    }
    member_->meet_hosts(op, {&made, sizeof made}, [&](const auto& peers) {
      if (color < 0) return;
      joined.group =
          *static_cast<const std::shared_ptr<detail::thread_group>*>(peers(members.front()).in);
    });
    if (color < 0) return {};
    joined.rank =
        static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
    return joined;
  }

  /// `peer`, if it is a rank. Throws `invalid_argument`.
  [[nodiscard]] int checked_peer(int peer) const {
    if (peer < 0 || peer >= size()) {
      throw invalid_argument(concat("message of rank ", rank(), ": peer ", peer,
                                    " is not a rank of a communicator of ", size()));
    }
    return peer;
  }

  /// What this rank does to deliver `bytes`.
  [[nodiscard]] static work copies(std::size_t bytes) noexcept {
    return {.bytes_read = bytes, .bytes_written = bytes};
  }
  /// What it does to reduce `count` elements of every rank and store `written` bytes of results.
  template <class T>
  [[nodiscard]] work reduces(std::size_t count, std::size_t written) const noexcept {
    const auto ranks = static_cast<std::size_t>(size());
    return {.flops = static_cast<double>(count * (ranks - 1)),
            .bytes_read = count * ranks * sizeof(T),
            .bytes_written = written};
  }

  /// This rank's side, which queued work shares.
  std::shared_ptr<detail::thread_member> member_;
};

}  // namespace rondel
