#pragma once
#include <rondel/core/operation.hpp>
#include <rondel/core/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace rondel {

/// How far a call of a communicator has come.
enum class flight_state : std::uint8_t {
  /// The rank has made it; its stream has not come to it.
  issued,
  /// It moves data, or waits for its peers.
  started,
  /// It is done.
  completed,
};

/// One call of a communicator, as the rank that made it saw it.
struct flight_record {
  /// Number of the communicator in its world, 0 for the world's own.
  std::uint64_t communicator = 0;
  /// Which of the rank's calls of that communicator it is, from 1: the number in errors.
  std::uint64_t sequence = 0;
  /// Which of its collective calls, from 1: equal for the same call on all ranks. Of messages,
  /// the collective call before them.
  std::uint64_t collective = 0;
  /// What was called.
  operation op{};
  /// Whether the rank's host makes it, beside its streams.
  bool on_host = false;
  /// How far it has come.
  flight_state state = flight_state::issued;
  /// Of messages: the rank of the communicator they go to; -1 for none, -2 for several.
  int to = -1;
  /// Of messages: the rank of the communicator they come from; -1 for none, -2 for several.
  int from = -1;
  /// Its place in the order of the rank's calls of all communicators.
  std::uint64_t order = 0;
};

/// What a flight recorder holds at one time.
struct flight_snapshot {
  /// A communicator and what is known of it beside the records.
  struct communicator {
    /// Its number in the world.
    std::uint64_t number = 0;
    /// Its ranks, as ranks of the world.
    std::vector<int> ranks;
    /// How many collective calls each of them has made.
    std::vector<std::uint64_t> collectives;
  };
  /// The last calls of each rank of the world, in the order in which it made them.
  std::vector<std::vector<flight_record>> ranks;
  /// The communicators that are in use, and the last ones that were.
  std::vector<communicator> communicators;
  /// The rank of the world that is known to have failed first, -1 if none is.
  int failed = -1;
};

namespace detail {

// A record as threads share it: the rank's host writes all but `progress`, which belongs to
// whoever runs the call. Every word is stored with release and read with acquire, so that who
// reads a word of a later call also finds the guard changed.
struct alignas(64) flight_entry {
  sync::atomic<std::uint64_t> guard{0};  // twice the order of the call; odd while it is written
  sync::atomic<std::uint64_t> place{0};  // 20 bit communicator, 44 sequence
  sync::atomic<std::uint64_t> what{0};   // 32 bit root, 8 each of flags, type and kind
  sync::atomic<std::uint64_t> count{0};
  sync::atomic<std::uint64_t> layout{0};  // of messages: to and from, 32 bit each
  sync::atomic<const char*> reduction{""};
  sync::atomic<std::uint64_t> progress{0};  // of piece i: 2 i + 1 begun, 2 i + 2 done
  sync::atomic<std::uint64_t> extent{0};    // 40 bit collective, 24 pieces plus one, 0 while open

  [[nodiscard]] bool completed() const noexcept {
    const std::uint64_t pieces = extent.load(std::memory_order_acquire) & 0xff'ffffU;
    return pieces != 0 && progress.load(std::memory_order_acquire) >= 2 * (pieces - 1);
  }
};

// The ranks of one communicator, and how many collective calls each has made.
struct flight_group {
  // Each rank's own cache lines, or who counts slows down the others.
  struct alignas(128) counter {
    sync::atomic<std::uint64_t> value{0};
  };

  flight_group(std::uint64_t n, std::vector<int> r)
      : number(n), ranks(std::move(r)), collectives(std::make_unique<counter[]>(ranks.size())) {}

  std::uint64_t number;
  std::vector<int> ranks;
  std::unique_ptr<counter[]> collectives;
};

}  // namespace detail

/// A piece of the work of a call. Refers to its recorder, which must outlive it.
class flight_piece {
 public:
  /// Made by `flight_call::piece`.
  flight_piece(detail::flight_entry* entry, std::uint64_t number) noexcept
      : entry_(entry), number_(number) {}

  /// It begins. Pieces of a call run one after the other, on any thread.
  void start() const noexcept { store(2 * number_ + 1); }
  /// It is done.
  void finish() const noexcept { store(2 * number_ + 2); }

 private:
  void store(std::uint64_t progress) const noexcept {
    if (entry_ != nullptr) entry_->progress.store(progress, std::memory_order_release);
  }

  detail::flight_entry* entry_;
  std::uint64_t number_;
};

