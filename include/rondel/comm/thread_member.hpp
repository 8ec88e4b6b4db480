#pragma once
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>

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

}  // namespace rondel::detail
