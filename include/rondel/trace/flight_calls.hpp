#pragma once
#include <rondel/core/operation.hpp>
#include <rondel/core/text.hpp>
#include <rondel/trace/flight_recorder.hpp>
#include <rondel/trace/flight_report.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace rondel {

/// The last calls of one rank, at most eight, a line each: for engines whose ranks are processes
/// and know their own calls only. Empty if nothing is recorded.
[[nodiscard]] inline std::string last_calls(const flight_snapshot& snapshot, int rank) {
  const detail::flight_view view(snapshot);
  if (static_cast<std::size_t>(rank) >= snapshot.ranks.size() || view.of(rank).empty()) return "";
  const std::vector<flight_record>& calls = view.of(rank);
  constexpr std::size_t most = 8;
  std::string out = concat("the last calls of rank ", rank, "; the others' are not known here:");
  for (std::size_t i = calls.size() > most ? calls.size() - most : 0; i < calls.size(); ++i) {
    const flight_record& r = calls[i];
    out += concat("\n  ", view.name(r), ": ",
                  r.state == flight_state::completed ? "done"
                  : r.state == flight_state::started ? "waits"
                                                     : "queued");
  }
  return out;
}

}  // namespace rondel
