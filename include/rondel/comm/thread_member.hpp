#pragma once
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/core/text.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace rondel::detail {

// A rank's side of a communicator. Queued work shares it, so the communicator may be moved. Each
// call writes to it, so it keeps to cache lines of its own.
struct alignas(128) thread_member {
  thread_member(std::shared_ptr<thread_group> g, int r, seconds t)
      : group(std::move(g)), rank(r), timeout(t), log(group->log(r)) {
    current.rank = r;
  }
  thread_member(const thread_member&) = delete;
  thread_member& operator=(const thread_member&) = delete;
  ~thread_member() { group->leave(rank, unwound.load()); }

  // Meets the other ranks' hosts; `in` is shown to them.
  template <class Move>
  void meet_hosts(const operation& op, const thread_input& in, const Move& move) {
    thread_call call{rank, true, op, ++calls, {timeout}};
    group->run(call, [&] {
      group->check_world(call);
      flight_call made = log.issue(op, calls, true);
      const flight_piece piece = made.piece();
      made.close();
      piece.start();
      group->meet(call, ++host_meetings, in, nullptr, {}, move);
      piece.finish();
    });
  }

  // Records the messages of the current call, unless they are a collective's; returns the bytes
  // that come in.
  [[nodiscard]] std::size_t note_messages(const std::vector<thread_message>& sends,
                                          const std::vector<thread_message>& recvs) const noexcept {
    const auto peer = [](const std::vector<thread_message>& messages) {
      return messages.empty() ? -1 : messages.size() == 1 ? messages[0].peer : -2;
    };
    std::size_t bytes = 0;
    for (const thread_message& m : recvs) bytes += m.size;
    if (!is_collective(current.op.kind)) flight.messages(peer(sends), peer(recvs), bytes);
    return bytes;
  }

  std::shared_ptr<thread_group> group;
  int rank;
  seconds timeout;
  flight_log log;
  flight_call flight;                     // of the current call
  thread_call current;                    // between begin and end
  sync::atomic<bool> unwound{false};      // taken away by an exception
  std::uint64_t calls = 0;                // begun
  std::uint64_t meetings = 0;             // of the device's operations
  std::uint64_t host_meetings = 0;        // of the host's
  std::uint64_t tickets = 0;              // pieces of work queued
  sync::atomic<std::uint64_t> served{0};  // pieces of work done
};

// The current call of a member on its way through a stream: a copy of it, or a reference where the
// caller waits. If the stream fails first and drops it, the peers wait for nothing, so its end
// without having run is the world's failure.
template <class Call>
class pending_call {
 public:
  // With `must_run` false, for devices that run nothing, its end means nothing.
  pending_call(thread_member& member, bool must_run) noexcept
      : member_(&member),
        call_(member.current),
        flight_(member.flight.piece()),
        must_run_(must_run) {
    call_.left.timeout = member.timeout;
    if (!must_run) flight_.finish();
  }
  pending_call(pending_call&& other) noexcept
      : member_(other.member_),
        call_(other.call_),
        flight_(other.flight_),
        must_run_(std::exchange(other.must_run_, false)) {}
  pending_call& operator=(pending_call&&) = delete;
  ~pending_call() {
    if (!must_run_) return;
    thread_world& world = member_->group->world();
    const int rank = member_->group->world_rank(member_->rank);
    try {
      world.fail(rank, concat("its stream failed before ", thread_group::describe(call_), ": ",
                              world.stream_failure(rank)));
    } catch (...) {
      world.fail(rank, "its stream failed");
    }
  }

  // The call runs now, `body(group, call)`, when all earlier ones of its communicator have. Their
  // deadlines end this wait; one of its own would name the wrong call, or none that waits for
  // peers.
  template <class Body>
  void run(std::uint64_t ticket, Body& body) {
    must_run_ = false;
    thread_group& group = *member_->group;
    group.run(call_, [&] {
      const auto has_turn = [&] {
        return member_->served.load(std::memory_order_seq_cst) == ticket;
      };
      patience forever{{1e9}};
      if (!has_turn() && !group.world().wait(forever, has_turn)) group.check_world(call_);
      flight_.start();
      body(group, call_);
      flight_.finish();
    });
  }

 private:
  thread_member* member_;
  Call call_;
  flight_piece flight_;
  bool must_run_;
};

// A pending call that outlives the communicator's own share of the member.
struct queued_call {
  std::shared_ptr<thread_member> member;
  pending_call<thread_call> call;
};

}  // namespace rondel::detail
