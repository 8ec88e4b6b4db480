#pragma once
#include "execution.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace model {

// What came of the executions of a scenario.
struct findings {
  std::uint64_t executions = 0;
  std::uint64_t interleavings = 0;  // different ones among them
  std::uint64_t wanted = 0;
  std::uint64_t steps = 0;
  bool complete = false;  // there are no others, within the bound

  std::string failure;             // of the last execution, if it failed
  std::uint64_t seed = 0;          // that it failed with
  std::vector<std::string> trace;  // what it did

  // All of it, for the message of a test.
  [[nodiscard]] std::string text() const;
};

// Executes `scenario` with random decisions until `interleavings` different ones have been seen
// or one has failed; with four times as many seeds at most. A scenario starts its threads and
// joins them, says `require`, and holds nothing that outlives it.
//
// Variables of the environment serve by hand: RONDEL_MODEL_SEED runs that seed alone and prints
// what it does, RONDEL_MODEL_INTERLEAVINGS and RONDEL_MODEL_PREEMPTIONS replace the numbers,
// RONDEL_MODEL_PLANT plants a fault (see `parse_plant`).
[[nodiscard]] findings explore(const std::string& name, std::uint64_t interleavings,
                               const settings& rules, const std::function<void()>& scenario);

// Executes `scenario` in every way in which at most `preemptions` times a thread is interrupted
// that could go on, or until one has failed or there have been `limit`.
[[nodiscard]] findings explore_all(const std::string& name, int preemptions, std::uint64_t limit,
                                   const settings& rules, const std::function<void()>& scenario);

}  // namespace model
