#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/concepts.hpp>

#include <atomic>
#include <cstdint>

namespace rondel::detail {

// What a device holds and has launched. Its buffers share it, because they may outlive it. Each
// launch writes to it, so it keeps to cache lines of its own.
class alignas(128) device_account {
 public:
  device_account(int rank, std::uint64_t limit) noexcept : rank_(rank), limit_(limit) {}

  // Makes `bytes` live, if the limit allows it. Follow with `allocated` once they are there, or
  // with `release` if they cannot be had.
  void reserve(std::uint64_t bytes) {
    std::uint64_t live = live_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ || live > limit_ - bytes) throw out_of_memory(rank_, bytes, live, limit_);
    } while (!live_.compare_exchange_weak(live, live + bytes, std::memory_order_relaxed));
  }

  // Counts one allocation, whose bytes are live already.
  void allocated() noexcept {
    const std::uint64_t live = live_.load(std::memory_order_relaxed);
    std::uint64_t peak = peak_.load(std::memory_order_relaxed);
    while (peak < live && !peak_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
    allocations_.fetch_add(1, std::memory_order_relaxed);
  }

  void release(std::uint64_t bytes) noexcept { live_.fetch_sub(bytes, std::memory_order_relaxed); }

  // One thread at a time launches, so nothing need be locked against another's addition.
  void launched(const work& w) noexcept {
    add(launches_, std::uint64_t{1});
    add(flops_, w.flops);
    add(read_, w.bytes_read);
    add(written_, w.bytes_written);
  }

  [[nodiscard]] memory_usage memory() const noexcept {
    return {live_.load(std::memory_order_relaxed), peak_.load(std::memory_order_relaxed), limit_,
            allocations_.load(std::memory_order_relaxed)};
  }

  void reset_peak() noexcept {
    peak_.store(live_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  [[nodiscard]] work_total work_done() const noexcept {
    return {launches_.load(std::memory_order_relaxed), flops_.load(std::memory_order_relaxed),
            read_.load(std::memory_order_relaxed), written_.load(std::memory_order_relaxed)};
  }

  [[nodiscard]] int rank() const noexcept { return rank_; }

 private:
  template <class T>
  static void add(std::atomic<T>& sum, T x) noexcept {
    sum.store(sum.load(std::memory_order_relaxed) + x, std::memory_order_relaxed);
  }

  int rank_;
  std::uint64_t limit_;
  std::atomic<std::uint64_t> live_{0}, peak_{0}, allocations_{0};
  std::atomic<std::uint64_t> launches_{0}, read_{0}, written_{0};
  std::atomic<double> flops_{0};
};

inline void check_copy(const char* what, std::size_t to, std::size_t from) {
  if (to != from) {
    throw invalid_argument(
        concat("stream::", what, ": ", from, " bytes do not fit a destination of ", to, " bytes"));
  }
}

}  // namespace rondel::detail