/// A call while its rank's host makes it; empty where nothing is recorded.
class flight_call {
 public:
  /// Nothing is recorded.
  flight_call() = default;
  /// Made by `flight_log::issue`.
  explicit flight_call(detail::flight_entry* entry) noexcept : entry_(entry) {}

  /// One more piece of work, which the host queues.
  [[nodiscard]] flight_piece piece() noexcept { return {entry_, pieces_++}; }

  /// The call is a message or several, `bytes` in all, to and from these ranks of the
  /// communicator; -1 for none, -2 for several.
  void messages(int to, int from, std::uint64_t bytes) const noexcept {
    if (entry_ == nullptr) return;
    entry_->count.store(bytes, std::memory_order_release);
    entry_->layout.store(
        std::uint64_t{static_cast<std::uint32_t>(to)} << 32 | static_cast<std::uint32_t>(from),
        std::memory_order_release);
  }

  /// The host has queued all pieces of the call.
  void close() noexcept {
    if (entry_ == nullptr) return;
    const std::uint64_t open = entry_->extent.load(std::memory_order_relaxed);
    entry_->extent.store(open | (pieces_ + 1), std::memory_order_release);
    entry_ = nullptr;
  }

 private:
  detail::flight_entry* entry_ = nullptr;
  std::uint64_t pieces_ = 0;
};

namespace detail {

// The last calls of one rank. Its host alone issues; all else may happen on any thread. A call that
// is under way keeps its entry, however many follow, because who waits for ever is of interest.
class alignas(128) flight_ring {
 public:
  explicit flight_ring(std::size_t entries)
      : size_(entries), entries_(std::make_unique<flight_entry[]>(entries)) {}

  [[nodiscard]] flight_entry* issue(std::uint64_t group, std::uint64_t sequence,
                                    std::uint64_t collective, const operation& op,
                                    bool on_host) noexcept {
    for (std::size_t tries = 0; tries < size_; ++tries) {
      flight_entry& e = entries_[next_];
      if (++next_ == size_) next_ = 0;
      if (e.guard.load(std::memory_order_relaxed) != 0 && !e.completed()) continue;
      constexpr auto release = std::memory_order_release;
      ++issued_;
      e.guard.store(2 * issued_ - 1, release);
      e.place.store(group << 44 | (sequence & 0xfff'ffff'ffffU), release);
      e.what.store(std::uint64_t{static_cast<std::uint32_t>(op.root)} << 32 |
                       std::uint64_t{op.in_rank_order} << 17 | std::uint64_t{on_host} << 16 |
                       std::uint64_t{static_cast<std::uint8_t>(op.type)} << 8 |
                       static_cast<std::uint8_t>(op.kind),
                   release);
      e.count.store(op.count, release);
      e.layout.store(is_collective(op.kind) ? op.layout : UINT64_MAX, release);
      e.reduction.store(op.reduction, release);
      e.progress.store(0, release);
      e.extent.store(collective << 24, release);
      e.guard.store(2 * issued_, release);
      return &e;
    }
    return nullptr;
  }

  // The records, sorted by order; those that change meanwhile are left out.
  [[nodiscard]] std::vector<flight_record> read() const {
    std::vector<flight_record> out;
    for (std::size_t i = 0; i < size_; ++i) {
      const flight_entry& e = entries_[i];
      constexpr auto acquire = std::memory_order_acquire;
      const std::uint64_t guard = e.guard.load(acquire);
      if (guard == 0 || guard % 2 != 0) continue;
      const std::uint64_t place = e.place.load(acquire), what = e.what.load(acquire);
      const std::uint64_t count = e.count.load(acquire), layout = e.layout.load(acquire);
      const char* const reduction = e.reduction.load(acquire);
      const bool begun = e.progress.load(acquire) != 0, completed = e.completed();
      const std::uint64_t collective = e.extent.load(acquire) >> 24;
      if (e.guard.load(acquire) != guard) continue;
      flight_record r{.communicator = place >> 44,
                      .sequence = place & 0xfff'ffff'ffffU,
                      .collective = collective,
                      .op = {.kind = static_cast<operation_kind>(what & 0xffU),
                             .type = static_cast<dtype>(what >> 8 & 0xffU),
                             .reduction = reduction,
                             .in_rank_order = (what >> 17 & 1U) != 0,
                             .root = static_cast<int>(static_cast<std::uint32_t>(what >> 32)),
                             .count = count},
                      .on_host = (what >> 16 & 1U) != 0,
                      .state = completed ? flight_state::completed
                               : begun   ? flight_state::started
                                         : flight_state::issued,
                      .order = guard / 2};
      if (is_collective(r.op.kind)) {
        r.op.layout = layout;
      } else {
        r.to = static_cast<int>(static_cast<std::uint32_t>(layout >> 32));
        r.from = static_cast<int>(static_cast<std::uint32_t>(layout));
      }
      auto at = out.end();
      while (at != out.begin() && at[-1].order > r.order) --at;
      out.insert(at, r);
    }
    return out;
  }

