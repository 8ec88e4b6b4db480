#pragma once
#include "execution.hpp"

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <type_traits>
#include <utility>

// Stands before the header of the same name that ships: the protocols' threads, atomics, locks
// and clock, each operation of which is a step of `model::execution`. Operations take the place
// in the source that they are called from, for traces and plants.
#define MODEL_SITE                                                  \
  const char *file = __builtin_FILE(), int line = __builtin_LINE(), \
             const char *function = __builtin_FUNCTION()

namespace rondel::detail::sync {

template <class T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));

 public:
  atomic(T value = T{}) : index_(model::execution::current().make_location(bits(value), this)) {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;
  ~atomic() {
    if (auto* e = model::execution::current_or_null()) e->drop_location(index_, this);
  }

  [[nodiscard]] T load(std::memory_order order = std::memory_order_seq_cst,
                       MODEL_SITE) const noexcept {
    return value(model::execution::current().load(index_, this, order, {file, line, function}));
  }
  void store(T desired, std::memory_order order = std::memory_order_seq_cst, MODEL_SITE) noexcept {
    model::execution::current().store(index_, this, bits(desired), order, {file, line, function});
  }
  T fetch_add(T operand, std::memory_order order = std::memory_order_seq_cst,
              MODEL_SITE) noexcept requires std::integral<T> {
    return value(model::execution::current().modify(
        index_, this,
        [](std::uint64_t a, std::uint64_t b) { return bits(static_cast<T>(value(a) + value(b))); },
        bits(operand), "fetch_add", order, {file, line, function}));
  }
  T fetch_sub(T operand, std::memory_order order = std::memory_order_seq_cst,
              MODEL_SITE) noexcept requires std::integral<T> {
    return value(model::execution::current().modify(
        index_, this,
        [](std::uint64_t a, std::uint64_t b) { return bits(static_cast<T>(value(a) - value(b))); },
        bits(operand), "fetch_sub", order, {file, line, function}));
  }
  void wait(T old, std::memory_order order = std::memory_order_seq_cst, MODEL_SITE) const noexcept {
    model::execution& e = model::execution::current();
    while (e.load(index_, this, order, {file, line, function}) == bits(old)) {
      e.wait(index_, this, bits(old), {file, line, function});
    }
  }
  void notify_one(MODEL_SITE) noexcept {
    model::execution::current().notify(index_, this, false, {file, line, function});
  }
  void notify_all(MODEL_SITE) noexcept {
    model::execution::current().notify(index_, this, true, {file, line, function});
  }

 private:
  static std::uint64_t bits(T value) noexcept {
    std::uint64_t result = 0;
    std::memcpy(&result, &value, sizeof(T));
    return result;
  }
  static T value(std::uint64_t bits) noexcept {
    T result;
    std::memcpy(&result, &bits, sizeof(T));
    return result;
  }

  std::size_t index_;
};

class mutex {
 public:
  // Returns false where a plant skips it.
  bool lock(MODEL_SITE) { return model::execution::current().lock(state_, {file, line, function}); }
  void unlock() { model::execution::current().unlock(state_); }

 private:
  friend class condition_variable;
  model::execution::mutex_state state_;
};

template <class Mutex>
class unique_lock {
 public:
  explicit unique_lock(Mutex& m, MODEL_SITE) : mutex_(m), owns_(m.lock(file, line, function)) {}
  unique_lock(const unique_lock&) = delete;
  unique_lock& operator=(const unique_lock&) = delete;
  ~unique_lock() {
    if (owns_) mutex_.unlock();
  }
  void lock(MODEL_SITE) { owns_ = mutex_.lock(file, line, function); }
  void unlock() {
    if (owns_) mutex_.unlock();
    owns_ = false;
  }
  [[nodiscard]] Mutex& mutex() noexcept { return mutex_; }

 private:
  Mutex& mutex_;
  bool owns_;
};

template <class Mutex>
class lock_guard : unique_lock<Mutex> {
 public:
  explicit lock_guard(Mutex& m, MODEL_SITE) : unique_lock<Mutex>(m, file, line, function) {}
};

class condition_variable {
 public:
  template <class Rep, class Period>
  std::cv_status wait_for(unique_lock<mutex>& lock, const std::chrono::duration<Rep, Period>& time,
                          MODEL_SITE) {
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return model::execution::current().wait_for(waiters_, lock.mutex().state_, nanoseconds,
                                                {file, line, function})
               ? std::cv_status::no_timeout
               : std::cv_status::timeout;
  }
  void notify_one(MODEL_SITE) noexcept {
    model::execution::current().notify(waiters_, false, {file, line, function});
  }
  void notify_all(MODEL_SITE) noexcept {
    model::execution::current().notify(waiters_, true, {file, line, function});
  }

 private:
  model::thread_set waiters_ = 0;
};

class thread {
 public:
  template <class F>
  explicit thread(F f) : index_(model::execution::current().spawn(std::move(f))) {}
  thread(thread&& other) noexcept : index_(std::exchange(other.index_, -1)) {}
  thread& operator=(thread&&) = delete;
  ~thread() { model::require(index_ < 0, "a thread that was not joined is destroyed"); }
  void join() { model::execution::current().join(std::exchange(index_, -1)); }

  [[nodiscard]] static unsigned hardware_concurrency() noexcept { return model::max_threads; }

 private:
  int index_;
};

// What threads read and write without atomicity; a data race of it ends the execution.
template <class T>
class plain {
 public:
  plain() { state_.write(); }
  plain(T value) : value_(std::move(value)) { state_.write(); }
  plain(const plain&) = delete;
  plain& operator=(const plain&) = delete;
  ~plain() = default;

  plain& operator=(T value) {
    state_.write();
    value_ = std::move(value);
    return *this;
  }
  operator const T&() const {
    state_.read();
    return value_;
  }
  plain& operator++() requires std::integral<T> {
    state_.read();
    return *this = static_cast<T>(value_ + 1);
  }

 private:
  T value_{};
  mutable model::race_state state_;
};

inline void copy(void* to, const void* from, std::size_t size) noexcept {
  model::execution::current().copy(to, from, size);
}

// Time passes where threads wait for it to.
struct clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;
  [[nodiscard]] static time_point now() noexcept {
    return time_point(duration(model::execution::current().now()));
  }
};

// One look each, so that executions are short; the loops are those that ship.
inline constexpr int spins = 1;
inline constexpr int yields = 1;

inline void pause() noexcept { model::execution::current().yield(); }
inline void yield() noexcept { model::execution::current().yield(); }
template <class Rep, class Period>
void sleep_for(const std::chrono::duration<Rep, Period>& time) {
  model::execution::current().sleep(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

}  // namespace rondel::detail::sync

#undef MODEL_SITE
