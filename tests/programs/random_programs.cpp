// Random programs against the meaning of their operations, with and without a rank that fails.
//
//   RONDEL_RANDOM_SEED=<n>       the first seed; each program has the next one
//   RONDEL_RANDOM_PROGRAMS=<n>   how many; 1 replays the program of the seed
//   RONDEL_RANDOM_SECONDS=<s>    instead: as many as there is time for
#include "generate.hpp"
#include "runner.hpp"
#include "sanitized.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using programs::ending;
using programs::fault;
using programs::program;

// Complaints about how the ranks of `p` ended.
std::string judge(const program& p, const std::vector<ending>& endings) {
  std::string out;
  for (std::size_t r = 0; r < endings.size(); ++r) {
    const ending& e = endings[r];
    const auto complain = [&](const std::string& what) {
      out += rondel::concat("rank ", r, " ", what, " (it ended as ", e.kind, ": ", e.text, ")\n");
    };
    for (const auto& wrong : e.wrong) complain(wrong);
    if (e.live != 0) complain(rondel::concat("did not give ", e.live, " B back"));
    if (p.what == fault::none) {
      if (e.kind != "ended") complain("did not end");
      continue;
    }
    const bool faulty = static_cast<int>(r) == p.faulty_rank;
    if (faulty && (e.kind == "failed" || e.kind == "left" || e.kind == "vanished")) continue;
    // Only where a deadline is short may a rank be told before its fault.
    if (faulty && p.what != fault::vanishes) complain("did not do as planned");
    if (!e.told() || e.kind == "mismatched_operation") {
      complain("was not told");
      continue;
    }
    if (e.reporter != static_cast<int>(r)) complain("speaks for another rank");
    if (e.text.find(rondel::concat("rank ", r, " in ")) == std::string::npos) {
      complain("does not name itself and its call");
    }
    if (p.what == fault::vanishes) continue;
    if (e.kind != "peer_failed" || e.named != p.faulty_rank)
      complain("does not name the faulty rank");
  }
  return out;
}

TEST_CASE("random programs compute what their operations mean, or tell every rank why not") {
  const auto seed = static_cast<std::uint64_t>(programs::setting("RONDEL_RANDOM_SEED", 1));
  const double seconds = programs::setting("RONDEL_RANDOM_SECONDS", 0);
  const auto count = static_cast<std::uint64_t>(
      programs::setting("RONDEL_RANDOM_PROGRAMS", seconds > 0       ? 1e18
                                                  : test::sanitized ? 150
                                                                    : 1500));
  const auto start = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::mutex mutex;
  std::uint64_t done = 0, calls = 0;
  std::array<std::uint64_t, 4> faults{};
  std::vector<std::string> wrong;
  // Most of them wait for a deadline or for each other.
  programs::in_parallel(3, [&](std::uint64_t i) {
    if (i >= count || (seconds > 0 && passed() > seconds)) return false;
    if (i % 500 == 0) {
      // Where to look when the process dies.
      std::printf("from seed %llu on\n", static_cast<unsigned long long>(seed + i));
      std::fflush(stdout);
    }
    const program p = programs::generate(seed + i);
    const std::string name =
        rondel::concat("RONDEL_RANDOM_SEED=", seed + i, " RONDEL_RANDOM_PROGRAMS=1 replays it");
    const auto right = programs::expected(p);
    const std::string complaints = judge(p, programs::run(p, &right, name));
    const std::lock_guard lock(mutex);
    ++done;
    calls += p.steps.size() * static_cast<std::size_t>(p.ranks);
    ++faults[static_cast<std::size_t>(p.what)];
    if (!complaints.empty()) wrong.push_back(name + "\n" + complaints + describe(p));
    return wrong.size() < 5;
  });
  for (const std::string& one : wrong) FAIL_CHECK(one);
  CHECK(done > 0);
  std::printf("%s\n", rondel::concat(done, " random programs from seed ", seed, " on, ", calls,
                                     " calls; a rank failed in ", faults[1], ", left in ",
                                     faults[2], ", vanished in ", faults[3], "; ", wrong.size(),
                                     " went wrong; ", passed(), " s")
                          .c_str());
}

}  // namespace
