// A rank that calls something else at each operation in turn: another operation, or the same with
// another count, type, root or reduction.
//
//   RONDEL_SWEEP_EVERY=<n>   only every n-th case; 1 for all
#include "every_operation.hpp"
#include "runner.hpp"
#include "sweep.hpp"

#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

using programs::ending;
using programs::fault;
using programs::form;
using programs::operation_kind;
using programs::program;
using programs::step;
using rondel::dtype;
using rondel::stream_mode;
using sweep::contains;

// What the ranks must get.
enum class promise {
  both_sides,  // every rank of the communicator a `mismatched_operation` with both calls, every
               // other an error
  an_error,    // every rank an error
  an_end,      // no rank hangs
};

struct mismatch_case {
  program plan;
  promise what;
};

bool is_checked(form f) { return f == form::checked || f == form::checked_generic; }
bool is_of_host(operation_kind kind) {
  return kind == operation_kind::split || kind == operation_kind::exchange_host;
}

// What the odd rank may call instead of `s`.
std::vector<step> variants(const step& s, form f) {
  std::vector<step> out;
  const auto add = [&](const auto& change) {
    step other = s;
    other.chained = false;
    change(other);
    out.push_back(other);
  };
  add([&](step& other) {
    const bool barrier = s.kind == operation_kind::barrier;
    other = {.kind = barrier ? operation_kind::all_reduce : operation_kind::barrier,
             .slot = s.slot,
             .stream = s.stream,
             .type = dtype::f32,
             .count = 5,
             .seed = 1};
    // A split that is not made leaves its slot empty.
    if (s.kind == operation_kind::split) other.what = programs::special::no_slot;
  });
  if (s.count > 0) add([&](step& other) { other.count += 2; });
  const bool reduces =
      s.kind == operation_kind::all_reduce || s.kind == operation_kind::reduce_scatter;
  if (reduces) {
    add([&](step& other) {
      other.type = in_order(s.op) ? dtype::bf16 : s.type == dtype::i32 ? dtype::f32 : dtype::i32;
    });
    if (!is_checked(f) && s.type == dtype::f32) {
      add([&](step& other) { other.op = programs::combiner::max; });
    }
  } else if (s.count > 0 && s.kind != operation_kind::exchange_host && !is_checked(f)) {
    add([&](step& other) { other.type = dtype::u8; });
  }
  if (s.kind == operation_kind::broadcast || s.kind == operation_kind::gather ||
      s.kind == operation_kind::scatter) {
    add([&](step& other) { other.root += 1; });
  }
  return out;
}

// What is promised when rank `rank` of `of` calls `instead`; nothing where nothing is wrong then.
std::optional<promise> promised(const step& s, const step& instead, form f, std::size_t of,
                                int rank, const programs::members& who) {
  if (of == 1) return std::nullopt;
  const bool same_kind = s.kind == instead.kind;
  // Another scale of uneven blocks may cut them alike.
  const int size = static_cast<int>(of);
  const bool scaled = same_kind && s.count != instead.count && s.blocks == programs::cut::uneven;
  if (scaled && s.kind == operation_kind::all_to_all) {
    bool differs = false;
    for (int me = 0; me < size; ++me) {
      if (who[static_cast<std::size_t>(me)] != rank) continue;
      for (int peer = 0; peer < size; ++peer) {
        if (peer == me) continue;
        differs = differs || exchanged(s, me, peer) != exchanged(instead, me, peer) ||
                  exchanged(s, peer, me) != exchanged(instead, peer, me);
      }
    }
    if (!differs) return std::nullopt;
  } else if (scaled && blocks_of(s, size) == blocks_of(instead, size)) {
    return std::nullopt;
  }
  if (!rondel::is_collective(s.kind)) {
    if (!same_kind) return f == form::generic ? promise::an_end : promise::an_error;
    if (s.kind == operation_kind::ring_pass) return promise::an_error;
    const auto theirs = programs::messages_of(s, size);
    const auto own = programs::messages_of(instead, size);
    for (std::size_t i = 0; i < own.size(); ++i) {
      const bool meant = who[static_cast<std::size_t>(own[i].from)] == rank ||
                         who[static_cast<std::size_t>(own[i].to)] == rank;
      if (meant && own[i].from != own[i].to &&
          own[i].size * size_of(instead.type) != theirs[i].size * size_of(s.type)) {
        return promise::an_error;
      }
    }
    return std::nullopt;
  }
  // Even sizes by a hash of them are seen by all, the uneven ones of all_to_all by who exchanges
  // them.
  const bool by_pairs = same_kind && s.kind == operation_kind::all_to_all &&
                        s.blocks == programs::cut::uneven && s.type == instead.type;
  if (by_pairs) return promise::an_error;
  if (f == form::generic) return promise::an_end;
  if (f == form::fast && is_of_host(s.kind) != is_of_host(instead.kind)) return promise::an_error;
  return promise::both_sides;
}

