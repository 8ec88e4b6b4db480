#pragma once
#include <rondel/comm/thread_call.hpp>
#include <rondel/comm/thread_seat.hpp>
#include <rondel/comm/thread_world.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/sync.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel::detail {

// The ranks of one communicator in one process, and how they meet.
//
// A collective is a meeting: each rank shows what it calls and where its memory lies, waits for
// all, moves its share straight from and to the others' memory, says that it is done, and waits
// for all again, because until then others may read its memory. Small inputs are shown as copies,
// which saves the second wait. A message is an entry of the channel from its sender to its
// receiver, who copies it and takes it off.
//
// A rank that gives up fails the world first and then waits until nobody moves data any more;
// who is about to move looks for a failed world after saying so. Hence nobody reads memory
// that its owner has taken back.
class thread_group {
 public:
  // `ranks[i]` is the rank in the world of rank `i` here.
  thread_group(std::shared_ptr<thread_world> world, std::vector<int> ranks)
      : world_(std::move(world)),
        number_(world_->next_group()),
        ranks_(std::move(ranks)),
        flights_(world_->recorder().open(number_, ranks_)),
        seats_(std::make_unique<thread_seat[]>(ranks_.size())),
        host_seats_(std::make_unique<thread_seat[]>(ranks_.size())),
        states_(std::make_unique<state[]>(ranks_.size())),
        ports_(ranks_.size()),
        channels_(std::make_unique<channel[]>(ranks_.size() * ranks_.size())) {}

  [[nodiscard]] int size() const noexcept { return static_cast<int>(ranks_.size()); }
  [[nodiscard]] thread_world& world() noexcept { return *world_; }
  [[nodiscard]] const std::shared_ptr<thread_world>& shared_world() const noexcept {
    return world_;
  }
  [[nodiscard]] int world_rank(int rank) const noexcept {
    return ranks_[static_cast<std::size_t>(rank)];
  }

  // What the ranks of some device need of each other beside their cards, kept as long as the
  // group. A rank lends its own before its first operation, and looks only at those of ranks that
  // it has met.
  void lend(int rank, std::shared_ptr<void> port) noexcept {
    ports_[static_cast<std::size_t>(rank)] = std::move(port);
  }
  [[nodiscard]] void* port(int rank) const noexcept {
    return ports_[static_cast<std::size_t>(rank)].get();
  }

  // Where `rank` records its calls.
  [[nodiscard]] flight_log log(int rank) { return world_->recorder().log(flights_, rank); }

  // The rank will make no more calls: by its own will, or because an exception took its
  // communicator away, which whoever handles that exception may yet explain.
  void leave(int rank, bool unwound) noexcept {
    if (world_->doing(world_rank(rank)).silent.load(std::memory_order_relaxed)) return;
    at(states_, rank).presence.store(unwound ? unwound_away : left_away, std::memory_order_seq_cst);
    world_->notify();
  }

  // Runs `body` as `call`; a failure of it is the world's.
  template <class Body>
  void run(const thread_call& call, const Body& body) {
    auto& doing = world_->doing(world_rank(call.rank));
    const std::uint64_t word = rank_activity::pack(number_, call);
    doing.enter(word, call.host);
    try {
      body();
    } catch (const std::exception& failure) {
      give_up(call.rank, failure.what());
      throw;
    } catch (...) {
      give_up(call.rank, "an exception that is no std::exception");
      throw;
    }
    doing.leave(word, call.host);
  }

  // The meeting number `turn` of the streams' operations, or of the hosts'. `move(peers)` runs
  // once all are there, `peers(r)` being the card of rank `r`.
  template <class Move>
  void meet(thread_call& call, std::uint64_t turn, const thread_input& in, void* out,
            const block_view& blocks, const Move& move) {
    check_world(call);  // or a slower peer may still look at the card of a failed meeting
    thread_seat* const seats = call.host ? host_seats_.get() : seats_.get();
    thread_seat& own = seats[call.rank];
    thread_seat::place& shown = own.of(turn);
    const bool copied = in.is_copied();
    if (copied) shown.copy(in);
    const thread_card mine{call.op, in.data, out, blocks};
    const thread_card* const own_card = &mine;
    shown.card = {call.op, copied ? shown.copied.data() : in.data, out, blocks};
    shown.turn.store(turn, std::memory_order_seq_cst);
    world_->notify();
    const auto each_peer = [&](const auto& f) {
      for (int peer = 0; peer < size(); ++peer) {
        if (peer != call.rank) f(peer);
      }
    };
    each_peer([&](int peer) {
      await(call, peer,
            [&] { return seats[peer].of(turn).turn.load(std::memory_order_seq_cst) >= turn; });
    });
    if (copied) own.of(turn + 1).prefetch(in);
    // A rank reads its own memory, not the copy, whose cache lines are on their way to peers.
    const auto peers = [&](auto r) -> const thread_card& {
      if (std::cmp_equal(r, call.rank)) return *own_card;
      return seats[r].of(turn).card;
    };
    each_peer([&](int peer) {
      if (!matches(peers(peer).op, call.op)) throw_mismatch(call, peer, peers(peer));
    });
    if (copied) return move(peers);
    moving(call, [&] { move(peers); });
    own.departed.store(turn, std::memory_order_seq_cst);
    world_->notify();
    each_peer([&](int peer) {
      await(call, peer,
            [&] { return seats[peer].departed.load(std::memory_order_seq_cst) >= turn; });
    });
  }

