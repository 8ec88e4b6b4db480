// The worker of a stream, streams and their events.
#include <rondel/core/error.hpp>
#include <rondel/device/accounts.hpp>
#include <rondel/device/host_stream.hpp>
#include <rondel/device/task_queue.hpp>

#include "scenario.hpp"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <doctest/doctest.h>

namespace {

using model::check_found;
using model::check_holds;
using model::check_holds_always;
using model::drop;
using model::require;
using model::run_threads;
using model::weaken;
using rondel::host_event;
using rondel::host_stream;
using rondel::detail::task;
using rondel::detail::task_queue;
using rondel::detail::sync::plain;

constexpr std::uint64_t many = 100'000;

// Tasks run in their order, and are done when `drain` returns; the end of the queue runs the rest.
void push_drain_stop() {
  plain<int> ran{0};
  {
    task_queue queue;
    for (int i = 0; i < 3; ++i) {
      queue.push(task([&ran, i] {
        require(ran == i, "out of order");
        ++ran;
      }));
      if (i == 1) {
        queue.drain();
        require(queue.idle() && ran == 2, "not drained");
      }
    }
  }
  require(ran == 3, "a task is lost");
}

// Others push too, and wait for their own.
void several_producers() {
  plain<int> first{0}, second{0};
  {
    task_queue queue;
    const auto produce = [&queue](plain<int>& mine) {
      for (int i = 0; i < 2; ++i) queue.push(task([&mine] { ++mine; }));
      queue.drain();
      require(mine == 2, "not drained");
    };
    run_threads([&] { produce(first); }, [&] { produce(second); });
  }
  require(first == 2 && second == 2, "a task is lost");
}

// A task that dies pushes another one, as memory does that is freed in the order of its stream;
// even behind the stop. 64 tasks fill the first ring.
void pushes_at_death(int tasks) {
  struct pusher {
    pusher(task_queue& q, plain<int>& r) : queue(&q), ran(&r) {}
    pusher(pusher&& other) noexcept : queue(std::exchange(other.queue, nullptr)), ran(other.ran) {}
    ~pusher() {
      if (queue != nullptr) queue->push(task([r = ran] { ++*r; }));
    }
    task_queue* queue;
    plain<int>* ran;
  };
  plain<int> ran{0};
  {
    task_queue queue;
    for (int i = 0; i < tasks; ++i) {
      queue.push(task([&ran, late = pusher(queue, ran)] { ++ran; }));
    }
  }
  require(ran == 2 * tasks, "a task is lost");
}

// `idle` alone is enough to read what the tasks have written.
void poll_queue() {
  plain<int> ran{0};
  task_queue queue;
  for (int i = 1; i <= 3; ++i) {
    queue.push(task([&ran] { ++ran; }));
    while (!queue.idle()) rondel::detail::sync::yield();
    require(ran == i, "idle before it is");
  }
}

[[nodiscard]] host_stream make_worker(rondel::stream_listener* listener = nullptr) {
  return {std::make_shared<rondel::detail::device_account>(-1, UINT64_MAX),
          rondel::stream_mode::worker, nullptr, nullptr, listener};
}

// One stream waits for what another one and the host have done before.
void events_across_streams() {
  plain<int> x{0}, y{0};
  host_stream a = make_worker(), b = make_worker();
  host_event of_a, of_b;
  for (int i = 1; i <= 2; ++i) {
    a.launch({}, [&x] { ++x; });
    a.record(of_a);
    b.wait(of_a);
    b.launch({}, [&, i] {
      require(x == i, "b runs before a");
      ++y;
    });
    b.record(of_b);
    a.wait(of_b);
  }
  of_b.synchronize();
  require(of_a.ready() && of_b.ready() && y == 2, "not synchronized");
  a.synchronize();
  require(a.idle(), "not idle");
}

// `ready` and `idle` alone are enough as well.
void poll_stream() {
  plain<int> x{0}, y{0};
  host_stream a = make_worker();
  host_event e;
  for (int i = 1; i <= 2; ++i) {
    a.launch({}, [&x] { ++x; });
    a.record(e);
    a.launch({}, [&y] { ++y; });
    while (!e.ready()) rondel::detail::sync::yield();
    require(x == i, "ready before it is");
  }
  while (!a.idle()) rondel::detail::sync::yield();
  require(y == 2, "idle before it is");
}

// What a stream fails with reaches the host, later work does not run, and it passes to the
// streams that wait for it.
void failing_stream() {
  struct listener_type final : rondel::stream_listener {
    void unwinding() noexcept override {}
    void failed(const std::exception_ptr&) noexcept override { ++failures; }
    plain<int> failures{0};
  } listener;
  plain<int> ran{0};
  {
    host_stream a = make_worker(&listener), b = make_worker();
    host_event e;
    a.launch({}, [] { throw std::runtime_error("as told"); });
    const auto throws = [](const auto& f) {
      try {
        f();
        return false;
      } catch (const std::runtime_error& error) {
        return error.what() == std::string("as told");
      }
    };
    bool late = throws([&] {
      a.launch({}, [&ran] { ++ran; });
      a.record(e);
      b.wait(e);
      b.launch({}, [&ran] { ++ran; });
      require(throws([&] { e.synchronize(); }), "the event does not know of the failure");
    });
    require(throws([&] { a.synchronize(); }), "the failure is lost");
    require(late || throws([&] { b.synchronize(); }), "the other stream does not know of it");
  }
  require(ran == 0, "work behind a failure");
  require(listener.failures == 1, "not told once");
}

// An exception destroys a stream whose work waits for somebody, who is told.
void unwinding_stream() {
  struct listener_type final : rondel::stream_listener {
    void unwinding() noexcept override {
      told.store(1);
      told.notify_all();
    }
    void failed(const std::exception_ptr&) noexcept override {}
    rondel::detail::sync::atomic<int> told{0};
  } listener;
  plain<int> ran{0};
  try {
    host_stream a = make_worker(&listener);
    a.launch({}, [&] { ++ran; });
    a.launch({}, [&] { listener.told.wait(0); });
    a.launch({}, [&] { ++ran; });
    throw std::runtime_error("as told");
  } catch (const std::runtime_error&) {
  }
  require(ran == 2, "work is lost");
}

TEST_CASE("the queue") {
  check_holds("a queue: push, drain, stop", many, {}, push_drain_stop);
  check_holds("a queue of two producers", many, {}, several_producers);
  check_holds("a queue whose tasks push as they die", many, {}, [] { pushes_at_death(3); });
  check_holds("a queue whose ring grows", 2000, {}, [] { pushes_at_death(70); });
  check_holds("a queue that is polled", many, {}, poll_queue);
}
TEST_CASE("streams") {
  check_holds("a stream that is polled", many, {}, poll_stream);
  check_holds("two streams and their events", many, {}, events_across_streams);
  check_holds("a stream that fails", many, {}, failing_stream);
  check_holds("a stream that an exception destroys", many, {}, unwinding_stream);
}

// A task, and the end of the queue.
void push_and_stop() {
  plain<int> ran{0};
  {
    task_queue queue;
    queue.push(task([&ran] { ++ran; }));
  }
  require(ran == 1, "the task is lost");
}

TEST_CASE("all interleavings of a task") {
  check_holds_always("a queue: push, stop", 5, push_and_stop);
}

// What the checker finds where the code is weaker than it is.
TEST_CASE("planted faults of queues") {
  check_found("a queue of two producers", {},
              {{drop("push: lock_guard lock("), "data race"},
               {drop("run: lock_guard lock("), "data race"},
               {drop("pushed_.notify_one("), "deadlock"},
               {drop("done_.notify_all("), "deadlock"},
               {weaken("done_.store(", std::memory_order_relaxed), "data race"},
               {weaken("drain: done = done_.load(", std::memory_order_relaxed), "data race"}},
              several_producers);
  check_found("a queue that is polled", {},
              {{weaken("idle: done_.load(", std::memory_order_relaxed), "data race"}}, poll_queue);
}
TEST_CASE("planted faults of streams") {
  check_found("two streams and their events", {},
              {{weaken("passed.store(", std::memory_order_relaxed), "data race"},
               {weaken("passed = point_->passed.load(", std::memory_order_relaxed), "data race"},
               {drop("passed.notify_all("), "deadlock"}},
              events_across_streams);
  check_found("a stream that is polled", {},
              {{weaken("ready: passed.load(", std::memory_order_relaxed), "data race"}},
              poll_stream);
  check_found("a stream that fails", {},
              {{weaken("failed.store(", std::memory_order_relaxed), "data race"},
               {weaken("throw_if_failed: failed.load(", std::memory_order_relaxed), "data race"},
               {drop("failed.store("), "the failure is lost"},
               {drop("failed_at.store("), "does not know of"}},
              failing_stream);
}

}  // namespace
