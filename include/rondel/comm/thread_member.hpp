#pragma once
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/core/text.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace rondel::detail {

// A rank's side of a communicator. Queued work shares it, so the communicator may be moved.
struct thread_member {
  thread_member(std::shared_ptr<thread_group> g, int r, seconds t)
      : group(std::move(g)), rank(r), timeout(t) {}
  thread_member(const thread_member&) = delete;
  thread_member& operator=(const thread_member&) = delete;
  ~thread_member() { group->leave(rank, unwound.load()); }

  std::shared_ptr<thread_group> group;
  int rank;
  seconds timeout;
  thread_call current;                    // between begin and end
  sync::atomic<bool> unwound{false};      // taken away by an exception
  std::uint64_t calls = 0;                // begun
  std::uint64_t meetings = 0;             // of the device's operations
  std::uint64_t host_meetings = 0;        // of the host's
  std::uint64_t tickets = 0;              // pieces of work queued
  sync::atomic<std::uint64_t> served{0};  // pieces of work done
};

// A call that a stream has queued. If the stream fails first and drops it, the peers wait for
// nothing, so its end without having run is the world's failure.
class queued_call {
 public:
  // With `must_run` false, for devices that run nothing, its end means nothing.
  queued_call(std::shared_ptr<thread_member> member, const thread_call& call, bool must_run)
      : member_(std::move(member)), call_(call), must_run_(must_run) {}
  queued_call(queued_call&&) noexcept = default;
  queued_call& operator=(queued_call&&) = delete;
  ~queued_call() {
    if (member_ == nullptr || !must_run_) return;
    thread_world& world = member_->group->world();
    const int rank = member_->group->world_rank(member_->rank);
    try {
      world.fail(rank, concat("its stream failed before ", thread_group::describe(call_), ": ",
                              world.stream_failure(rank)));
    } catch (...) {
      world.fail(rank, "its stream failed");
    }
  }

  // The call runs now.
  [[nodiscard]] thread_member& enter() noexcept {
    must_run_ = false;
    return *member_;
  }

 private:
  std::shared_ptr<thread_member> member_;
  thread_call call_;
  bool must_run_;
};

}  // namespace rondel::detail
