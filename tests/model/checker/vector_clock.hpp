#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace model {

// Threads of one execution, the first of them the scenario's own.
inline constexpr int max_threads = 10;

// What a thread knows of the others' past: how many operations of each happen before its next.
class vector_clock {
 public:
  [[nodiscard]] std::uint32_t operator[](int thread) const noexcept {
    return at_[static_cast<std::size_t>(thread)];
  }
  // Counts one more operation of `thread`, and returns its number.
  std::uint32_t tick(int thread) noexcept { return ++at_[static_cast<std::size_t>(thread)]; }

  // Whether operation `number` of `thread` happens before what has this clock.
  [[nodiscard]] bool covers(int thread, std::uint32_t number) const noexcept {
    return number <= (*this)[thread];
  }
  void set(int thread, std::uint32_t number) noexcept {
    at_[static_cast<std::size_t>(thread)] = number;
  }
  void join(const vector_clock& other) noexcept {
    for (std::size_t i = 0; i < at_.size(); ++i) at_[i] = std::max(at_[i], other.at_[i]);
  }

 private:
  std::array<std::uint32_t, max_threads> at_{};
};

}  // namespace model
