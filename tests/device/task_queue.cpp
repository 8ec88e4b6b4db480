#include <rondel/device/task_queue.hpp>

#include "random_pause.hpp"
#include "stream.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using conformance::gate;
using rondel::detail::task;
using rondel::detail::task_queue;

namespace {

// Counts the living, so that a closure lost or destroyed twice shows.
struct counted {
  explicit counted(std::atomic<int>& alive) : alive_(&alive) { ++*alive_; }
  counted(counted&& other) noexcept : alive_(other.alive_) { ++*alive_; }
  counted(const counted&) = delete;
  ~counted() { --*alive_; }
  std::atomic<int>* alive_;
};

}  // namespace

TEST_CASE("one producer, random pauses on both sides, closures of all kinds") {
  for (unsigned seed = 0; seed < 6; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::mt19937_64 worker_random(seed + 100);
    std::atomic<int> alive{0};
    std::vector<int> seen;
    constexpr int tasks = 4000;
    {
      task_queue queue;
      for (int i = 0; i < tasks; ++i) {
        switch (random() % 4) {
          case 0:
            queue.push(task([&seen, i] { seen.push_back(i); }));
            break;
          case 1:
            queue.push(task([&seen, &worker_random, i] {
              test::random_pause(worker_random);
              seen.push_back(i);
            }));
            break;
          case 2:
            queue.push(task([&seen, owned = std::make_unique<int>(i), c = counted(alive)] {
              seen.push_back(*owned);
            }));
            break;
          default: {
            std::array<int, 200> big{};
            big[0] = big[199] = i;
            queue.push(task([&seen, big, c = counted(alive)] {
              seen.push_back(big[0] == big[199] ? big[0] : -1);
            }));
          }
        }
        test::random_pause(random);
        if (random() % 500 == 0) {
          queue.drain();
          CHECK(queue.idle());
          CHECK(static_cast<int>(seen.size()) == i + 1);
        }
      }
      queue.drain();
      CHECK(alive == 0);
    }
    bool in_order = static_cast<int>(seen.size()) == tasks;
    for (std::size_t i = 0; i < seen.size(); ++i)
      in_order = in_order && seen[i] == static_cast<int>(i);
    CHECK(in_order);
  }
}

TEST_CASE("several producers keep their own order and lose nothing") {
  constexpr int producers = 3;
  constexpr int tasks = 20'000;
  std::vector<std::vector<int>> seen(producers);
  {
    task_queue queue;
    std::vector<std::thread> threads;
    for (unsigned p = 0; p < producers; ++p) {
      threads.emplace_back([&queue, &mine = seen[p], p] {
        std::mt19937_64 random(p);
        for (int i = 0; i < tasks; ++i) {
          queue.push(task([&mine, i] { mine.push_back(i); }));
          if (p == 0) test::random_pause(random);  // the others push as fast as they can
        }
      });
    }
    for (auto& thread : threads) thread.join();
    queue.drain();
    CHECK(queue.idle());
  }
  for (const auto& mine : seen) {
    bool in_order = mine.size() == tasks;
    for (std::size_t i = 0; i < mine.size(); ++i)
      in_order = in_order && mine[i] == static_cast<int>(i);
    CHECK(in_order);
  }
}

TEST_CASE("the ring grows, from wherever it stands") {
  for (const int already : {0, 1, 40, 63, 64, 100}) {
    CAPTURE(already);
    std::vector<int> seen;
    task_queue queue;
    for (int i = 0; i < already; ++i) queue.push(task([&seen, i] { seen.push_back(i); }));
    queue.drain();
    gate closed;
    queue.push(task([&closed] { (void)closed.pass(); }));
    for (int i = already; i < 1000; ++i) queue.push(task([&seen, i] { seen.push_back(i); }));
    CHECK_FALSE(queue.idle());
    closed.open();
    queue.drain();
    bool in_order = seen.size() == 1000;
    for (std::size_t i = 0; i < seen.size(); ++i)
      in_order = in_order && seen[i] == static_cast<int>(i);
    CHECK(in_order);
  }
}

TEST_CASE("the end runs what is queued, and what that queues as it dies") {
  struct pushes_at_death {
    task_queue* queue;
    std::atomic<int>* ran;
    pushes_at_death(task_queue& q, std::atomic<int>& r) : queue(&q), ran(&r) {}
    pushes_at_death(pushes_at_death&& other) noexcept
        : queue(std::exchange(other.queue, nullptr)), ran(other.ran) {}
    ~pushes_at_death() {
      if (queue != nullptr) queue->push(task([r = ran] { ++*r; }));
    }
  };
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> ran{0};
    {
      task_queue queue;
      for (int i = 0; i < 100; ++i) {
        queue.push(task([&ran, late = pushes_at_death(queue, ran)] { ++ran; }));
      }
    }
    CHECK(ran == 200);
  }
}

TEST_CASE("a task is done only when it is destroyed") {
  struct dies_slowly {
    explicit dies_slowly(std::atomic<bool>& flag) : dead(&flag) {}
    dies_slowly(dies_slowly&& other) noexcept : dead(std::exchange(other.dead, nullptr)) {}
    ~dies_slowly() {
      if (dead == nullptr) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      *dead = true;
    }
    std::atomic<bool>* dead;
  };
  std::atomic<bool> dead{false};
  task_queue queue;
  queue.push(task([d = dies_slowly(dead)] {}));
  queue.drain();
  CHECK(dead);
}

TEST_CASE("tasks move") {
  int ran = 0;
  task a([&ran, owned = std::make_unique<int>(2)] { ran += *owned; });
  task b = std::move(a);
  b();
  std::array<std::byte, 500> big{};
  a = task([&ran, big] { ran += static_cast<int>(big.size()); });
  b = std::move(a);
  b();
  CHECK(ran == 502);
  b = task{};
}
