#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/fault_plan.hpp>
#include <rondel/comm/wrapper.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/core/text.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace rondel {

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
      detail::sync::sleep_for(std::chrono::duration<double>(time.value));
    });
  }

  std::shared_ptr<shared> shared_;
  bool takes_part_ = true;
};

}  // namespace rondel
