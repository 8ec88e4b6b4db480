#pragma once
#include <rondel/core/text.hpp>
#include <rondel/trace/timeline.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace rondel::detail {

// Spans as nested scopes list them: by begin, and the enclosing one before what it encloses.
[[nodiscard]] inline std::vector<timeline_span> in_nesting_order(const timeline_lane& lane) {
  std::vector<timeline_span> out = lane.spans();
  std::sort(out.begin(), out.end(), [](const timeline_span& a, const timeline_span& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  return out;
}

// What readers call a rank.
[[nodiscard]] inline std::string rank_label(int rank) {
  return rank < 0 ? std::string("no rank") : concat("rank ", rank);
}

}  // namespace rondel::detail
