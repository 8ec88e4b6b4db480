#pragma once
#include <rondel/core/sync.hpp>

#include "explore.hpp"

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

// With the plant, it fails in one of so many, and with these words.
template <class Scenario>
void check_found(const std::string& name, std::uint64_t interleavings, settings rules,
                 const plant& fault, const std::string& words, const Scenario& scenario) {
  rules.plants.push_back(fault);
  const findings found = explore(name + ", planted: " + fault.text, interleavings, rules, scenario);
  INFO(found.text());
  CHECK(found.failure.find(words) != std::string::npos);
}

}  // namespace model