  // Moves all messages of a batch, those that come in by `carry(to, from, size, peer)`; returns
  // when the last one, sent or received, is through.
  template <class Carry = carry_on_host>
  void exchange(thread_call& call, std::vector<thread_message>& sends,
                std::vector<thread_message>& recvs, const Carry& carry = {}) {
    std::vector<bool> stalled(ranks_.size());
    const auto done = [&] {
      bool any_left = false;
      bool moved = true;
      while (moved) {
        moved = false;
        any_left = false;
        progress_sends(call, sends, stalled, moved, any_left);
        progress_recvs(call, recvs, carry, stalled, moved, any_left);
        if (moved) world_->notify();
      }
      return !any_left;
    };
    int gone = -1;
    (void)world_->wait(call.left, [&] {
      if (done()) return true;
      gone = departed_peer(sends, recvs);
      return gone >= 0;
    });
    if (done()) return;
    if (gone >= 0) throw_gone(call, gone, done);
    if (done()) return;
    check_world(call);
    std::string missing;
    for (const auto* side : {&sends, &recvs}) {
      for (const thread_message& m : *side) {
        if (m.progress == thread_message::state::done) continue;
        missing +=
            concat(missing.empty() ? "" : ", ", side == &sends ? "send of " : "receive of ", m.size,
                   " B ", side == &sends ? "to" : "from", " rank ", world_rank(m.peer));
      }
    }
    throw_timed_out(call, missing);
  }

  // Blocks until `ready()`, which is up to `peer`; names it if it does not come.
  template <class Ready>
  void await(thread_call& call, int peer, const Ready& ready) {
    if (ready()) return;
    const sync::atomic<presence_state>& presence = at(states_, peer).presence;
    (void)world_->wait(
        call.left, [&] { return ready() || presence.load(std::memory_order_seq_cst) != present; });
    if (ready()) return;
    if (presence.load(std::memory_order_seq_cst) != present) throw_gone(call, peer, ready);
    if (ready()) return;
    check_world(call);
    throw_timed_out(call, concat("rank ", world_rank(peer), " is missing"));
  }

  // Throws what `call` ends with if the world has failed.
  void check_world(const thread_call& call) {
    if (world_->failed()) world_->throw_peer_failed(world_rank(call.rank), describe(call));
  }

  [[nodiscard]] static std::string describe(const thread_call& call) {
    return concat(to_string(call.op), " #", call.sequence);
  }

 private:
  enum presence_state : std::uint8_t { present, left_away, unwound_away };

  struct alignas(128) state {
    sync::atomic<int> moving{0};  // the rank's host and its streams may move at the same time
    sync::atomic<presence_state> presence{present};
  };

  // A single-producer single-consumer ring of messages on their way.
  struct alignas(128) channel {
    static constexpr std::uint64_t capacity = 4;
    struct entry {
      const std::byte* data = nullptr;
      std::size_t size = 0;
    };
    sync::atomic<std::uint64_t> posted{0};
    sync::atomic<std::uint64_t> taken{0};
    std::array<sync::plain<entry>, capacity> entries;
  };

