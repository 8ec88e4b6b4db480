#include "execution.hpp"

#include <bit>
#include <exception>
#include <utility>

// The scheduling of an execution; operations.cpp has what its threads do.
namespace model {

std::string execution::run(strategy& decisions, const settings& rules, bool traced,
                           const std::function<void()>& scenario) {
  decisions_ = &decisions;
  rules_ = rules;
  traced_ = traced;
  trace_.clear();
  failure_.clear();
  count_ = running_ = steps_ = 0;
  now_ = 0;
  ready_ = timed_ = yielded_ = sleepers_ = 0;
  used_ = 0;
  watched_.clear();

  current_ = this;
  (void)spawn(scenario);
  main_.switch_to(*threads_[0].stack);
  current_ = nullptr;
  if (!failure_.empty()) {
    for (auto& t : threads_) t.stack.reset();
  }
  return failure_;
}

void execution::fail(const std::string& what) {
  failure_ = what.empty() ? "failed" : what;
  thread(running_).stack->switch_to(main_);
  std::terminate();  // nobody comes back
}

int execution::spawn(std::function<void()> body) {
  if (count_ == max_threads) fail("more than " + std::to_string(max_threads) + " threads");
  const int index = count_++;
  thread_state& t = thread(index);
  if (t.stack == nullptr) t.stack = std::make_unique<fiber>([this, index] { live(index); });
  t.body = std::move(body);
  t.clock = index == 0 ? vector_clock{} : clock();
  t.queue = nullptr;
  t.done = false;
  t.joiners = 0;
  (void)t.clock.tick(index);
  if (index != 0) clock().tick(running_);
  ready_ |= bit(index);
  return index;
}

// The fiber of a thread serves one execution after another.
void execution::live(int index) {
  for (;;) {
    try {
      thread(index).body();
    } catch (const std::exception& e) {
      fail("thread " + std::to_string(index) + " ends with an exception: " + e.what());
    } catch (...) {
      fail("thread " + std::to_string(index) + " ends with an exception");
    }
    finish(index);
  }
}

void execution::finish(int index) {
  thread_state& t = thread(index);
  t.body = nullptr;
  t.done = true;
  ready_ &= ~bit(index);
  wake(t.joiners, t.joiners);
  if (index == 0) {
    // The scenario has to join its threads.
    for (int i = 0; i < count_; ++i) {
      if (!thread(i).done) fail("thread " + std::to_string(i) + " still runs at the end");
    }
    t.stack->switch_to(main_);
    return;
  }
  go_on(false);
}

void execution::join(int index) {
  point();
  if (!thread(index).done) block(thread(index).joiners, "join", -1, false);
  clock().join(thread(index).clock);
}

void execution::yield() {
  yielded_ |= bit(running_);
  go_on(true);
}

void execution::sleep(std::int64_t nanoseconds) {
  point();
  block(sleepers_, "sleep", now_ + nanoseconds, true);
}

void execution::go_on(bool yielded) {
  if (++steps_ > rules_.step_limit) {
    fail("livelock: no end after " + std::to_string(rules_.step_limit) + " steps");
  }
  const int from = running_;
  const int next = decisions_->next(candidates(), from, yielded);
  if ((timed_ & bit(next)) != 0) {
    // Nobody is hurt by a time that passes for a sleeper; a nap may also end for no reason.
    expire(next, ready_ == 0 || thread(next).sleeps || choose(2) != 0);
  }
  yielded_ &= bit(next);
  if (next == from) return;
  running_ = next;
  thread(from).stack->switch_to(*thread(next).stack);
}

// Who may run now. Those who have just looked in vain wait until somebody else has run.
thread_set execution::candidates() {
  thread_set able = ready_ & ~yielded_;
  if (able == 0) able = ready_;
  if (able != 0) {
    const bool early = timed_ != 0 && rules_.timed_waits == naps::anytime && choose(2) != 0;
    return early ? able | timed_ : able;
  }
  thread_set ending = timed_;
  if (rules_.timed_waits == naps::never) {
    for (int t = 0; t < count_; ++t) {
      if (!thread(t).sleeps) ending &= ~bit(t);
    }
  }
  if (ending == 0) fail(stuck());
  return bit(first_deadline(ending));
}

int execution::first_deadline(thread_set timed) {
  int first = std::countr_zero(timed);
  for (int t = first + 1; t < count_; ++t) {
    if ((timed & bit(t)) != 0 && thread(t).deadline < thread(first).deadline) first = t;
  }
  return first;
}

void execution::block(thread_set& queue, const char* what, std::int64_t deadline, bool sleeps) {
  thread_state& t = thread(running_);
  queue |= bit(running_);
  t.queue = &queue;
  t.waits_for = what;
  t.deadline = deadline;
  t.sleeps = sleeps;
  t.expired = false;
  ready_ &= ~bit(running_);
  if (deadline >= 0) timed_ |= bit(running_);
  go_on(false);
}

void execution::wake(thread_set& queue, thread_set who) {
  queue &= ~who;
  ready_ |= who;
  timed_ &= ~who;
}

void execution::expire(int index, bool time_passes) {
  thread_state& t = thread(index);
  wake(*t.queue, bit(index));
  t.expired = true;
  if (time_passes && t.deadline > now_) now_ = t.deadline;
}

std::string execution::stuck() {
  std::string text = "deadlock:";
  for (int i = 0; i < count_; ++i) {
    text += " thread " + std::to_string(i) +
            (thread(i).done ? std::string(" has ended,")
                            : " waits in " + std::string(thread(i).waits_for) + ",");
  }
  text.pop_back();
  return text;
}

}  // namespace model
