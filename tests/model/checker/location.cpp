#include "location.hpp"

#include <algorithm>

namespace model {

namespace {

bool acquires(std::memory_order order) noexcept {
  return order != std::memory_order_relaxed && order != std::memory_order_release;
}
bool releases(std::memory_order order) noexcept {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

}  // namespace

void location::reset(std::uint64_t bits, int thread, vector_clock& clock) {
  stores_.clear();
  reads_.clear();
  sequential_ = 0;
  seen_.fill(0);
  repeated_.fill(0);
  waiters = 0;
  clock.tick(thread);
  push(bits, thread, clock, std::memory_order_relaxed, {});
}

int location::visible(int thread, const vector_clock& clock, std::memory_order order) const {
  const auto t = static_cast<std::size_t>(thread);
  std::uint32_t oldest = seen_[t];
  if (order == std::memory_order_seq_cst) oldest = std::max(oldest, sequential_);
  for (std::uint32_t i = last(); i > oldest; --i) {
    if (clock.covers(stores_[i].thread, stores_[i].number)) oldest = i;
  }
  for (const read_event& read : reads_) {
    if (read.index > oldest && clock.covers(read.thread, read.number)) oldest = read.index;
  }
  if (oldest == seen_[t] && repeated_[t] >= patience) oldest = std::min(oldest + 1, last());
  return static_cast<int>(last() - oldest) + 1;
}

std::uint64_t location::load(int age, int thread, vector_clock& clock, std::memory_order order) {
  const auto t = static_cast<std::size_t>(thread);
  const std::uint32_t index = last() - static_cast<std::uint32_t>(age);
  const std::uint32_t number = clock.tick(thread);
  repeated_[t] = index == seen_[t] ? repeated_[t] + (age != 0 ? 1 : 0) : 0;
  if (index != seen_[t]) reads_.push_back({thread, number, index});
  seen_[t] = index;
  if (order == std::memory_order_seq_cst) sequential_ = std::max(sequential_, index);
  if (acquires(order)) clock.join(stores_[index].released);
  return stores_[index].bits;
}

void location::store(std::uint64_t bits, int thread, vector_clock& clock, std::memory_order order) {
  clock.tick(thread);
  push(bits, thread, clock, order, {});
}

// A read-modify-write goes on with the release sequence of what it replaces.
void location::modify(std::uint64_t bits, int thread, vector_clock& clock,
                      std::memory_order order) {
  clock.tick(thread);
  const vector_clock inherited = stores_.back().released;
  if (acquires(order)) clock.join(inherited);
  push(bits, thread, clock, order, inherited);
}

void location::push(std::uint64_t bits, int thread, const vector_clock& clock,
                    std::memory_order order, const vector_clock& inherited) {
  vector_clock released = inherited;
  if (releases(order)) released.join(clock);
  stores_.push_back({bits, thread, clock[thread], released});
  refresh(thread);
  if (order == std::memory_order_seq_cst) sequential_ = last();
}

void location::refresh(int thread) noexcept {
  seen_[static_cast<std::size_t>(thread)] = last();
  repeated_[static_cast<std::size_t>(thread)] = 0;
}

}  // namespace model