  template <class T>
  [[nodiscard]] static T& at(const std::unique_ptr<T[]>& items, int i) noexcept {
    return items[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] channel& between(int from, int to) noexcept {
    return at(channels_, from * size() + to);
  }

  // What rank `rank` of the world is in, or did last.
  [[nodiscard]] std::string doing_text(int rank) const {
    for (int r = 0; r < size(); ++r) {
      if (world_rank(r) == rank &&
          at(states_, r).presence.load(std::memory_order_relaxed) != present) {
        return "it has left";
      }
    }
    return world_->doing(rank).text();
  }

  template <class F>
  void moving(const thread_call& call, const F& f) {
    struct mover {
      explicit mover(sync::atomic<int>& count) noexcept : count_(count) {
        count_.fetch_add(1, std::memory_order_seq_cst);
      }
      mover(const mover&) = delete;
      mover& operator=(const mover&) = delete;
      ~mover() { count_.fetch_sub(1, std::memory_order_release); }
      sync::atomic<int>& count_;
    };
    const mover counted(at(states_, call.rank).moving);
    check_world(call);
    f();
  }

  void give_up(int rank, std::string_view reason) noexcept {
    world_->fail(world_rank(rank), reason);
    for (int peer = 0; peer < size(); ++peer) {
      while (at(states_, peer).moving.load(std::memory_order_seq_cst) != 0) {
        sync::yield();
      }
    }
  }

  void progress_sends(const thread_call& call, std::vector<thread_message>& sends,
                      std::vector<bool>& stalled, bool& moved, bool& any_left) {
    stalled.assign(stalled.size(), false);
    for (thread_message& m : sends) {
      if (m.progress == thread_message::state::done) continue;
      channel& c = between(call.rank, m.peer);
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

  template <class Carry>
  void progress_recvs(const thread_call& call, std::vector<thread_message>& recvs,
                      const Carry& carry, std::vector<bool>& stalled, bool& moved, bool& any_left) {
    stalled.assign(stalled.size(), false);
    for (thread_message& m : recvs) {
      if (m.progress == thread_message::state::done) continue;
      channel& c = between(m.peer, call.rank);
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
            concat("rank ", world_rank(call.rank), " in ", describe(call), ": rank ",
                   world_rank(m.peer), " sends ", e.size, " B where ", m.size, " B are expected"),
            world_rank(call.rank));
      }
      moving(call, [&] {
        if (e.size != 0) carry(m.data, e.data, e.size, m.peer);
      });
      c.taken.store(taken + 1, std::memory_order_seq_cst);
      m.progress = thread_message::state::done;
      moved = true;
    }
  }

  // A peer of an unfinished message that is gone, or -1.
  [[nodiscard]] int departed_peer(const std::vector<thread_message>& sends,
                                  const std::vector<thread_message>& recvs) const noexcept {
    for (const auto* side : {&sends, &recvs}) {
      for (const thread_message& m : *side) {
        if (m.progress != thread_message::state::done &&
            at(states_, m.peer).presence.load(std::memory_order_seq_cst) != present) {
          return m.peer;
        }
      }
    }
    return -1;
  }

  [[noreturn]] void throw_mismatch(const thread_call& call, int peer,
                                   const thread_card& theirs) const {
    throw mismatched_operation(
        concat("rank ", world_rank(call.rank), " calls ", describe(call), " while rank ",
               world_rank(peer), " calls ", to_string(theirs.op)),
        world_rank(call.rank));
  }

  // Ends `call`, which waits for a peer that is gone, unless it is `ready()` after all. A peer
  // that an exception took away gets a moment for its words.
  template <class Ready>
  void throw_gone(thread_call& call, int peer, const Ready& ready) {
    const bool unwound = at(states_, peer).presence.load(std::memory_order_seq_cst) == unwound_away;
    patience grace{{0.1}};
    if (unwound && world_->wait(grace, ready)) return;
    if (ready()) return;
    check_world(call);
    world_->fail(world_rank(peer), unwound ? "an exception has taken its communicator away"
                                           : "it has left the communicator");
    throw peer_failed(concat("rank ", world_rank(call.rank), " in ", describe(call), ": rank ",
                             world_rank(peer), " has left the communicator"),
                      world_rank(call.rank), world_rank(peer));
  }

  [[noreturn]] void throw_timed_out(const thread_call& call, const std::string& missing) const {
    std::string all;
    for (int r = 0; r < world_->ranks(); ++r) {
      if (r != world_rank(call.rank)) all += concat("; rank ", r, ": ", doing_text(r));
    }
    throw timed_out(concat("rank ", world_rank(call.rank), " in ", describe(call), " waited ",
                           call.left.timeout.value, " s: ", missing, all),
                    world_rank(call.rank));
  }

  std::shared_ptr<thread_world> world_;
  std::uint64_t number_;
  std::vector<int> ranks_;
  std::shared_ptr<flight_group> flights_;
  std::unique_ptr<thread_seat[]> seats_, host_seats_;
  std::unique_ptr<state[]> states_;
  std::vector<std::shared_ptr<void>> ports_;
  std::unique_ptr<channel[]> channels_;
};

}  // namespace rondel::detail