std::vector<std::string> judge(const mismatch_case& one, const std::vector<ending>& endings) {
  std::vector<std::string> out;
  const program& p = one.plan;
  const step& s = p.steps[p.faulty_step];
  const auto who = programs::slots_after(p, p.faulty_step)[static_cast<std::size_t>(s.slot)];
  const auto& part = who[static_cast<std::size_t>(p.faulty_rank)];
  for (std::size_t r = 0; r < endings.size(); ++r) {
    const ending& e = endings[r];
    const auto complain = [&](const std::string& what) {
      out.push_back(
          rondel::concat("rank ", r, " ", what, " (it ended as ", e.kind, ": ", e.text, ")"));
    };
    if (e.live != 0) complain(rondel::concat("did not give ", e.live, " B back"));
    if (e.kind == "ended" && one.what == promise::an_end) continue;
    if (!e.told()) {
      complain("was not told");
      continue;
    }
    if (e.reporter != static_cast<int>(r)) complain("speaks for another rank");
    bool takes_part = false;
    for (const int m : part) takes_part = takes_part || m == static_cast<int>(r);
    if (one.what != promise::both_sides || !takes_part) continue;
    // On worker streams it is the stream that gets it; the host may hear of it by its next own
    // call.
    const bool by_host = p.mode == stream_mode::worker && e.kind == "peer_failed";
    if (e.kind != "mismatched_operation" && !by_host) {
      complain("got no mismatched_operation");
      continue;
    }
    if (by_host) {
      if (!contains(e.text, " calls ") || !contains(e.text, " while rank ")) {
        complain("does not name both sides");
      }
      continue;
    }
    const std::size_t own = e.text.find(rondel::concat("rank ", r, " calls "));
    const std::size_t other = e.text.find(" while rank ");
    if (own == std::string::npos || other == std::string::npos) {
      complain("does not name both sides");
      continue;
    }
    const bool odd = static_cast<int>(r) == p.faulty_rank;
    const std::string mine = e.text.substr(own, other - own), theirs = e.text.substr(other);
    if (!contains(mine, to_string((odd ? p.instead : s).kind)) ||
        !contains(theirs, to_string((odd ? s : p.instead).kind))) {
      complain("does not name both calls");
    }
    if (!odd && !contains(theirs, rondel::concat(" while rank ", p.faulty_rank, " calls "))) {
      complain("does not name the odd rank");
    }
    const auto words = [](const std::string& text) {
      const std::string call = text.substr(text.find(" calls ") + 7);
      return call.substr(0, call.find(" #"));
    };
    if (words(mine) == words(theirs)) complain("shows two equal calls");
  }
  return out;
}

TEST_CASE("a rank that calls something else at any operation is found out") {
  std::vector<mismatch_case> cases;
  for (const int ranks : {2, 3, 4}) {
    for (const form f : {form::fast, form::generic, form::checked, form::checked_generic}) {
      for (const auto mode : {stream_mode::immediate, stream_mode::worker}) {
        const program whole = programs::every_operation(ranks, f, mode);
        for (std::size_t i = 0; i < whole.steps.size(); ++i) {
          const step& s = whole.steps[i];
          const auto slots = programs::slots_after(whole, i);
          for (int rank = 0; rank < ranks; ++rank) {
            const auto& part =
                slots[static_cast<std::size_t>(s.slot)][static_cast<std::size_t>(rank)];
            for (const step& instead : variants(s, f)) {
              const auto what = promised(s, instead, f, part.size(), rank, part);
              if (!what) continue;
              program p = whole;
              p.what = fault::differs;
              p.faulty_rank = rank;
              p.faulty_step = i;
              p.instead = instead;
              p.gathered = what != promise::both_sides;
              if (p.gathered) p.timeout = sweep::deadline;
              cases.push_back({p, *what});
            }
          }
        }
      }
    }
  }
  sweep::tally tally;
  std::size_t unnoticed = 0;
  const auto run_case = [&](const mismatch_case& one) {
    const auto endings = programs::run(one.plan, nullptr, sweep::title(one.plan));
    {
      const std::lock_guard lock(tally.mutex);
      bool told = false;
      for (const ending& e : endings) {
        ++tally.endings[e.kind];
        told = told || e.told();
      }
      unnoticed += told ? 0 : 1;
    }
    return judge(one, endings);
  };
  sweep::run_cases(cases, tally, run_case, [&](const mismatch_case& one) {
    const program& p = one.plan;
    return programs::run(programs::every_operation(p.ranks, p.forms[0], p.mode), nullptr,
                         "the program after a mismatch");
  });
  tally.print("mismatch sweep");
  std::printf("mismatch sweep: over messages alone, without the checked mode, nobody noticed %zu\n",
              unnoticed);
}

}  // namespace
