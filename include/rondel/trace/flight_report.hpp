#pragma once
#include <rondel/trace/flight_recorder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rondel {

/// How ranks part from the others.
enum class flight_fault : std::uint8_t {
  /// Nothing is wrong as far as is recorded.
  none,
  /// They called something else.
  mismatch,
  /// They have not called what others wait in, and wait for nobody themselves.
  missing,
  /// They have called it, but their streams have not come to it.
  behind,
  /// Each rank waits for another one that does.
  circle,
};

/// Where the ranks of a world part first.
struct flight_divergence {
  /// How.
  flight_fault fault = flight_fault::none;
  /// Ranks of the world that do, in order; of a circle those that wait.
  std::vector<int> ranks;
  /// Number of the communicator.
  std::uint64_t communicator = 0;
  /// Which of its collective calls; 0 where it is a message.
  std::uint64_t collective = 0;
  /// All that in a sentence.
  std::string text;
};

namespace detail {

// "rank 2", "ranks 0, 1 and 3".
[[nodiscard]] inline std::string ranks_text(const std::vector<int>& ranks) {
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    out += concat(i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ", ranks[i]);
  }
  return out;
}

// "rank 2 is the first to diverge: it".
[[nodiscard]] inline std::string diverging(const std::vector<int>& ranks) {
  return concat(ranks_text(ranks), ranks.size() == 1 ? " is the first to diverge: it"
                                                     : " are the first to diverge: they");
}

// A snapshot with the look-ups that finding and drawing need.
class flight_view {
 public:
  using communicator = flight_snapshot::communicator;

  explicit flight_view(const flight_snapshot& s) noexcept : s_(s) {}

  [[nodiscard]] const flight_snapshot& snapshot() const noexcept { return s_; }

  [[nodiscard]] const flight_record* find(const communicator& c, int rank,
                                          std::uint64_t collective) const {
    for (const flight_record& r : of(rank)) {
      if (r.communicator == c.number && r.collective == collective && is_collective(r.op.kind)) {
        return &r;
      }
    }
    return nullptr;
  }

  // The oldest call of `rank` that is under way, or its last one; none if there is none.
  [[nodiscard]] const flight_record* under_way(int rank) const {
    for (const flight_record& r : of(rank)) {
      if (r.state == flight_state::started) return &r;
    }
    return nullptr;
  }
  [[nodiscard]] const flight_record* last(int rank) const {
    return of(rank).empty() ? nullptr : &of(rank).back();
  }

  [[nodiscard]] const communicator* find(std::uint64_t number) const {
    for (const communicator& c : s_.communicators) {
      if (c.number == number) return &c;
    }
    return nullptr;
  }

  // "all_reduce(sum, 8 x f32) #17 of communicator 2".
  [[nodiscard]] std::string name(const flight_record& r) const {
    std::string out = concat(to_string(r.op), " #", r.sequence);
    if (r.communicator != 0) out += concat(" of communicator ", r.communicator);
    return out + peers(r);
  }

  [[nodiscard]] const std::vector<flight_record>& of(int rank) const {
    return s_.ranks[static_cast<std::size_t>(rank)];
  }

  // The rank of the world that is `rank` in the communicator of `r`, -1 where that is unknown.
  [[nodiscard]] int world_rank(const flight_record& r, int rank) const {
    const communicator* const c = find(r.communicator);
    if (c == nullptr || rank < 0 || static_cast<std::size_t>(rank) >= c->ranks.size()) return -1;
    return c->ranks[static_cast<std::size_t>(rank)];
  }

 private:
  [[nodiscard]] std::string peers(const flight_record& r) const {
    const auto one = [&](const char* way, int rank) -> std::string {
      if (rank == -2) return concat(way, "several ranks");
      const int world = world_rank(r, rank);
      return world < 0 ? "" : concat(way, "rank ", world);
    };
    return is_collective(r.op.kind) ? "" : one(" to ", r.to) + one(" from ", r.from);
  }

