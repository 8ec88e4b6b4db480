#pragma once
#include "fiber.hpp"
#include "location.hpp"
#include "plant.hpp"
#include "strategy.hpp"
#include "vector_clock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace model {

// When a timed wait of a condition variable ends without a notification.
enum class naps : std::uint8_t {
  // Never: whoever waits for a notification that was lost waits for ever, which is a deadlock.
  never,
  // When nothing else can run. Time then goes on to the end of the wait that ends first.
  idle,
  // At any moment, with or without its time having passed, so spuriously too.
  anytime,
};

struct settings {
  naps timed_waits = naps::never;
  int step_limit = 20'000;  // an execution of more steps does not end
  std::vector<plant> plants{};
};

// Who has read and written an object that is not atomic, for the detection of data races.
class race_state {
 public:
  // As the next operation of the running thread; a race ends the execution.
  void read();
  void write();

 private:
  int writer_ = 0;
  std::uint32_t written_ = 0;
  vector_clock reads_;
};

// One execution of a scenario: its threads run one at a time, and at every operation the strategy
// says who goes on. An execution is failed by `fail`, a deadlock or too many steps; it then ends
// at once, and what it holds is lost.
class execution {
 public:
  // The one that is running.
  [[nodiscard]] static execution& current() noexcept { return *current_; }
  [[nodiscard]] static execution* current_or_null() noexcept { return current_; }

  execution() = default;
  execution(const execution&) = delete;
  execution& operator=(const execution&) = delete;

  // Runs `scenario` as thread 0. Returns what went wrong, or nothing. With `traced`, keeps a
  // line for each operation.
  std::string run(strategy& decisions, const settings& rules, bool traced,
                  const std::function<void()>& scenario);

  [[nodiscard]] const std::vector<std::string>& trace() const noexcept { return trace_; }
  [[nodiscard]] int steps() const noexcept { return steps_; }
  [[nodiscard]] garden& plants() noexcept { return plants_; }

  // The rest is called by the threads of the scenario.

  [[noreturn]] void fail(const std::string& what);
  // A decision of the scenario's own.
  [[nodiscard]] int choose(int count) { return decisions_->choose(count); }
  [[nodiscard]] int running() const noexcept { return running_; }
  [[nodiscard]] vector_clock& clock() noexcept { return thread(running_).clock; }
  // Nanoseconds since the start.
  [[nodiscard]] std::int64_t now() const noexcept { return now_; }

  [[nodiscard]] int spawn(std::function<void()> body);
  void join(int thread);
  // Lets others run first.
  void yield();
  void sleep(std::int64_t nanoseconds);

  [[nodiscard]] std::size_t make_location(std::uint64_t bits, void* owner);
  void drop_location(std::size_t index, const void* owner) noexcept;
  std::uint64_t load(std::size_t index, const void* owner, std::memory_order order,
                     const site& where);
  void store(std::size_t index, const void* owner, std::uint64_t bits, std::memory_order order,
             const site& where);
  // `apply` makes the new bits of the old ones and `operand`. Returns the old ones.
  using change = std::uint64_t (*)(std::uint64_t old, std::uint64_t operand);
  std::uint64_t modify(std::size_t index, const void* owner, change apply, std::uint64_t operand,
                       const char* name, std::memory_order order, const site& where);
  // Waits until the object has other bits than `old`, or is notified.
  void wait(std::size_t index, const void* owner, std::uint64_t old, const site& where);
  void notify(std::size_t index, const void* owner, bool all, const site& where);

  struct mutex_state {
    int holder = -1;
    vector_clock released;
    thread_set waiters = 0;
  };
  // Returns false where a plant skips the lock.
  [[nodiscard]] bool lock(mutex_state& m, const site& where);
  void unlock(mutex_state& m);
  // Returns false if the time has passed, or is said to have.
  bool wait_for(thread_set& waiters, mutex_state& m, std::int64_t nanoseconds, const site& where);
  void notify(thread_set& waiters, bool all, const site& where);

  // Copies memory that `watch` was told of.
  void copy(void* to, const void* from, std::size_t size);
  // Races for memory that is copied are noted in `state`.
  void watch(const void* memory, std::size_t size, race_state& state);
  void unwatch(const race_state& state) noexcept;

 private:
  struct thread_state {
    std::unique_ptr<fiber> stack;
    std::function<void()> body;
    vector_clock clock;
    thread_set* queue = nullptr;  // what it is blocked in
    const char* waits_for = "";
    std::int64_t deadline = 0;
    bool sleeps = false;  // not in a wait that a notification could end
    bool expired = false;
    bool done = false;
    thread_set joiners = 0;
  };
  struct watched {
    const std::byte* begin;
    std::size_t size;
    race_state* state;
  };

  [[nodiscard]] thread_state& thread(int i) noexcept {
    return threads_[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] static thread_set bit(int thread) noexcept { return thread_set{1} << thread; }
  void note(std::string_view operation, const site& where, std::string_view detail);
  [[nodiscard]] location& at(std::size_t index, const void* owner);

  // Before each operation: somebody else may run first.
  void point() { go_on(false); }
  void go_on(bool yielded);
  [[nodiscard]] thread_set candidates();
  [[nodiscard]] int first_deadline(thread_set timed);
  void acquire(mutex_state& m);
  [[nodiscard]] bool notifies(bool all, const site& where);
  void release(thread_set& waiters, bool all);
  // Stops the running thread until it is woken from `queue`, or at `deadline` if that is not -1.
  void block(thread_set& queue, const char* what, std::int64_t deadline, bool sleeps);
  void wake(thread_set& queue, thread_set who);
  void expire(int thread, bool time_passes);
  void live(int index);
  void finish(int index);
  [[nodiscard]] std::string stuck();

  static inline execution* current_ = nullptr;

  strategy* decisions_ = nullptr;
  settings rules_;
  garden plants_;
  bool traced_ = false;
  std::vector<std::string> trace_;
  std::string failure_;

  fiber main_;
  std::array<thread_state, max_threads> threads_;
  int count_ = 0;
  int running_ = 0;
  int steps_ = 0;
  std::int64_t now_ = 0;
  thread_set ready_ = 0;
  thread_set timed_ = 0;    // blocked, but not longer than to a deadline
  thread_set yielded_ = 0;  // ready, but nobody else has run since they looked
  thread_set sleepers_ = 0;
  std::deque<location> locations_;
  std::size_t used_ = 0;
  std::vector<watched> watched_;
};

// Fails the execution unless `ok`.
inline void require(bool ok, const std::string& what) {
  if (!ok) execution::current().fail(what);
}

}  // namespace model
