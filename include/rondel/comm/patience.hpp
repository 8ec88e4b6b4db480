#pragma once
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>

namespace rondel::detail {

// How long one call may still wait. The clock starts with the first wait that takes time, so
// calls whose peers are there do not read it.
struct patience {
  using clock = sync::clock;

  seconds timeout;
  clock::time_point end{};
  bool started = false;

  void start() noexcept {
    if (started) return;
    started = true;
    // What a clock cannot count to is longer than anybody waits.
    const double bounded = timeout.value < 1e9 ? timeout.value : 1e9;
    end = clock::now() +
          std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(bounded));
  }
};

}  // namespace rondel::detail
