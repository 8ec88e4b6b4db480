// The checker itself, on programs whose possible outcomes are known.
#include <rondel/core/sync.hpp>

#include "scenario.hpp"

#include <set>
#include <string>
#include <utility>

#include <doctest/doctest.h>

namespace {

using model::explore_all;
using model::findings;
using model::require;
using model::run_threads;
using rondel::detail::sync::atomic;
using rondel::detail::sync::condition_variable;
using rondel::detail::sync::lock_guard;
using rondel::detail::sync::mutex;
using rondel::detail::sync::plain;
using rondel::detail::sync::unique_lock;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto seq_cst = std::memory_order_seq_cst;
constexpr int unbounded = 1000;

// All executions of `f`, which must be fewer than 200'000, and none of which may fail.
template <class F>
findings all_of(const std::string& name, const F& f) {
  findings found = explore_all(name, unbounded, 200'000, {}, f);
  INFO(found.text());
  CHECK(found.failure.empty());
  CHECK(found.complete);
  return found;
}
template <class F>
std::string failure_of(const std::string& name, const F& f, const model::settings& rules = {}) {
  const findings found = explore_all(name, unbounded, 200'000, rules, f);
  CHECK(found.failure.find("repeated") == std::string::npos);
  return found.failure;
}

// What two loads returned, in all executions.
using outcomes = std::set<std::pair<int, int>>;

TEST_CASE("every interleaving once") {
  // Two threads of two steps each have 6. A thread's start and end are steps as well, so the
  // outcomes are counted rather than the executions.
  std::set<std::string> orders;
  const findings found = all_of("two threads of two stores", [&] {
    atomic<int> x{0};
    std::string order;
    const auto two_stores = [&](char name) {
      for (int i = 0; i < 2; ++i) {
        x.store(1, relaxed);
        order += name;
      }
    };
    run_threads([&] { two_stores('a'); }, [&] { two_stores('b'); });
    orders.insert(order);
  });
  CHECK(orders == std::set<std::string>{"aabb", "abab", "abba", "baab", "baba", "bbaa"});
  CHECK(found.interleavings == found.executions);
}

TEST_CASE("a message passes by release and acquire only") {
  const auto pass = [](std::memory_order store, std::memory_order load) {
    return [=] {
      atomic<int> ready{0};
      plain<int> data{0};
      run_threads(
          [&] {
            data = 1;
            ready.store(1, store);
          },
          [&] {
            if (ready.load(load) == 1) require(data == 1, "an old message");
          });
    };
  };
  all_of("message, release and acquire", pass(release, acquire));
  all_of("message, sequentially consistent", pass(seq_cst, seq_cst));
  CHECK(failure_of("message, relaxed store", pass(relaxed, acquire)).starts_with("data race"));
  CHECK(failure_of("message, relaxed load", pass(release, relaxed)).starts_with("data race"));
}

TEST_CASE("store buffering: one of two sequentially consistent threads sees the other") {
  const auto run = [](std::memory_order store, std::memory_order load) {
    outcomes seen;
    all_of("store buffering", [&] {
      atomic<int> x{0}, y{0};
      int a = 0, b = 0;
      run_threads(
          [&] {
            x.store(1, store);
            a = y.load(load);
          },
          [&] {
            y.store(1, store);
            b = x.load(load);
          });
      seen.insert({a, b});
    });
    return seen;
  };
  const outcomes strong{{0, 1}, {1, 0}, {1, 1}};
  outcomes all = strong;
  all.insert({0, 0});
  CHECK(run(seq_cst, seq_cst) == strong);
  CHECK(run(release, acquire) == all);
  CHECK(run(release, seq_cst) == all);
  CHECK(run(seq_cst, acquire) == all);
}

TEST_CASE("two readers agree on the order of two writers if all are sequentially consistent") {
  const auto disagree = [](std::memory_order store, std::memory_order load) {
    bool seen = false;
    const findings found = explore_all("two readers, two writers", 2, 2'000'000, {}, [&] {
      atomic<int> x{0}, y{0};
      int a = 0, b = 0, c = 0, d = 0;
      run_threads([&] { x.store(1, store); }, [&] { y.store(1, store); },
                  [&] {
                    a = x.load(load);
                    b = y.load(load);
                  },
                  [&] {
                    c = y.load(load);
                    d = x.load(load);
                  });
      seen = seen || (a == 1 && b == 0 && c == 1 && d == 0);
    });
    CHECK(found.complete);
    return seen;
  };
  CHECK(disagree(release, acquire));
  CHECK_FALSE(disagree(seq_cst, seq_cst));
}

TEST_CASE("loads of one object go forward") {
  outcomes seen;
  all_of("coherence", [&] {
    atomic<int> x{0};
    int a = 0, b = 0;
    run_threads(
        [&] {
          x.store(1, relaxed);
          x.store(2, relaxed);
        },
        [&] {
          a = x.load(relaxed);
          b = x.load(relaxed);
        });
    seen.insert({a, b});
  });
  CHECK(seen == outcomes{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}});

  // Also where the second load is another thread's that knows of the first.
  all_of("coherence over a hand-over", [] {
    atomic<int> x{0}, ready{0};
    plain<int> a{0};
    run_threads([&] { x.store(1, relaxed); },
                [&] {
                  a = x.load(relaxed);
                  ready.store(1, release);
                },
                [&] {
                  if (ready.load(acquire) == 0) return;
                  require(x.load(relaxed) >= a, "an older value than one already seen");
                });
  });
}

TEST_CASE("read-modify-writes lose nothing, and carry on what was released before") {
  const auto count_twice = [] {
    atomic<int> x{0};
    const auto count = [&] { x.fetch_add(1, relaxed); };
    run_threads(count, count);
    require(x.load(relaxed) == 2, "a count is lost");
  };
  all_of("two counts", count_twice);
  model::settings rules;
  rules.plants.push_back(model::split("x.fetch_add(1, relaxed)"));
  CHECK(failure_of("two counts that are split", count_twice, rules) == "a count is lost");

  const auto through = [](bool by_store) {
    return [=] {
      atomic<int> x{0};
      plain<int> data{0};
      run_threads(
          [&] {
            data = 1;
            x.store(1, release);
          },
          [&] {
            if (by_store) {
              if (x.load(relaxed) == 1) x.store(2, relaxed);
            } else {
              x.fetch_add(1, relaxed);
            }
          },
          [&] {
            if (x.load(acquire) == 2) require(data == 1, "an old message");
          });
    };
  };
  all_of("release sequence", through(false));
  CHECK(failure_of("no release sequence", through(true)).starts_with("data race"));
}

TEST_CASE("locks exclude, and opposite orders of them deadlock") {
  all_of("lock", [] {
    mutex m;
    plain<int> x{0};
    const auto count = [&] {
      const lock_guard lock(m);
      ++x;
    };
    run_threads(count, count);
    require(x == 2, "a count is lost");
  });
  CHECK(failure_of("opposite locks", [] {
          mutex a, b;
          const auto both = [](mutex& first, mutex& second) {
            const lock_guard outer(first);
            const lock_guard inner(second);
          };
          run_threads([&] { both(a, b); }, [&] { both(b, a); });
        }).starts_with("deadlock"));
}

TEST_CASE("a lost notification is a deadlock if naps do not end, and a nap else") {
  const auto wait = [](bool looks_under_lock) {
    return [=] {
      mutex m;
      condition_variable changed;
      atomic<int> ready{0};
      run_threads(
          [&] {
            ready.store(1);
            { const lock_guard lock(m); }
            changed.notify_all();
          },
          [&] {
            while (ready.load() == 0) {
              unique_lock lock(m);
              if (!looks_under_lock || ready.load() == 0) {
                changed.wait_for(lock, std::chrono::microseconds(500));
              }
            }
          });
    };
  };
  all_of("notification", wait(true));
  CHECK(failure_of("lost notification", wait(false)).starts_with("deadlock"));
  model::settings idle;
  idle.timed_waits = model::naps::idle;
  CHECK(failure_of("lost notification, with naps", wait(false), idle).empty());
}

TEST_CASE("waits of atomic objects") {
  const auto wait = [] {
    atomic<int> x{0};
    run_threads(
        [&] {
          x.store(1, release);
          x.notify_one();
        },
        [&] { x.wait(0, acquire); });
  };
  all_of("wait", wait);
  model::settings rules;
  rules.plants.push_back(model::drop("x.notify_one()"));
  CHECK(failure_of("wait without notification", wait, rules).starts_with("deadlock"));
}

TEST_CASE("loops without end, objects that are gone, exceptions") {
  CHECK(failure_of("livelock", [] {
          atomic<int> x{0};
          while (x.load() == 0) rondel::detail::sync::yield();
        }).starts_with("livelock"));
  CHECK(failure_of("destroyed", [] {
          auto x = std::make_unique<atomic<int>>(0);
          atomic<int>* const pointer = x.get();
          run_threads([&] { x.reset(); }, [&] { pointer->store(1); });
        }).find("destroyed") != std::string::npos);
  CHECK(failure_of("exception", [] { run_threads([] { throw std::runtime_error("as told"); }); }) ==
        "thread 1 ends with an exception: as told");
  // Each thread has its own exceptions in flight.
  all_of("exceptions apart", [] {
    atomic<int> x{0};
    const auto fail = [&](int i) {
      try {
        throw i;
      } catch (int caught) {
        x.fetch_add(1);
        try {
          throw;
        } catch (int again) {
          require(caught == i && again == i, "another thread's exception");
        }
      }
    };
    run_threads([&] { fail(1); }, [&] { fail(2); });
  });
}

TEST_CASE("a plant without a place is an error") {
  model::settings rules;
  rules.plants.push_back(model::drop("nowhere.store("));
  CHECK(failure_of(
            "plant", [] { atomic<int>{0}.store(1); }, rules)
            .find("nowhere") != std::string::npos);
}

}  // namespace
