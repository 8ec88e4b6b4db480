#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/wrapper.hpp>
#include <rondel/core/error.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace rondel {

/// What a rank does when its fault strikes.
enum class fault_action : std::uint8_t {
  /// Nothing.
  none,
  /// Comes `delay` late, on the stream of the operation.
  delay,
  /// Stays away from the operation, and goes on.
  drop,
  /// Throws `injected_fault`.
  fail,
  /// Throws `injected_death`: gone without a word to anybody.
  die,
};

/// A fault to happen: what, on which rank, at which of its operations.
struct fault_plan {
  /// What happens.
  fault_action action = fault_action::none;
  /// Rank of the first wrapped communicator at which it does.
  int rank = 0;
  /// Index of the operation, from 0, counted over all communicators split from the first.
  std::uint64_t operation = 0;
  /// How late a delayed rank comes.
  seconds delay{};
  /// Upper bound of a random delay of every operation of every rank, on its stream; 0 for none.
  seconds jitter{};
  /// Seed of the random delays.
  std::uint64_t seed = 0;
};

/// What `fault_action::fail` throws.
class injected_fault : public error {
 public:
  /// An injected fault with the sentence `message`.
  explicit injected_fault(const std::string& message,
                          source_location where = source_location::current())
      : error(message, where) {}
};

/// What `fault_action::die` throws. `run` does not tell the other ranks of it, so they see what
/// they would see of a process that is gone: nothing, until their deadline.
class injected_death : public error {
 public:
  /// An injected death with the sentence `message`.
  explicit injected_death(const std::string& message,
                          source_location where = source_location::current())
      : error(message, where) {}
};

/// Lets operations come late, stay out or fail, as planned: for tests of what then happens.
template <communicator C>
class faulty_communicator : public communicator_wrapper<faulty_communicator<C>, C> {
 public:
  /// Wraps `inner`.
  faulty_communicator(C inner, const fault_plan& plan)
      : base(std::move(inner)), shared_(std::make_shared<shared>(plan, this->rank())) {}

  /// Wraps a part of this communicator, under the same plan.
  [[nodiscard]] faulty_communicator rewrap(C inner) const {
    return faulty_communicator(std::move(inner), shared_);
  }

  /// Counts the operation, and does what is planned for it.
  void before(stream_of<C>& stream, const operation& op) {
    const fault_plan& plan = shared_->plan;
    if (plan.jitter.value > 0) {
      sleep_on(stream, {plan.jitter.value * shared_->next_random()});
    }
    const bool strikes = shared_->rank == plan.rank && shared_->operations == plan.operation;
    ++shared_->operations;
    takes_part_ = true;
    if (!strikes) return;
    const auto text = [&](const char* what) {
      return concat("rank ", shared_->rank, " ", what, " in ", to_string(op), " as planned");
    };
    switch (plan.action) {
      case fault_action::none:
        break;
      case fault_action::delay:
        sleep_on(stream, plan.delay);
        break;
      case fault_action::drop:
        takes_part_ = false;
        break;
      case fault_action::fail:
        throw injected_fault(text("fails"));
      case fault_action::die:
        this->vanish();
        throw injected_death(text("dies"));
    }
  }

  /// Forgets the operation.
  void after() noexcept { takes_part_ = true; }

  /// Whether this rank takes part in the operation.
  [[nodiscard]] bool takes_part() const noexcept { return takes_part_; }

  /// Operations begun by this rank so far, over all communicators split from the first.
  [[nodiscard]] std::uint64_t operations() const noexcept { return shared_->operations; }

 private:
  using base = communicator_wrapper<faulty_communicator<C>, C>;

  struct shared {
    shared(const fault_plan& p, int r)
        : plan(p), rank(r), random(p.seed * 1000003U + static_cast<unsigned>(r)) {}

    // Evenly distributed in [0, 1). This generator (splitmix64) is enough for delays, and
    // <random> would be most of this header's compile time.
    [[nodiscard]] double next_random() noexcept {
      std::uint64_t x = random += 0x9e3779b97f4a7c15U;
      x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
      x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
      return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
    }

    fault_plan plan;
    int rank;
    std::uint64_t operations = 0;
    std::uint64_t random;
  };

  faulty_communicator(C inner, std::shared_ptr<shared> common)
      : base(std::move(inner)), shared_(std::move(common)) {}

  static void sleep_on(stream_of<C>& stream, seconds time) {
    stream.launch({.name = "injected delay"}, [time](auto&&...) {
      std::this_thread::sleep_for(std::chrono::duration<double>(time.value));
    });
  }

  std::shared_ptr<shared> shared_;
  bool takes_part_ = true;
};

}  // namespace rondel
