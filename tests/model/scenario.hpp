#pragma once
#include <rondel/core/sync.hpp>

#include "explore.hpp"

#include <initializer_list>
#include <list>
#include <string>
#include <utility>

#include <doctest/doctest.h>

// What the scenarios have in common.
namespace model {

// Runs the functions on a thread each, and waits for all.
template <class... F>
void run_threads(F&&... f) {
  std::list<rondel::detail::sync::thread> threads;
  (threads.emplace_back(std::forward<F>(f)), ...);
  for (auto& thread : threads) thread.join();
}
template <class F>
void run_ranks(int ranks, const F& f) {
  std::list<rondel::detail::sync::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back([&f, r] { f(r); });
  for (auto& thread : threads) thread.join();
}

// The scenario runs without failure in so many interleavings.
template <class Scenario>
void check_holds(const std::string& name, std::uint64_t interleavings, const settings& rules,
                 const Scenario& scenario) {
  const findings found = explore(name, interleavings, rules, scenario);
  INFO(found.text());
  CHECK(found.failure.empty());
  CHECK(found.interleavings >= found.wanted);
}

// It runs without failure in all interleavings in which at most `preemptions` times a thread is
// interrupted that could go on.
template <class Scenario>
void check_holds_always(const std::string& name, int preemptions, const Scenario& scenario) {
  const findings found = explore_all(name, preemptions, 1'000'000, {}, scenario);
  INFO(found.text());
  CHECK(found.failure.empty());
  CHECK(found.complete);
}

struct planted {
  plant fault;
  const char* words;
};

// `explore_with(name, settings)` fails for each of the faults, planted alone, with its words.
template <class Explore>
void check_each(const std::string& name, const settings& rules,
                std::initializer_list<planted> faults, const Explore& explore_with) {
  for (const auto& [fault, words] : faults) {
    settings with = rules;
    with.plants.push_back(fault);
    const findings found = explore_with(name + ", " + to_string(fault), with);
    INFO(found.text());
    CHECK(found.failure.find(words) != std::string::npos);
  }
}

// Each of the faults, planted alone, makes the scenario fail with these words.
template <class Scenario>
void check_found(const std::string& name, const settings& rules,
                 std::initializer_list<planted> faults, const Scenario& scenario) {
  check_each(name, rules, faults, [&](const std::string& full_name, const settings& with) {
    return explore(full_name, 20'000, with, scenario);
  });
}

// The same where few interleavings show the fault: among those of `check_holds_always`.
template <class Scenario>
void check_found_always(const std::string& name, int preemptions,
                        std::initializer_list<planted> faults, const Scenario& scenario) {
  check_each(name, {}, faults, [&](const std::string& full_name, const settings& with) {
    return explore_all(full_name, preemptions, 1'000'000, with, scenario);
  });
}

}  // namespace model
