#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/seconds.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace rondel::detail {

inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// What all communicators that come from one launch share: who failed first, and the place
// where ranks sleep when spinning and yielding did not help.
class thread_world {
 public:
  // More ranks than cores must not spin: the one waited for needs the core.
  explicit thread_world(int ranks) noexcept
      : spins_(static_cast<unsigned>(ranks) <= std::thread::hardware_concurrency() ? 2000 : 0) {}

  [[nodiscard]] bool failed() const noexcept { return failed_.load(std::memory_order_seq_cst); }

  // Keeps the first failure; later ones are its consequences.
  void fail(int rank, std::string_view reason) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (!failed_.load(std::memory_order_relaxed)) {
        first_rank_ = rank;
        try {
          first_reason_ = reason;
        } catch (...) {
          first_reason_.clear();
        }
        failed_.store(true, std::memory_order_seq_cst);
      }
    }
    condition_.notify_all();
  }

  // Throws as rank `rank`, which is in `operation`. Only after `failed()`.
  [[noreturn]] void throw_peer_failed(int rank, std::string_view operation) {
    const std::lock_guard lock(mutex_);
    throw peer_failed(concat("rank ", rank, " in ", operation, ": rank ", first_rank_,
                             " failed first: ", first_reason_),
                      rank, first_rank_);
  }

  // The rank that failed first, -1 if none did.
  [[nodiscard]] int first_failed() noexcept {
    const std::lock_guard lock(mutex_);
    return first_rank_;
  }

  // Wakes whoever sleeps. Follows each change that a peer may wait for; that change and the
  // load here are sequentially consistent, as are their counterparts in `wait`, so one of the
  // two sides sees the other.
  void notify() noexcept {
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
      { const std::lock_guard lock(mutex_); }
      condition_.notify_all();
    }
  }

  // Returns true once `ready()`, false when the world failed or `timeout` passed before.
  template <class Ready>
  [[nodiscard]] bool wait(seconds timeout, const Ready& ready) {
    for (int i = 0; i < spins_; ++i) {
      if (ready()) return true;
      pause();
    }
    using clock = std::chrono::steady_clock;
    const auto start = clock::now();
    for (int i = 0; i < 100; ++i) {
      if (ready()) return true;
      if (failed()) return ready();
      std::this_thread::yield();
    }
    for (;;) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      bool done = ready();
      if (!done && !failed()) {
        std::unique_lock lock(mutex_);
        condition_.wait_for(lock, nap);
        lock.unlock();
        done = ready();
      }
      sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      if (done) return true;
      if (failed() || std::chrono::duration<double>(clock::now() - start).count() > timeout.value) {
        return ready();
      }
    }
  }

 private:
  // A change between the last look and the sleep costs at most this; it is also how soon a
  // sleeper sees a deadline.
  static constexpr std::chrono::microseconds nap{500};

  int spins_;
  std::atomic<bool> failed_{false};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable condition_;
  int first_rank_ = -1;
  std::string first_reason_;
};

}  // namespace rondel::detail
