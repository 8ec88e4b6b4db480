#pragma once
#include <rondel/core/operation.hpp>
#include <rondel/core/text.hpp>
#include <rondel/trace/flight_recorder.hpp>
#include <rondel/trace/flight_report.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace rondel {

/// The calls of one rank around the oldest that is not done, else the last ones; at most eight, a
/// line each. For engines whose ranks are processes and know their own calls only. Empty if nothing
/// is recorded.
[[nodiscard]] inline std::string last_calls(const flight_snapshot& snapshot, int rank) {
  const detail::flight_view view(snapshot);
  if (static_cast<std::size_t>(rank) >= snapshot.ranks.size() || view.of(rank).empty()) return "";
  const std::vector<flight_record>& calls = view.of(rank);
  constexpr std::size_t most = 8, before = 4;
  std::size_t open = 0;
  while (open < calls.size() && calls[open].state == flight_state::completed) ++open;
  const std::size_t last = calls.size() > most ? calls.size() - most : 0;
  const std::size_t first = std::min(last, open > before ? open - before : 0);
  std::string out = concat("the last calls of rank ", rank, "; the others' are not known here:");
  for (std::size_t i = first; i < std::min(calls.size(), first + most); ++i) {
    const flight_record& r = calls[i];
    out += concat("\n  ", view.name(r), ": ",
                  r.state == flight_state::completed ? "done"
                  : r.state == flight_state::started ? "waits"
                                                     : "queued");
  }
  if (first + most < calls.size()) {
    out += concat("\n  and ", calls.size() - first - most, " more that are queued");
  }
  return out;
}

}  // namespace rondel
