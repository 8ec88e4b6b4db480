#pragma once
#include "strategy.hpp"
#include "vector_clock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace model {

// An atomic object: all that was ever stored in it, and who has seen what of it.
//
// The modification order is the order in which the stores are executed. A load may return every
// value that coherence allows: none that is older than what happens before the load, or than
// what a read that happens before the load has returned. A read-modify-write takes the newest.
// The total order of the sequentially consistent operations is that of their execution, so such
// a load returns nothing older than what an earlier one of them stored or returned. All this is
// allowed by C++20. What C++ allows beyond it, and is not tried: loads that return what is stored
// later, and modification orders against the order of execution.
class location {
 public:
  // Begins anew with `bits`, as the current operation of `thread`.
  void reset(std::uint64_t bits, int thread, vector_clock& clock);

  // How many of the newest values a load by `thread` may return. A thread does not return to the
  // same old value for ever, because stores become visible in finite time.
  [[nodiscard]] int visible(int thread, const vector_clock& clock, std::memory_order order) const;
  // Returns the `age`-th newest value, 0 being the newest.
  std::uint64_t load(int age, int thread, vector_clock& clock, std::memory_order order);
  void store(std::uint64_t bits, int thread, vector_clock& clock, std::memory_order order);
  // Stores `bits` in place of the newest value, which the caller has taken them from.
  void modify(std::uint64_t bits, int thread, vector_clock& clock, std::memory_order order);
  [[nodiscard]] std::uint64_t newest() const noexcept { return stores_.back().bits; }
  // The value that `thread` has loaded or stored last.
  [[nodiscard]] std::uint64_t seen(int thread) const noexcept {
    return stores_[seen_[static_cast<std::size_t>(thread)]].bits;
  }
  // From now on `thread` sees the newest value.
  void refresh(int thread) noexcept;

  thread_set waiters = 0;  // in `wait`
  const void* owner = nullptr;

 private:
  struct store_event {
    std::uint64_t bits;
    int thread;
    std::uint32_t number;   // of the thread's operations
    vector_clock released;  // what an acquiring load of it learns
  };
  struct read_event {
    int thread;
    std::uint32_t number;
    std::uint32_t index;  // of the store
  };

  void push(std::uint64_t bits, int thread, const vector_clock& clock, std::memory_order order,
            const vector_clock& inherited);
  [[nodiscard]] std::uint32_t last() const noexcept {
    return static_cast<std::uint32_t>(stores_.size()) - 1;
  }

  static constexpr int patience = 2;  // loads that return the same old value

  std::vector<store_event> stores_;
  std::vector<read_event> reads_;
  std::uint32_t sequential_ = 0;                   // nothing older for these operations
  std::array<std::uint32_t, max_threads> seen_{};  // the newest that each thread has seen
  std::array<int, max_threads> repeated_{};        // how often it has
};

}  // namespace model
