#pragma once
// What the sweeps over cases share.
#include "runner.hpp"
#include "sanitized.hpp"

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace sweep {

// Of the calls that only a deadline can end.
inline constexpr double deadline = test::sanitized ? 0.2 : 0.1;

[[nodiscard]] inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

[[nodiscard]] inline std::string title(const programs::program& p) {
  const std::string all = describe(p);
  return rondel::concat(all.substr(0, all.find('\n')),
                        "; the step: ", describe(p.steps[p.faulty_step]));
}

struct tally {
  std::mutex mutex;
  std::size_t cases = 0, of = 0, complete = 0, wrong = 0;
  double seconds = 0;
  std::map<std::string, std::size_t> endings;

  void print(const char* name) const {
    std::string how;
    for (const auto& [kind, count] : endings) how += rondel::concat(", ", count, " ", kind);
    std::printf(
        "%s: %zu of %zu cases, %zu wrong, and %zu complete programs in between, in %.1f s; the "
        "ranks%s\n",
        name, cases, of, wrong, complete, seconds, how.c_str());
  }
};

// Runs every n-th case, many at once, since most wait for a deadline; `run_case(c)` returns
// complaints. After every 16th a complete program must still run: `run_complete(c)`.
template <class Case, class Run, class Complete>
void run_cases(const std::vector<Case>& cases, tally& t, const Run& run_case,
               const Complete& run_complete) {
  const auto every =
      static_cast<std::size_t>(programs::setting("RONDEL_SWEEP_EVERY", test::sanitized ? 23 : 1));
  const auto start = std::chrono::steady_clock::now();
  t.of = cases.size();
  std::vector<std::string> complaints;
  programs::in_parallel(8, [&](std::uint64_t i) {
    const std::size_t number = i * every;
    if (number >= cases.size()) return false;
    std::string text;
    for (const std::string& one : run_case(cases[number])) text += "\n  " + one;
    const bool then = i % 16 == 0;
    if (then) {
      for (const programs::ending& e : run_complete(cases[number])) {
        if (e.kind == "ended" && e.wrong.empty() && e.live == 0) continue;
        text += "\n  afterwards a complete program did not run: " + e.text;
      }
    }
    const std::lock_guard lock(t.mutex);
    ++t.cases;
    t.complete += then ? 1 : 0;
    if (!text.empty()) {
      ++t.wrong;
      complaints.push_back(title(cases[number].plan) + text);
    }
    return complaints.size() < 20;
  });
  t.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const std::string& one : complaints) FAIL_CHECK(one);
  CHECK(t.cases > 0);
}

}  // namespace sweep
