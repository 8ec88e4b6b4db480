#pragma once
#include <rondel/core/text.hpp>
#include <rondel/trace/format.hpp>
#include <rondel/trace/nesting.hpp>
#include <rondel/trace/timeline.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rondel {
namespace detail {

// Nanoseconds since the origin; steady times of 200 years fit.
[[nodiscard]] inline std::int64_t whole_nanoseconds(double seconds) noexcept {
  const double size = magnitude(seconds) < 9e9 ? magnitude(seconds) : 9e9;
  const auto whole = static_cast<std::int64_t>(size * 1e9 + 0.5);
  return seconds < 0 ? -whole : whole;
}

// Appends nanoseconds as microseconds with three decimals.
inline void append_microseconds(std::string& out, std::int64_t nanoseconds) {
  if (nanoseconds < 0) out += '-';
  const auto size = static_cast<std::uint64_t>(nanoseconds < 0 ? -nanoseconds : nanoseconds);
  const std::string fraction = std::to_string(1000 + size % 1000);
  out.append(std::to_string(size / 1000)).append(".").append(fraction, 1, 3);
}

inline void append_metadata(std::string& out, std::string_view what, int pid, std::size_t tid,
                            std::string_view key, const std::string& json) {
  out += concat("{\"ph\":\"M\",\"name\":\"", what, "\",\"pid\":", pid, ",\"tid\":", tid,
                ",\"args\":{\"", key, "\":", json, "}},\n");
}

inline void append_complete_event(std::string& out, const timeline_span& span, int pid,
                                  std::size_t tid) {
  const std::int64_t begin = whole_nanoseconds(span.begin);
  const std::int64_t length = whole_nanoseconds(span.end) - begin;
  out += "{\"ph\":\"X\",\"name\":";
  append_json_string(out, span.name);
  out += concat(",\"pid\":", pid, ",\"tid\":", tid, ",\"ts\":");
  append_microseconds(out, begin);
  out += ",\"dur\":";
  append_microseconds(out, length);
  out += ",\"args\":{\"flops\":";
  append_number(out, span.flops, 3);
  out += concat(",\"bytes\":", span.bytes);
  const double nanoseconds = (span.end - span.begin) * 1e9;
  if (nanoseconds > 0 && span.flops > 0) {
    out += ",\"GFLOP/s\":";
    append_number(out, span.flops / nanoseconds, 3);
  }
  if (nanoseconds > 0 && span.bytes > 0) {
    out += ",\"GB/s\":";
    append_number(out, static_cast<double>(span.bytes) / nanoseconds, 3);
  }
  out += "}},\n";
}

}  // namespace detail

/// `recorded` in the Trace Event Format, for ui.perfetto.dev and chrome://tracing.
///
/// A process is a rank, a thread is a lane; both are named and in the order of
/// `timeline::lanes`. Thread numbers count lanes from 1 over all ranks. Times are in microseconds
/// to the nanosecond. Each span shows its flops, its bytes and, where it took time, the GFLOP/s
/// and GB/s that it achieved. `otherData.dropped_spans` counts the spans that found no room.
/// To be called once nobody records any more.
[[nodiscard]] inline std::string to_perfetto_json(const timeline& recorded) {
  const std::vector<const timeline_lane*> lanes = recorded.lanes();
  std::string out = "{\"traceEvents\":[\n";
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const timeline_lane& lane = *lanes[i];
    const std::size_t tid = i + 1;
    if (i == 0 || lanes[i - 1]->rank() != lane.rank()) {
      std::string name;
      detail::append_json_string(name, detail::rank_label(lane.rank()));
      detail::append_metadata(out, "process_name", lane.rank(), tid, "name", name);
      detail::append_metadata(out, "process_sort_index", lane.rank(), tid, "sort_index",
                              std::to_string(lane.rank()));
    }
    std::string name;
    detail::append_json_string(name, lane.name());
    detail::append_metadata(out, "thread_name", lane.rank(), tid, "name", name);
    detail::append_metadata(out, "thread_sort_index", lane.rank(), tid, "sort_index",
                            std::to_string(tid));
    for (const timeline_span& span : detail::in_nesting_order(lane)) {
      detail::append_complete_event(out, span, lane.rank(), tid);
    }
  }
  if (out.ends_with(",\n")) out.erase(out.size() - 2, 1);
  return out + concat("],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{\"dropped_spans\":",
                      recorded.dropped(), "}}\n");
}

}  // namespace rondel
