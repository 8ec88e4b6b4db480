// A rank that fails, leaves, dies or stays away, at each operation in turn.
//
//   RONDEL_SWEEP_EVERY=<n>   only every n-th case; 1 for all
#include "dependencies.hpp"
#include "every_operation.hpp"
#include "runner.hpp"
#include "sanitized.hpp"
#include "sweep.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using programs::ending;
using programs::fault;
using programs::form;
using programs::program;
using rondel::stream_mode;
using sweep::contains;

struct fault_case {
  program plan;
  std::size_t scenario;  // what the cases of one program share
};

struct scenario {
  programs::expectation right;
  std::vector<std::vector<programs::wait>> waits;
};

bool names_one_of(const std::string& text, const std::vector<programs::wait>& waits, int rank,
                  std::size_t first, std::size_t last) {
  const std::string start = rondel::concat("rank ", rank, " in ");
  if (!text.starts_with(start)) return false;
  const std::string call = text.substr(start.size());
  for (std::size_t i = first; i < std::min(last, waits.size()); ++i) {
    const std::string number = rondel::concat(" #", waits[i].sequence);
    if (!call.starts_with(waits[i].name)) continue;
    if (contains(call, number + ":") || contains(call, number + " waited")) return true;
  }
  return false;
}

// Whether `text` says what rank `rank` called last before step `step`.
bool says_last_call(const std::string& text, const std::vector<programs::wait>& waits, int rank,
                    std::size_t step) {
  const programs::wait* last = nullptr;
  for (const auto& w : waits) {
    if (w.step < step && (w.meeting != 0 || !w.messages.empty())) last = &w;
  }
  // Its communicator was duplicated from the world before.
  if (last == nullptr)
    return contains(text, rondel::concat("; rank ", rank, ": its last call was split #2"));
  return contains(text, rondel::concat("; rank ", rank, ": its last call was ", last->name, " #",
                                       last->sequence));
}

std::vector<std::string> judge(const program& p, const scenario& of,
                               const std::vector<ending>& endings) {
  std::vector<std::string> out;
  const auto stuck = programs::stuck_without(of.waits, p.faulty_rank, p.faulty_step);
  const bool silent = p.what == fault::vanishes || p.what == fault::stays;
  bool anybody_stuck = false, anybody_timed_out = false;
  for (std::size_t r = 0; r < endings.size(); ++r) {
    const ending& e = endings[r];
    const auto complain = [&](const std::string& what) {
      out.push_back(
          rondel::concat("rank ", r, " ", what, " (it ended as ", e.kind, ": ", e.text, ")"));
    };
    for (const auto& wrong : e.wrong) complain(wrong);
    if (e.live != 0) complain(rondel::concat("did not give ", e.live, " B back"));
    if (static_cast<int>(r) == p.faulty_rank) {
      const char* const planned = p.what == fault::fails    ? "failed"
                                  : p.what == fault::leaves ? "left"
                                  : p.what == fault::stays  ? "stayed"
                                                            : "vanished";
      if (e.kind != planned) complain("did not do as planned");
      continue;
    }
    if (e.kind == "ended") {
      if (stuck[r]) complain("came to its end though it needs the faulty rank");
      continue;
    }
    anybody_stuck = anybody_stuck || stuck[r];
    anybody_timed_out = anybody_timed_out || e.kind == "timed_out";
    if (e.kind != "peer_failed" && e.kind != "timed_out") {
      complain("was not told");
      continue;
    }
    if (e.reporter != static_cast<int>(r)) complain("speaks for another rank");
    // With worker streams the host goes on to later calls.
    const bool in_turn = stuck[r] && p.mode == stream_mode::immediate;
    if (!names_one_of(e.text, of.waits[r], e.reporter, 0, in_turn ? *stuck[r] + 1 : SIZE_MAX)) {
      complain("does not name the call that it is in");
    }
    if (silent) {
      if (!says_last_call(e.text, of.waits[static_cast<std::size_t>(p.faulty_rank)], p.faulty_rank,
                          p.faulty_step)) {
        complain("does not say where the faulty rank is");
      }
      // On worker streams a deadline ends the stream's work, of which the host may hear by its own
      // call.
      const bool by_stream = p.mode == stream_mode::worker && contains(e.text, " waited ");
      anybody_timed_out = anybody_timed_out || by_stream;
      if (e.named >= 0 && endings[static_cast<std::size_t>(e.named)].kind != "timed_out" &&
          !by_stream) {
        complain("names a rank that did not time out");
      }
      continue;
    }
    if (e.kind != "peer_failed" || e.named != p.faulty_rank)
      complain("does not name the faulty rank");
    const std::string own_words = rondel::concat("planned failure of rank ", p.faulty_rank);
    if (p.what == fault::leaves && !contains(e.text, "left the communicator")) {
      complain("does not say that the rank has left");
    }
    if (p.what == fault::fails && !contains(e.text, own_words) &&
        !contains(e.text, "an exception has taken its communicator away") &&
        !contains(e.text, "it leaves by an exception while its streams have work") &&
        !contains(e.text, "has left the communicator")) {
      complain("does not hold the words of the faulty rank");
    }
  }
  if (silent && anybody_stuck && !anybody_timed_out) out.push_back("nobody timed out");
  return out;
}

TEST_CASE("a fault of any rank at any operation reaches all who need it") {
  std::vector<scenario> scenarios;
  std::vector<fault_case> cases;
  for (const int ranks : {2, 3, 4}) {
    for (const form f : {form::fast, form::generic}) {
      for (const auto mode : {stream_mode::immediate, stream_mode::worker}) {
        const program whole = programs::every_operation(ranks, f, mode);
        scenarios.push_back({programs::expected(whole), programs::waits_of(whole)});
        for (std::size_t step = 0; step < whole.steps.size(); ++step) {
          for (int rank = 0; rank < ranks; ++rank) {
            for (const fault what : {fault::fails, fault::leaves, fault::vanishes, fault::stays}) {
              program p = whole;
              p.what = what;
              p.faulty_rank = rank;
              p.faulty_step = step;
              p.gathered = what == fault::vanishes || what == fault::stays;
              if (p.gathered) p.timeout = sweep::deadline;
              cases.push_back({p, scenarios.size() - 1});
            }
          }
        }
      }
    }
  }
  sweep::tally tally;
  double slowest_word = 0, slowest_deadline = 0;
  const auto run_case = [&](const fault_case& one) {
    const program& p = one.plan;
    const auto endings = programs::run(p, &scenarios[one.scenario].right, sweep::title(p));
    double last = 0;
    for (const ending& e : endings) {
      if (e.told()) last = std::max(last, e.at);
    }
    {
      const std::lock_guard lock(tally.mutex);
      double& slowest = p.gathered ? slowest_deadline : slowest_word;
      slowest = std::max(slowest, last - (p.gathered ? p.timeout : 0));
      for (const ending& e : endings) ++tally.endings[e.kind];
    }
    return judge(p, scenarios[one.scenario], endings);
  };
  sweep::run_cases(cases, tally, run_case, [&](const fault_case& one) {
    const program whole =
        programs::every_operation(one.plan.ranks, one.plan.forms[0], one.plan.mode);
    return programs::run(whole, &scenarios[one.scenario].right, "the program after a fault");
  });
  tally.print("fault sweep");
  std::printf(
      "fault sweep: last rank told %.1f ms after the fault at most, or %.1f ms after the deadline "
      "of %.0f ms\n",
      slowest_word * 1e3, slowest_deadline * 1e3, sweep::deadline * 1e3);
}

}  // namespace
