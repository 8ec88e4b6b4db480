#pragma once
#include <rondel/comm/thread_world.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/seconds.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace rondel::detail {

// One operation as the thread engine runs it: what it is, and which call of its rank.
struct thread_call {
  operation op;
  std::uint64_t sequence = 0;
};

// One message of a batch.
struct thread_message {
  int peer = 0;
  std::byte* data = nullptr;  // read only where it is sent
  std::size_t size = 0;
  std::uint64_t index = 0;  // of its channel, once posted
  enum class state : std::uint8_t { waiting, posted, done } progress = state::waiting;
};

// The ranks of one communicator in one process, and how they meet.
//
// A collective is a meeting: each rank shows what it calls and where its memory lies, waits for
// all, moves its share straight from and to the others' memory, says that it is done, and waits
// for all again, because until then others may read its memory. A message is an entry of the
// channel from its sender to its receiver, who copies it and takes it off.
//
// A rank that gives up fails the world first and then waits until nobody moves data any more;
// who is about to move looks for a failed world after saying so. Hence nobody reads memory
// that its owner has taken back.
class thread_group {
 public:
  // What a rank shows at a meeting.
  struct card {
    operation op;
    const void* in = nullptr;
    void* out = nullptr;
    const void* blocks = nullptr;
  };

  // `ranks[i]` is the rank in the world of rank `i` here.
  thread_group(std::shared_ptr<thread_world> world, std::vector<int> ranks)
      : world_(std::move(world)),
        ranks_(std::move(ranks)),
        seats_(std::make_unique<seat[]>(ranks_.size())),
        host_seats_(std::make_unique<seat[]>(ranks_.size())),
        states_(std::make_unique<state[]>(ranks_.size())),
        channels_(std::make_unique<channel[]>(ranks_.size() * ranks_.size())) {}

  [[nodiscard]] int size() const noexcept { return static_cast<int>(ranks_.size()); }
  [[nodiscard]] thread_world& world() noexcept { return *world_; }
  [[nodiscard]] const std::shared_ptr<thread_world>& shared_world() const noexcept {
    return world_;
  }
  [[nodiscard]] int world_rank(int rank) const noexcept {
    return ranks_[static_cast<std::size_t>(rank)];
  }

  // The rank will make no more calls.
  void leave(int rank) noexcept {
    at(states_, rank).left.store(true, std::memory_order_seq_cst);
    world_->notify();
  }

  // Runs `body` as `call` of `rank`; a failure of it is the world's.
  template <class Body>
  void run(int rank, const thread_call& call, const Body& body) {
    std::atomic<std::uint64_t>& doing = at(states_, rank).doing;
    doing.store(pack(call, true), std::memory_order_relaxed);
    try {
      body();
    } catch (const std::exception& failure) {
      give_up(rank, failure.what());
      throw;
    } catch (...) {
      give_up(rank, concat("an unknown exception in ", describe(call)));
      throw;
    }
    doing.store(pack(call, false), std::memory_order_relaxed);
  }

  // The meeting number `turn` of the device's operations, or of the host's: `move(cards)` runs
  // between the two waits, with all ranks' cards.
  template <class Move>
  void meet(int rank, bool host, std::uint64_t turn, seconds timeout, const thread_call& call,
            const card& mine, const Move& move) {
    seat* const seats = host ? host_seats_.get() : seats_.get();
    seat& own = seats[rank];
    own.shown = mine;
    own.arrived.store(turn, std::memory_order_seq_cst);
    world_->notify();
    for (int peer = 0; peer < size(); ++peer) {
      await(rank, peer, timeout, call,
            [&] { return seats[peer].arrived.load(std::memory_order_seq_cst) >= turn; });
    }
    for (int peer = 0; peer < size(); ++peer) {
      if (!matches(seats[peer].shown.op, mine.op)) throw_mismatch(rank, peer, call, seats);
    }
    moving(rank, call, [&] { move(seats); });
    own.departed.store(turn, std::memory_order_seq_cst);
    world_->notify();
    for (int peer = 0; peer < size(); ++peer) {
      await(rank, peer, timeout, call,
            [&] { return seats[peer].departed.load(std::memory_order_seq_cst) >= turn; });
    }
  }

