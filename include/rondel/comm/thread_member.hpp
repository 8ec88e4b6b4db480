#pragma once
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/seconds.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace rondel::detail {

// A rank's side of a communicator. Queued work shares it, so the communicator may be moved.
struct thread_member {
  thread_member(std::shared_ptr<thread_group> g, int r, seconds t)
      : group(std::move(g)), rank(r), timeout(t) {}
  thread_member(const thread_member&) = delete;
  thread_member& operator=(const thread_member&) = delete;
  // When an exception takes the communicator away, whoever handles it tells the peers why.
  ~thread_member() {
    if (std::uncaught_exceptions() == 0) group->leave(rank);
  }

  std::shared_ptr<thread_group> group;
  int rank;
  seconds timeout;
  thread_call current;                   // between begin and end
  std::uint64_t calls = 0;               // begun
  std::uint64_t meetings = 0;            // of the device's operations
  std::uint64_t host_meetings = 0;       // of the host's
  std::uint64_t tickets = 0;             // pieces of work queued
  std::atomic<std::uint64_t> served{0};  // pieces of work done
};

}  // namespace rondel::detail
