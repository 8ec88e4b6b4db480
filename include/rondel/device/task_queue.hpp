#pragma once
#include <rondel/core/sync.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel::detail {

// A move-only callable without result. Small ones are kept inside, so that queueing them does
// not allocate.
class task {
 public:
  task() = default;

  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, task>) explicit task(F&& f) {
    using callable = std::remove_cvref_t<F>;
    if constexpr (sizeof(callable) <= capacity && alignof(callable) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<callable>) {
      ::new (static_cast<void*>(storage_)) callable(std::forward<F>(f));
      actions_ = &inside<callable>;
    } else {
      ::new (static_cast<void*>(storage_)) callable*(new callable(std::forward<F>(f)));
      actions_ = &outside<callable>;
    }
  }

  task(task&& other) noexcept { take(other); }
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~task() { reset(); }

  void operator()() { actions_->call(storage_); }

 private:
  struct actions {
    void (*call)(void*);
    void (*move)(void* to, void* from) noexcept;
    void (*destroy)(void*) noexcept;
  };

  static constexpr std::size_t capacity = 232;

  template <class F>
  static constexpr actions inside{[](void* f) { (*static_cast<F*>(f))(); },
                                  [](void* to, void* from) noexcept {
                                    ::new (to) F(std::move(*static_cast<F*>(from)));
                                    static_cast<F*>(from)->~F();
                                  },
                                  [](void* f) noexcept { static_cast<F*>(f)->~F(); }};

  template <class F>
  static constexpr actions outside{
      [](void* f) { (**static_cast<F**>(f))(); },
      [](void* to, void* from) noexcept { ::new (to) F*(*static_cast<F**>(from)); },
      [](void* f) noexcept { delete *static_cast<F**>(f); }};

  void take(task& other) noexcept {
    actions_ = std::exchange(other.actions_, nullptr);
    if (actions_ != nullptr) actions_->move(storage_, other.storage_);
  }
  void reset() noexcept {
    if (actions_ != nullptr) std::exchange(actions_, nullptr)->destroy(storage_);
  }

  alignas(std::max_align_t) std::byte storage_[capacity];
  const actions* actions_ = nullptr;
};

// A thread that runs tasks in the order they were pushed. Any thread may push, the worker
// itself too: a closure that dies there may own memory which is freed in stream order. Its ring
// grows to the longest queue seen and is reused from then on.
class task_queue {
 public:
  task_queue() : ring_(64), worker_([this] { run(); }) {}
  task_queue(const task_queue&) = delete;
  task_queue& operator=(const task_queue&) = delete;

  // Runs what is left, then ends the thread.
  ~task_queue() {
    push(task{[this] { stop_ = true; }});
    worker_.join();
    // What closures pushed as they died behind the stop.
    for (; popped_ != pushed_.load(std::memory_order_relaxed); ++popped_) {
      task late = std::move(ring_[popped_ % ring_.size()]);
      late();
    }
  }

  void push(task&& t) {
    {
      const sync::lock_guard lock(mutex_);
      const std::uint64_t pushed = pushed_.load(std::memory_order_relaxed);
      if (pushed - popped_ == ring_.size()) grow(pushed);
      ring_[pushed % ring_.size()] = std::move(t);
      pushed_.store(pushed + 1, std::memory_order_release);
    }
    pushed_.notify_one();
  }

  [[nodiscard]] bool idle() const noexcept {
    return done_.load(std::memory_order_acquire) == pushed_.load(std::memory_order_acquire);
  }

  // Blocks until all that was pushed before has run.
  void drain() const noexcept {
    const std::uint64_t target = pushed_.load(std::memory_order_acquire);
    for (std::uint64_t done = done_.load(std::memory_order_acquire); done < target;
         done = done_.load(std::memory_order_acquire)) {
      done_.wait(done, std::memory_order_acquire);
    }
  }

 private:
  void grow(std::uint64_t pushed) {
    std::vector<task> larger(ring_.size() * 2);
    for (std::uint64_t i = popped_; i < pushed; ++i) {
      larger[i % larger.size()] = std::move(ring_[i % ring_.size()]);
    }
    ring_ = std::move(larger);
  }

  void run() {
    for (std::uint64_t next = 0; !stop_; ++next) {
      while (pushed_.load(std::memory_order_acquire) == next) {
        pushed_.wait(next, std::memory_order_acquire);
      }
      task current;
      {
        const sync::lock_guard lock(mutex_);
        current = std::move(ring_[next % ring_.size()]);
        popped_ = next + 1;
      }
      current();
      current = task{};
      done_.store(next + 1, std::memory_order_release);
      done_.notify_all();
    }
  }

  sync::mutex mutex_;
  std::vector<task> ring_;
  sync::plain<std::uint64_t> popped_ = 0;
  bool stop_ = false;
  sync::atomic<std::uint64_t> pushed_{0};
  sync::atomic<std::uint64_t> done_{0};
  sync::thread worker_;
};

}  // namespace rondel::detail
