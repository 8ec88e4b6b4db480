#include "fiber.hpp"

#include <cstdint>
#include <cstdlib>
#include <utility>

#include <cxxabi.h>

namespace model {

fiber::fiber() : started_(true) {}

fiber::fiber(std::function<void()> job)
    : stack_(std::make_unique_for_overwrite<std::byte[]>(stack_size)), job_(std::move(job)) {
  getcontext(&first_);
  first_.uc_stack.ss_sp = stack_.get();
  first_.uc_stack.ss_size = stack_size;
  first_.uc_link = nullptr;
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&first_, reinterpret_cast<void (*)()>(&fiber::enter), 2,
              static_cast<unsigned int>(self >> 32), static_cast<unsigned int>(self));
}

fiber::~fiber() = default;

void fiber::enter(unsigned int high, unsigned int low) {
  const auto self = (std::uintptr_t{high} << 32) | low;
  reinterpret_cast<fiber*>(self)->job_();
  std::abort();  // a job does not return
}

// Only the first switch to a fiber is one of `ucontext`, which calls into the kernel for the
// signal mask; later ones are jumps.
void fiber::switch_to(fiber& to) noexcept {
  auto* const running = reinterpret_cast<exceptions*>(abi::__cxa_get_globals());
  exceptions_ = *running;
  *running = to.exceptions_;
  if (_setjmp(state_) != 0) return;
  if (to.started_) _longjmp(to.state_, 1);
  to.started_ = true;
  setcontext(&to.first_);
}

}  // namespace model