  // Moves all messages of a batch; returns when the last one, sent or received, is through.
  void exchange(int rank, seconds timeout, const thread_call& call,
                std::vector<thread_message>& sends, std::vector<thread_message>& recvs) {
    std::vector<bool> stalled(ranks_.size());
    const auto done = [&] {
      bool any_left = false;
      bool moved = true;
      while (moved) {
        moved = false;
        any_left = false;
        progress_sends(rank, sends, stalled, moved, any_left);
        progress_recvs(rank, call, recvs, stalled, moved, any_left);
        if (moved) world_->notify();
      }
      return !any_left;
    };
    int left = -1;
    const bool finished = world_->wait(timeout, [&] {
      if (done()) return true;
      left = departed_peer(sends, recvs);
      return left >= 0 && !done();
    });
    if (finished && (left < 0 || done())) return;
    if (world_->failed()) world_->throw_peer_failed(world_rank(rank), describe(call));
    if (left >= 0) throw_left(rank, left, call);
    std::string missing;
    for (const auto* side : {&sends, &recvs}) {
      for (const thread_message& m : *side) {
        if (m.progress == thread_message::state::done) continue;
        missing += concat(missing.empty() ? "" : ", ", side == &sends ? "send of " : "receive of ",
                          m.size, " B ", side == &sends ? "to" : "from", " rank ",
                          world_rank(m.peer), " (", doing_text(m.peer), ")");
      }
    }
    throw_timed_out(rank, timeout, call, missing);
  }

  // Blocks until `ready()`, which is up to `peer`; names it if it does not come.
  template <class Ready>
  void await(int rank, int peer, seconds timeout, const thread_call& call, const Ready& ready) {
    if (ready()) return;
    const std::atomic<bool>& left = at(states_, peer).left;
    const bool done =
        world_->wait(timeout, [&] { return ready() || left.load(std::memory_order_seq_cst); });
    if (done && ready()) return;
    if (world_->failed()) world_->throw_peer_failed(world_rank(rank), describe(call));
    if (done) throw_left(rank, peer, call);
    std::string missing = concat("rank ", world_rank(peer), " is missing (", doing_text(peer), ")");
    throw_timed_out(rank, timeout, call, missing);
  }

  [[nodiscard]] static std::string describe(const thread_call& call) {
    return concat(to_string(call.op), " #", call.sequence);
  }

 private:
  struct alignas(128) seat {
    std::atomic<std::uint64_t> arrived{0};
    std::atomic<std::uint64_t> departed{0};
    card shown;  // written before `arrived`, read until `departed`
  };

  struct alignas(128) state {
    std::atomic<bool> moving{false};
    std::atomic<bool> left{false};
    std::atomic<std::uint64_t> doing{0};  // for messages only
  };

  // A single-producer single-consumer ring of messages on their way.
  struct alignas(128) channel {
    static constexpr std::uint64_t capacity = 4;
    struct entry {
      const std::byte* data = nullptr;
      std::size_t size = 0;
    };
    std::atomic<std::uint64_t> posted{0};
    std::atomic<std::uint64_t> taken{0};
    std::array<entry, capacity> entries;
  };

