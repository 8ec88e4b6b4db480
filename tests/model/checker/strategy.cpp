#include "strategy.hpp"

#include <utility>

namespace model {

namespace {

int nth(thread_set set, int n) noexcept {
  for (; n > 0; --n) set &= set - 1;
  return std::countr_zero(set);
}

bool contains(thread_set set, int thread) noexcept { return (set >> thread & 1U) != 0; }

}  // namespace

random_strategy::random_strategy(std::uint64_t seed)
    : state_((seed + 1) * 0x9e3779b97f4a7c15U), priorities_(draw(2) == 0) {
  constexpr std::array<std::uint32_t, 4> stays{0, 8, 12, 15};
  constexpr std::array<std::uint32_t, 4> stales{0, 2, 4, 8};
  stay_ = stays[draw(4)];
  stale_ = stales[draw(4)];
  for (int i = 0; i < max_threads; ++i) priority_[static_cast<std::size_t>(i)] = i;
  for (std::uint32_t i = max_threads - 1; i > 0; --i)
    std::swap(priority_[i], priority_[draw(i + 1)]);
  // How long the execution will be is not known; short ones are as likely as long ones.
  const std::uint32_t length = 16U << draw(7);
  for (auto& change : changes_) change = draw(length);
}

std::uint32_t random_strategy::draw(std::uint32_t bound) noexcept {
  // splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return static_cast<std::uint32_t>(((z >> 32) * bound) >> 32);
}

int random_strategy::next_of(thread_set ready, int running, bool yielded) {
  if (!priorities_) {
    if (contains(ready, running) && draw(16) < stay_) return running;
    return nth(ready, static_cast<int>(draw(static_cast<std::uint32_t>(std::popcount(ready)))));
  }
  ++steps_;
  for (const auto change : changes_) {
    if (steps_ == change) yielded = true;
  }
  if (yielded) priority_[static_cast<std::size_t>(running)] = --lowest_;
  int best = nth(ready, 0);
  for (int t = best + 1; t < max_threads; ++t) {
    if (contains(ready, t) &&
        priority_[static_cast<std::size_t>(t)] > priority_[static_cast<std::size_t>(best)]) {
      best = t;
    }
  }
  return best;
}

int random_strategy::choose_of(int count) {
  if (draw(16) >= stale_) return 0;
  return static_cast<int>(draw(static_cast<std::uint32_t>(count)));
}

int exhaustive_strategy::choose_of(int count) {
  if (at_ == decisions_.size()) decisions_.push_back({0, count});
  return decisions_[at_++].taken;
}

int exhaustive_strategy::next_of(thread_set ready, int running, bool yielded) {
  if (yielded || !contains(ready, running)) return nth(ready, choose_of(std::popcount(ready)));
  if (preemptions_ == allowed_) return running;
  const int taken = choose_of(std::popcount(ready));
  if (taken == 0) return running;
  ++preemptions_;
  return nth(ready & ~(thread_set{1} << running), taken - 1);
}

void exhaustive_strategy::rewind() noexcept {
  at_ = 0;
  preemptions_ = 0;
  forget();
}

bool exhaustive_strategy::advance() {
  decisions_.resize(at_);
  rewind();
  while (!decisions_.empty() && decisions_.back().taken + 1 == decisions_.back().count) {
    decisions_.pop_back();
  }
  if (decisions_.empty()) return false;
  ++decisions_.back().taken;
  return true;
}

}  // namespace model