 private:
  std::size_t size_;
  std::unique_ptr<flight_entry[]> entries_;
  std::size_t next_ = 0;
  std::uint64_t issued_ = 0;
};

}  // namespace detail

/// Where one rank writes its calls of one communicator. Its host alone uses it.
class flight_log {
 public:
  /// Records nothing.
  flight_log() = default;
  /// Made by `flight_recorder::log`.
  flight_log(detail::flight_ring& ring, std::shared_ptr<detail::flight_group> group, int rank)
      : ring_(&ring), group_(std::move(group)), rank_(static_cast<std::size_t>(rank)) {}

  /// Records the call `op`, number `sequence` of this rank and communicator. Neither locks nor
  /// allocates. `op.reduction` must live as long as the recorder, as a literal does.
  [[nodiscard]] flight_call issue(const operation& op, std::uint64_t sequence,
                                  bool on_host = false) noexcept {
    if (ring_ == nullptr) return {};
    if (is_collective(op.kind)) {
      group_->collectives[rank_].value.store(++collectives_, std::memory_order_release);
    }
    return flight_call(ring_->issue(group_->number, sequence, collectives_, op, on_host));
  }

 private:
  detail::flight_ring* ring_ = nullptr;
  std::shared_ptr<detail::flight_group> group_;
  std::size_t rank_ = 0;
  std::uint64_t collectives_ = 0;
};

/// The last calls of every rank of a world: what to look at when it has failed. An engine feeds it
/// through `flight_log`; `snapshot` may be called at any time, by any thread.
///
/// Holds 64 bytes for each rank and record. A call costs a few nanoseconds.
class flight_recorder {
 public:
  /// Keeps the last `records` calls of each of `ranks` ranks; 0 for none. Calls under way are kept
  /// before others; where more than `records` are, the later ones are not recorded.
  flight_recorder(int ranks, std::size_t records) : records_(records) {
    if (records == 0) return;
    for (int r = 0; r < ranks; ++r)
      rings_.push_back(std::make_unique<detail::flight_ring>(records));
  }

  /// Makes a communicator known: its number in the world, and its ranks as those of the world.
  [[nodiscard]] std::shared_ptr<detail::flight_group> open(std::uint64_t number,
                                                           std::vector<int> ranks) {
    auto group = std::make_shared<detail::flight_group>(number, std::move(ranks));
    if (records_ == 0) return group;
    const std::lock_guard lock(mutex_);
    // Those that nobody uses any more are of interest as long as calls of them may be recorded.
    std::size_t unused = 0;
    for (const auto& g : groups_) unused += g.use_count() == 1 ? 1U : 0U;
    for (std::size_t i = 0; i < groups_.size() && unused > records_;) {
      if (groups_[i].use_count() == 1) {
        groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(i));
        --unused;
      } else {
        ++i;
      }
    }
    groups_.push_back(group);
    return group;
  }

  /// Where rank `rank` of `group` writes its calls.
  [[nodiscard]] flight_log log(const std::shared_ptr<detail::flight_group>& group, int rank) {
    if (records_ == 0) return {};
    const auto world_rank = static_cast<std::size_t>(group->ranks[static_cast<std::size_t>(rank)]);
    return {*rings_[world_rank], group, rank};
  }

  /// What is recorded now.
  [[nodiscard]] flight_snapshot snapshot() const {
    flight_snapshot out;
    for (const auto& ring : rings_) out.ranks.push_back(ring->read());
    const std::lock_guard lock(mutex_);
    for (const auto& group : groups_) {
      auto& one = out.communicators.emplace_back();
      one.number = group->number;
      one.ranks = group->ranks;
      for (std::size_t r = 0; r < group->ranks.size(); ++r) {
        one.collectives.push_back(group->collectives[r].value.load(std::memory_order_acquire));
      }
    }
    return out;
  }

 private:
  std::size_t records_;
  std::vector<std::unique_ptr<detail::flight_ring>> rings_;
  mutable detail::sync::mutex mutex_;
  std::vector<std::shared_ptr<detail::flight_group>> groups_;
};

}  // namespace rondel