  template <class T>
  [[nodiscard]] static T& at(const std::unique_ptr<T[]>& items, int i) noexcept {
    return items[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] channel& between(int from, int to) noexcept {
    return at(channels_, from * size() + to);
  }

  [[nodiscard]] static std::uint64_t pack(const thread_call& call, bool inside) noexcept {
    return (std::uint64_t{inside} << 63) | (static_cast<std::uint64_t>(call.op.kind) << 56) |
           (call.sequence & 0xff'ffff'ffff'ffffU);
  }

  // What `rank` is in, or did last.
  [[nodiscard]] std::string doing_text(int rank) const {
    if (at(states_, rank).left.load(std::memory_order_relaxed)) return "it has left";
    const std::uint64_t word = at(states_, rank).doing.load(std::memory_order_relaxed);
    const auto kind = static_cast<operation_kind>((word >> 56) & 0x7fU);
    if (kind == operation_kind::none) return "it has called nothing yet";
    return concat((word >> 63) != 0 ? "it waits in " : "its last call was ", to_string(kind), " #",
                  word & 0xff'ffff'ffff'ffffU);
  }

  template <class F>
  void moving(int rank, const thread_call& call, const F& f) {
    std::atomic<bool>& flag = at(states_, rank).moving;
    flag.store(true, std::memory_order_seq_cst);
    if (world_->failed()) {
      flag.store(false, std::memory_order_release);
      world_->throw_peer_failed(world_rank(rank), describe(call));
    }
    f();
    flag.store(false, std::memory_order_release);
  }

  void give_up(int rank, std::string_view reason) noexcept {
    at(states_, rank).moving.store(false, std::memory_order_release);
    world_->fail(world_rank(rank), reason);
    for (int peer = 0; peer < size(); ++peer) {
      while (at(states_, peer).moving.load(std::memory_order_seq_cst)) {
        std::this_thread::yield();
      }
    }
  }

  void progress_sends(int rank, std::vector<thread_message>& sends, std::vector<bool>& stalled,
                      bool& moved, bool& any_left) {
    stalled.assign(stalled.size(), false);
    for (thread_message& m : sends) {
      if (m.progress == thread_message::state::done) continue;
      channel& c = between(rank, m.peer);
      const auto peer = static_cast<std::size_t>(m.peer);
      if (m.progress == thread_message::state::waiting && !stalled[peer]) {
        const std::uint64_t posted = c.posted.load(std::memory_order_relaxed);
        if (posted - c.taken.load(std::memory_order_acquire) < channel::capacity) {
          c.entries[posted % channel::capacity] = {m.data, m.size};
          m.index = posted;
          m.progress = thread_message::state::posted;
          c.posted.store(posted + 1, std::memory_order_seq_cst);
          moved = true;
        }
      }
      if (m.progress == thread_message::state::posted &&
          c.taken.load(std::memory_order_seq_cst) > m.index) {
        m.progress = thread_message::state::done;
        moved = true;
        continue;
      }
      if (m.progress == thread_message::state::waiting) stalled[peer] = true;
      any_left = true;
    }
  }

  void progress_recvs(int rank, const thread_call& call, std::vector<thread_message>& recvs,
                      std::vector<bool>& stalled, bool& moved, bool& any_left) {
    stalled.assign(stalled.size(), false);
    for (thread_message& m : recvs) {
      if (m.progress == thread_message::state::done) continue;
      channel& c = between(m.peer, rank);
      const auto peer = static_cast<std::size_t>(m.peer);
      const std::uint64_t taken = c.taken.load(std::memory_order_relaxed);
      if (stalled[peer] || c.posted.load(std::memory_order_seq_cst) == taken) {
        stalled[peer] = true;
        any_left = true;
        continue;
      }
      const channel::entry e = c.entries[taken % channel::capacity];
      if (e.size != m.size) {
        throw mismatched_operation(
            concat("rank ", world_rank(rank), " in ", describe(call), ": rank ", world_rank(m.peer),
                   " sends ", e.size, " B where ", m.size, " B are expected"),
            world_rank(rank));
      }
      moving(rank, call, [&] {
        if (e.size != 0) std::memcpy(m.data, e.data, e.size);
      });
      c.taken.store(taken + 1, std::memory_order_seq_cst);
      m.progress = thread_message::state::done;
      moved = true;
    }
  }

  // A peer of an unfinished message that has left, or -1.
  [[nodiscard]] int departed_peer(const std::vector<thread_message>& sends,
                                  const std::vector<thread_message>& recvs) const noexcept {
    for (const auto* side : {&sends, &recvs}) {
      for (const thread_message& m : *side) {
        if (m.progress != thread_message::state::done &&
            at(states_, m.peer).left.load(std::memory_order_seq_cst)) {
          return m.peer;
        }
      }
    }
    return -1;
  }

  [[noreturn]] void throw_mismatch(int rank, int peer, const thread_call& call,
                                   const seat* seats) const {
    throw mismatched_operation(
        concat("rank ", world_rank(rank), " calls ", describe(call), " while rank ",
               world_rank(peer), " calls ", to_string(seats[peer].shown.op)),
        world_rank(rank));
  }

  [[noreturn]] void throw_left(int rank, int peer, const thread_call& call) {
    world_->fail(world_rank(peer), "it has left the communicator");
    throw peer_failed(concat("rank ", world_rank(rank), " in ", describe(call), ": rank ",
                             world_rank(peer), " has left the communicator"),
                      world_rank(rank), world_rank(peer));
  }

  [[noreturn]] void throw_timed_out(int rank, seconds timeout, const thread_call& call,
                                    const std::string& missing) const {
    std::string all;
    for (int r = 0; r < size(); ++r) {
      if (r != rank) all += concat("; rank ", world_rank(r), ": ", doing_text(r));
    }
    throw timed_out(concat("rank ", world_rank(rank), " in ", describe(call), " waited ",
                           timeout.value, " s: ", missing, all),
                    world_rank(rank));
  }

  std::shared_ptr<thread_world> world_;
  std::vector<int> ranks_;
  std::unique_ptr<seat[]> seats_, host_seats_;
  std::unique_ptr<state[]> states_;
  std::unique_ptr<channel[]> channels_;
};

}  // namespace rondel::detail
