#include "explore.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <unordered_set>

namespace model {

namespace {

// What is running, for whoever asks when the process ends.
struct {
  std::string name;
  std::uint64_t seed = 0;
} in_progress;

[[noreturn]] void say_seed_and_abort() {
  std::fprintf(stderr, "std::terminate in '%s', seed %llu\n", in_progress.name.c_str(),
               static_cast<unsigned long long>(in_progress.seed));
  std::abort();
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class explorer {
 public:
  explorer(const std::string& name, const settings& rules, const std::function<void()>& scenario)
      : rules_(rules), scenario_(scenario) {
    in_progress.name = name;
    if (const char* const by_hand = std::getenv("RONDEL_MODEL_PLANT")) {
      rules_.plants.push_back(parse_plant(by_hand));
    }
    execution_.plants().set(rules_.plants);
    std::set_terminate(say_seed_and_abort);
  }

  // False if the execution failed.
  bool run(strategy& decisions, std::uint64_t seed, bool new_for_sure = false) {
    in_progress.seed = seed;
    found_.failure = execution_.run(decisions, rules_, false, scenario_);
    ++found_.executions;
    found_.steps += static_cast<std::uint64_t>(execution_.steps());
    if (new_for_sure || seen_.insert(decisions.fingerprint()).second) ++found_.interleavings;
    found_.seed = seed;
    return found_.failure.empty();
  }
  // Once more, to see what it does.
  void trace(strategy& decisions) {
    const std::string again = execution_.run(decisions, rules_, true, scenario_);
    found_.trace = execution_.trace();
    if (again != found_.failure) found_.failure += "; but when it was repeated: " + again;
  }
  findings finish() {
    for (const std::string& text : execution_.plants().untouched()) {
      found_.failure = "no operation stands at the plant '" + text + "'";
    }
    const double time =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    std::printf("%-58s %8llu executions, %8llu interleavings%s, %5.1f steps, %.2f s%s\n",
                in_progress.name.c_str(), static_cast<unsigned long long>(found_.executions),
                static_cast<unsigned long long>(found_.interleavings),
                found_.complete ? " (all)" : "",
                static_cast<double>(found_.steps) / static_cast<double>(found_.executions), time,
                found_.failure.empty() ? "" : (": " + found_.failure).c_str());
    return found_;
  }
  [[nodiscard]] findings& found() noexcept { return found_; }

 private:
  settings rules_;
  const std::function<void()>& scenario_;
  execution execution_;
  findings found_;
  std::unordered_set<std::uint64_t> seen_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

std::string findings::text() const {
  std::string all = failure.empty() ? "no failure" : failure;
  all += "\nexecution " + std::to_string(executions) + ", seed " + std::to_string(seed);
  for (const std::string& line : trace) all += "\n  " + line;
  return all;
}

findings explore(const std::string& name, std::uint64_t interleavings, const settings& rules,
                 const std::function<void()>& scenario) {
  explorer e(name, rules, scenario);
  if (std::getenv("RONDEL_MODEL_SEED") != nullptr) {
    const std::uint64_t seed = from_environment("RONDEL_MODEL_SEED", 0);
    random_strategy first(seed), again(seed);
    (void)e.run(first, seed);
    e.trace(again);
    std::printf("%s: %s\n", name.c_str(), e.found().text().c_str());
    return e.finish();
  }
  interleavings = from_environment("RONDEL_MODEL_INTERLEAVINGS", interleavings);
  e.found().wanted = interleavings;
  for (std::uint64_t seed = 0; seed < 4 * interleavings; ++seed) {
    if (e.found().interleavings == interleavings) break;
    random_strategy decisions(seed);
    if (e.run(decisions, seed)) continue;
    random_strategy again(seed);
    e.trace(again);
    break;
  }
  return e.finish();
}

findings explore_all(const std::string& name, int preemptions, std::uint64_t limit,
                     const settings& rules, const std::function<void()>& scenario) {
  explorer e(name, rules, scenario);
  exhaustive_strategy decisions(static_cast<int>(
      from_environment("RONDEL_MODEL_PREEMPTIONS", static_cast<std::uint64_t>(preemptions))));
  for (std::uint64_t n = 0; n < limit; ++n) {
    if (!e.run(decisions, n, true)) {
      decisions.rewind();
      e.trace(decisions);
      break;
    }
    if (!decisions.advance()) {
      e.found().complete = true;
      break;
    }
  }
  return e.finish();
}

}  // namespace model