  const flight_snapshot& s_;
};

// Looks for where the ranks of one communicator part in one collective call.
inline void look_at(const flight_view& view, const flight_view::communicator& c,
                    std::uint64_t collective, flight_divergence& mismatch,
                    flight_divergence& missing, flight_divergence& behind) {
  std::vector<std::pair<int, const flight_record*>> calls;
  std::vector<int> absent, queued, waiting;
  for (std::size_t m = 0; m < c.ranks.size(); ++m) {
    const int rank = c.ranks[m];
    const flight_record* const r = view.find(c, rank, collective);
    if (r != nullptr) {
      calls.emplace_back(rank, r);
      if (r->state == flight_state::issued) queued.push_back(rank);
      if (r->state == flight_state::started) waiting.push_back(rank);
    } else if (c.collectives[m] < collective) {
      absent.push_back(rank);
    }
  }
  // Most ranks are right; of two equal parties that of the lowest rank.
  const flight_record* usual = nullptr;
  std::vector<int> odd, same;
  for (const auto& [rank, r] : calls) {
    std::vector<int> others, alike;
    for (const auto& [peer, theirs] : calls) {
      (matches(r->op, theirs->op) ? alike : others).push_back(peer);
    }
    if (alike.size() > same.size()) {
      usual = r;
      same = alike;
      odd = others;
    }
  }
  const auto others = [&](const std::vector<int>& them, const std::vector<int>& apart) {
    return them.size() > 1 && them.size() + apart.size() == c.ranks.size() ? "the others"
                                                                           : ranks_text(them);
  };
  const auto found = [&](flight_divergence& where, flight_fault fault, std::vector<int> ranks,
                         std::string text) {
    if (where.fault == flight_fault::none) {
      where = {fault, std::move(ranks), c.number, collective, std::move(text)};
    }
  };
  if (!odd.empty()) {
    const flight_record* const theirs = view.find(c, odd.front(), collective);
    found(mismatch, flight_fault::mismatch, odd,
          concat(diverging(odd), " called ", view.name(*theirs), " where ", others(same, odd),
                 " called ", view.name(*usual)));
  } else if (!absent.empty() && !waiting.empty()) {
    std::vector<int> free;
    for (const int rank : absent) {
      if (view.under_way(rank) == nullptr) free.push_back(rank);
    }
    if (free.empty()) return;
    const int failed = view.snapshot().failed;  // the others may only be slower
    if (std::find(free.begin(), free.end(), failed) != free.end()) free = {failed};
    const flight_record* const last = view.last(free.front());
    found(missing, flight_fault::missing, free,
          concat(diverging(free), free.size() == 1 ? " is" : " are", " not in ", view.name(*usual),
                 ", where ", others(waiting, free), waiting.size() == 1 ? " waits" : " wait",
                 "; the last call of rank ", free.front(),
                 last == nullptr ? " is none" : concat(" was ", view.name(*last))));
  } else if (!queued.empty() && !waiting.empty()) {
    found(
        behind, flight_fault::behind, queued,
        concat(diverging(queued), " called ", view.name(*usual), ", but no stream has come to it; ",
               others(waiting, queued), waiting.size() == 1 ? " waits" : " wait", " in it"));
  }
}

// Who waits in what, and for whom, when all wait.
[[nodiscard]] inline flight_divergence circle_of(
    const flight_view& view, std::vector<std::pair<int, const flight_record*>> waiting) {
  flight_divergence out;
  out.fault = flight_fault::circle;
  out.communicator = waiting.front().second->communicator;
  out.text = "the ranks wait for each other: ";
  for (const auto& [rank, r] : waiting) out.ranks.push_back(rank);
  for (bool first = true; !waiting.empty(); first = false) {
    const flight_record& call = *waiting.front().second;
    const bool collective = is_collective(call.op.kind);
    std::vector<int> together;
    std::vector<std::pair<int, const flight_record*>> rest;
    for (const auto& one : waiting) {
      const flight_record& r = *one.second;
      const bool same = &r == &call || (collective && r.communicator == call.communicator &&
                                        r.collective == call.collective && matches(r.op, call.op));
      if (same) {
        together.push_back(one.first);
      } else {
        rest.push_back(one);
      }
    }
    out.text += concat(first ? "" : "; ", ranks_text(together),
                       together.size() == 1 ? " waits" : " wait", " in ", view.name(call));
    std::vector<int> absent;
    if (const auto* const c = view.find(call.communicator); collective && c != nullptr) {
      for (std::size_t m = 0; m < c->ranks.size(); ++m) {
        if (c->collectives[m] < call.collective) absent.push_back(c->ranks[m]);
      }
    }
    if (!absent.empty()) out.text += concat(" for ", ranks_text(absent));
    waiting = std::move(rest);
  }
  return out;
}

}  // namespace detail

