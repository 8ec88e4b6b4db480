#pragma once
#include <rondel/core/sync.hpp>

#include <chrono>
#include <random>
#include <thread>

namespace test {

// A short spin, a yield, or a short sleep: what makes the other side of a hand-over sleep, wake or
// stay awake.
inline void random_pause(std::mt19937_64& random) {
  switch (random() % 16) {
    case 0:
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
      break;
    case 1:
    case 2:
      std::this_thread::yield();
      break;
    default:
      for (auto i = random() % 64; i > 0; --i) rondel::detail::sync::pause();
  }
}

}  // namespace test
