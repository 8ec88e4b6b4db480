#pragma once
// Runs programs and tells how each rank ended.
#include "model.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace programs {

// How a rank's part of a program ended.
struct ending {
  std::string kind =
      "ended";             // or the name of the exception; "left", "vanished", "stayed", "failed"
  std::string text;        // its words
  int reporter = -1;       // the rank that it says it is, -1 where it says none
  int named = -1;          // the rank that it says failed first, -1 where it says none
  double at = 0;           // when, in seconds after the fault
  std::uint64_t live = 0;  // bytes of its device that were not given back
  std::vector<std::string> wrong;  // results that are not those expected

  // Whether it is an error that the library reports of other ranks.
  [[nodiscard]] bool told() const {
    return kind == "peer_failed" || kind == "timed_out" || kind == "mismatched_operation";
  }
};

// Runs `p`, and compares the results of the ranks that ended with `right`, if it is given. A
// program that does not come to an end within `patience` seconds ends the process, with `name` as
// its last words.
[[nodiscard]] std::vector<ending> run(const program& p, const expectation* right,
                                      const std::string& name, double patience = 100);

// The value of an environment variable, or `otherwise`.
[[nodiscard]] double setting(const char* name, double otherwise);

// Calls `work(i)` for i = 0, 1, ... on `threads` threads, until it returns false.
template <class Work>
void in_parallel(int threads, const Work& work) {
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> over{false};
  std::vector<std::jthread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&] {
      while (!over) {
        if (!work(next++)) over = true;
      }
    });
  }
}

}  // namespace programs
