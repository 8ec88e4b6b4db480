#pragma once
#include <atomic>
#include <condition_variable>  // also the clocks, at a third of the cost of <chrono>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <thread>

// What the protocols between threads use of the standard library. They name it from here, so that
// a test can put a header of the same name before this one, with threads, atomics and clocks that
// a model checker drives, and run the very code that ships.
namespace rondel::detail::sync {

template <class T>
using atomic = std::atomic<T>;
using std::condition_variable;
using std::lock_guard;
using std::mutex;
using std::thread;
using std::unique_lock;

// What is no atomic itself, and threads hand to each other by one of the above.
template <class T>
using plain = T;
// Copies such memory of a user. No size is 0.
inline void copy(void* to, const void* from, std::size_t size) noexcept {
  std::memcpy(to, from, size);
}

using clock = std::chrono::steady_clock;

// How often a wait looks before it yields, where every thread has a core, and before it sleeps.
inline constexpr int spins = 500;
inline constexpr int yields = 100;

inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
inline void yield() noexcept { std::this_thread::yield(); }
template <class Rep, class Period>
void sleep_for(const std::chrono::duration<Rep, Period>& time) {
  std::this_thread::sleep_for(time);
}

}  // namespace rondel::detail::sync
