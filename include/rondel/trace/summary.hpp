#pragma once
#include <rondel/trace/timeline.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rondel {

/// A stretch of time, in seconds.
struct time_interval {
  /// When it begins.
  double begin = 0;
  /// When it ends.
  double end = 0;

  friend bool operator==(const time_interval&, const time_interval&) = default;
};

/// When at least one of `spans` ran: the union of their times, as disjoint intervals in order.
[[nodiscard]] inline std::vector<time_interval> busy_intervals(
    const std::vector<timeline_span>& spans) {
  std::vector<time_interval> parts;
  parts.reserve(spans.size());
  for (const timeline_span& span : spans) parts.push_back({span.begin, span.end});
  std::sort(parts.begin(), parts.end(),
            [](const time_interval& a, const time_interval& b) { return a.begin < b.begin; });
  std::size_t count = 0;
  for (const time_interval& part : parts) {
    if (count > 0 && part.begin <= parts[count - 1].end) {
      parts[count - 1].end = std::max(parts[count - 1].end, part.end);
    } else {
      parts[count++] = part;
    }
  }
  parts.resize(count);
  return parts;
}

/// Seconds that lie both in one of `a` and in one of `b`; each is disjoint and in order.
[[nodiscard]] inline double overlap(const std::vector<time_interval>& a,
                                    const std::vector<time_interval>& b) noexcept {
  double seconds = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    seconds += std::max(0.0, std::min(a[i].end, b[j].end) - std::max(a[i].begin, b[j].begin));
    a[i].end < b[j].end ? ++i : ++j;
  }
  return seconds;
}

/// Seconds in which both lanes are busy: of communication, the part that computation hides.
[[nodiscard]] inline double overlap(const timeline_lane& a, const timeline_lane& b) {
  return overlap(busy_intervals(a.spans()), busy_intervals(b.spans()));
}

/// What a lane did in total.
struct lane_summary {
  /// Number of spans.
  std::size_t spans = 0;
  /// When the first span began, in seconds since the timeline's origin; 0 without spans.
  double begin = 0;
  /// When the last span ended, in seconds since the timeline's origin; 0 without spans.
  double end = 0;
  /// Seconds in which at least one span ran.
  double busy = 0;
  /// Seconds between `begin` and `end` in which none ran.
  double idle = 0;
  /// Floating-point operations of all spans.
  double flops = 0;
  /// Bytes that all spans read and wrote.
  std::uint64_t bytes = 0;
};

/// Sums over all spans of `lane`; spans that overlap are busy time once.
[[nodiscard]] inline lane_summary summarize(const timeline_lane& lane) {
  lane_summary out;
  const std::vector<time_interval> busy = busy_intervals(lane.spans());
  if (busy.empty()) return out;
  out.spans = lane.spans().size();
  out.begin = busy.front().begin;
  out.end = busy.back().end;
  for (std::size_t i = 0; i < busy.size(); ++i) {
    out.busy += busy[i].end - busy[i].begin;
    if (i > 0) out.idle += busy[i].begin - busy[i - 1].end;
  }
  for (const timeline_span& span : lane.spans()) {
    out.flops += span.flops;
    out.bytes += span.bytes;
  }
  return out;
}

}  // namespace rondel
