#pragma once
#include "vector_clock.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace model {

// Threads as bits.
using thread_set = std::uint32_t;

// Takes all decisions of an execution: who runs next, and which of several values a load returns.
// The same decisions give the same execution.
class strategy {
 public:
  strategy() = default;
  strategy(const strategy&) = delete;
  strategy& operator=(const strategy&) = delete;
  virtual ~strategy() = default;

  // One of `ready`, which is not empty. `running` took the step before; if it yielded then, it
  // is in `ready` only where nobody else is.
  int next(thread_set ready, int running, bool yielded) {
    const int thread =
        std::has_single_bit(ready) ? std::countr_zero(ready) : next_of(ready, running, yielded);
    mix(static_cast<std::uint64_t>(thread));
    return thread;
  }
  // A number below `count`; 0 is what mostly happens.
  int choose(int count) {
    if (count == 1) return 0;
    const int taken = choose_of(count);
    mix(static_cast<std::uint64_t>(taken) + max_threads);
    return taken;
  }
  // A number that tells this execution's decisions from others'.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }

 protected:
  void forget() noexcept { fingerprint_ = 0; }

 private:
  virtual int next_of(thread_set ready, int running, bool yielded) = 0;
  virtual int choose_of(int count) = 0;
  void mix(std::uint64_t value) noexcept {
    fingerprint_ = (std::rotl(fingerprint_, 7) ^ (value + 1)) * 0x9e3779b97f4a7c15U;
  }

  std::uint64_t fingerprint_ = 0;
};

// Decides at random from a seed, in one of two ways that find different faults: a random walk,
// which switches often or seldom, and priorities that change at a few random steps (Burckhardt
// et al., "A randomized scheduler with probabilistic guarantees of finding bugs").
class random_strategy final : public strategy {
 public:
  explicit random_strategy(std::uint64_t seed);

 private:
  int next_of(thread_set ready, int running, bool yielded) override;
  int choose_of(int count) override;
  // A number below `bound`.
  [[nodiscard]] std::uint32_t draw(std::uint32_t bound) noexcept;

  std::uint64_t state_;
  bool priorities_;
  std::uint32_t stay_;   // of 16 chances, how many to go on with the running thread
  std::uint32_t stale_;  // of 16 chances, how many not to take what mostly happens
  std::array<int, max_threads> priority_{};
  int lowest_ = 0;
  std::array<std::uint32_t, 3> changes_{};
  std::uint32_t steps_ = 0;
};

// Decides in every possible way, one execution after another, as long as no more than
// `preemptions` times a thread is interrupted that could go on.
class exhaustive_strategy final : public strategy {
 public:
  explicit exhaustive_strategy(int preemptions) : allowed_(preemptions) {}

  // Goes to the next execution; false if there is none.
  [[nodiscard]] bool advance();
  // Goes back to the start of the present one.
  void rewind() noexcept;

 private:
  struct decision {
    int taken;
    int count;
  };

  int next_of(thread_set ready, int running, bool yielded) override;
  int choose_of(int count) override;

  std::vector<decision> decisions_;
  std::size_t at_ = 0;
  int allowed_;
  int preemptions_ = 0;
};

}  // namespace model