/// Where the ranks part first: with another call; else with none where others wait; else with one
/// that its stream has not come to. A rank that waits for others is not blamed, but for a circle.
[[nodiscard]] inline flight_divergence first_divergence(const flight_snapshot& snapshot) {
  const detail::flight_view view(snapshot);
  flight_divergence mismatch, missing, behind;
  for (const auto& c : snapshot.communicators) {
    std::uint64_t first = UINT64_MAX, last = 0;
    for (const int rank : c.ranks) {
      for (const flight_record& r : view.of(rank)) {
        if (r.communicator != c.number || !is_collective(r.op.kind)) continue;
        first = std::min(first, r.collective);
        last = std::max(last, r.collective);
      }
    }
    for (std::uint64_t k = first; k <= last && first != UINT64_MAX; ++k) {
      detail::look_at(view, c, k, mismatch, missing, behind);
    }
  }
  if (mismatch.fault != flight_fault::none) return mismatch;
  if (missing.fault != flight_fault::none) return missing;
  // A message whose other end waits for nobody.
  std::vector<std::pair<int, const flight_record*>> waiting;
  for (std::size_t rank = 0; rank < snapshot.ranks.size(); ++rank) {
    const flight_record* const r = view.under_way(static_cast<int>(rank));
    if (r != nullptr) waiting.emplace_back(static_cast<int>(rank), r);
  }
  for (const auto& [rank, r] : waiting) {
    if (is_collective(r->op.kind)) continue;
    for (const int end : {r->from, r->to}) {
      const int peer = view.world_rank(*r, end);
      if (peer < 0 || view.under_way(peer) != nullptr) continue;
      const flight_record* const last = view.last(peer);
      return {flight_fault::missing,
              {peer},
              r->communicator,
              0,
              concat("rank ", peer, " is the first to diverge: rank ", rank, " waits for it in ",
                     view.name(*r), "; the last call of rank ", peer,
                     last == nullptr ? " is none" : concat(" was ", view.name(*last)))};
    }
  }
  if (behind.fault != flight_fault::none || waiting.empty()) return behind;
  return detail::circle_of(view, std::move(waiting));
}

/// `snapshot` for a reader: in a sentence where the ranks part first, and a table of the calls
/// around that place, a line for each call and a column for each group of ranks that stand alike.
/// Cells of ranks that part are marked with `>`. Empty if nothing is recorded.
[[nodiscard]] inline std::string to_table(const flight_snapshot& snapshot) {
  const detail::flight_view view(snapshot);
  const flight_divergence at = first_divergence(snapshot);
  if (at.fault == flight_fault::none) return "";
  std::string out = at.text;
  const auto* const c = view.find(at.communicator);
  if (c == nullptr) return out;
  // The place itself, or the last calls, and two before and one after it.
  std::uint64_t middle = at.collective;
  for (const std::uint64_t calls : c->collectives) {
    if (at.collective == 0) middle = std::max(middle, calls);
  }
  const std::uint64_t first = middle > 3 ? middle - 2 : 1;
  std::vector<std::vector<std::string>> columns(1 + c->ranks.size());
  columns[0].push_back("call");
  for (std::uint64_t k = first; k <= middle + 1; ++k) {
    const flight_record* usual = nullptr;
    for (const int rank : c->ranks) {
      const flight_record* const r = view.find(*c, rank, k);
      const bool odd =
          k == middle && std::find(at.ranks.begin(), at.ranks.end(), rank) != at.ranks.end();
      if (r != nullptr && (usual == nullptr || !odd)) usual = r;
    }
    if (usual == nullptr) continue;
    columns[0].push_back(concat(to_string(usual->op), " #", usual->sequence));
    for (std::size_t m = 0; m < c->ranks.size(); ++m) {
      const flight_record* const r = view.find(*c, c->ranks[m], k);
      const bool odd = k == at.collective &&
                       std::find(at.ranks.begin(), at.ranks.end(), c->ranks[m]) != at.ranks.end();
      std::string cell = odd ? "> " : "";
      if (r == nullptr) {
        cell += c->collectives[m] < k ? "-" : "?";
      } else {
        cell += !matches(r->op, usual->op)            ? concat(to_string(r->op), " #", r->sequence)
                : r->state == flight_state::completed ? "done"
                : r->state == flight_state::started   ? "waits"
                                                      : "queued";
      }
      columns[m + 1].push_back(cell);
    }
  }
  if (columns[0].size() == 1) return out;
  // Ranks that stand alike share a column.
  std::vector<std::vector<int>> groups;
  std::vector<std::vector<std::string>> shown{columns[0]};
  for (std::size_t m = 0; m < c->ranks.size(); ++m) {
    const auto same = std::find(shown.begin() + 1, shown.end(), columns[m + 1]);
    if (same == shown.end()) {
      shown.push_back(columns[m + 1]);
      groups.push_back({c->ranks[m]});
    } else {
      groups[static_cast<std::size_t>(same - shown.begin()) - 1].push_back(c->ranks[m]);
    }
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    shown[g + 1].insert(shown[g + 1].begin(), detail::ranks_text(groups[g]));
  }
  for (std::size_t line = 0; line < shown[0].size(); ++line) {
    out += "\n  ";
    for (std::size_t g = 0; g < shown.size(); ++g) {
      std::size_t width = 0;
      for (const std::string& cell : shown[g]) width = std::max(width, cell.size());
      out += shown[g][line];
      if (g + 1 < shown.size()) out.append(width - shown[g][line].size() + 2, ' ');
    }
  }
  return out;
}

}  // namespace rondel
