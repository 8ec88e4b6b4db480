#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>
#include <rondel/core/work.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <mutex>  // also std::chrono::steady_clock, at a third of the cost of <chrono>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace rondel {

/// One piece of work that ran.
struct timeline_span {
  /// What ran; lives as long as `work::name` does.
  const char* name = "";
  /// When it began, in seconds since the timeline's origin.
  double begin = 0;
  /// When it ended, in seconds since the timeline's origin.
  double end = 0;
  /// Floating-point operations.
  double flops = 0;
  /// Bytes that it read and wrote together.
  std::uint64_t bytes = 0;

  friend bool operator==(const timeline_span&, const timeline_span&) = default;
};

/// What one stream, or one host thread, of one rank ran. Made by `timeline::lane`.
///
/// One thread at a time adds to a lane, without a lock. Its address is stable.
class timeline_lane {
 public:
  /// For `timeline` only: at most `max_spans` are kept, while `recording` is true.
  timeline_lane(int rank, std::string name, std::size_t max_spans,
                const std::atomic<bool>& recording)
      : rank_(rank), name_(std::move(name)), max_spans_(max_spans), recording_(&recording) {}

  timeline_lane(const timeline_lane&) = delete;
  timeline_lane& operator=(const timeline_lane&) = delete;

  /// Rank that the lane belongs to, -1 where it has none.
  [[nodiscard]] int rank() const noexcept { return rank_; }
  /// What the lane is called.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// Makes room for `spans` in all, so that adding up to that many allocates nothing.
  void reserve(std::size_t spans) { spans_.reserve(spans < max_spans_ ? spans : max_spans_); }

  /// Adds `w`, which ran from `begin` to `end`, in seconds since the timeline's origin. Does
  /// nothing while the timeline does not record; drops and counts the span where there is no
  /// room. Throws `invalid_argument` unless `begin <= end` and both are finite.
  void add(const work& w, double begin, double end) {
    constexpr double limit = std::numeric_limits<double>::max();
    if (!(-limit <= begin && begin <= end && end <= limit)) {
      throw invalid_argument(concat("timeline_lane::add: '", w.name == nullptr ? "" : w.name,
                                    "' from ", begin, " s to ", end, " s is no span of time"));
    }
    if (!recording_->load(std::memory_order_relaxed)) return;
    if (spans_.size() >= max_spans_) {
      ++dropped_;
      return;
    }
    try {
      spans_.push_back(
          {w.name == nullptr ? "" : w.name, begin, end, w.flops, w.bytes_read + w.bytes_written});
    } catch (const std::bad_alloc&) {
      ++dropped_;
    }
  }

  /// What ran, in the order of the calls of `add`. Valid until the next one.
  [[nodiscard]] const std::vector<timeline_span>& spans() const noexcept { return spans_; }
  /// Number of spans that found no room.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  int rank_;
  std::string name_;
  std::size_t max_spans_;
  const std::atomic<bool>* recording_;
  std::uint64_t dropped_ = 0;
  std::vector<timeline_span> spans_;
};

/// What ran when, on all lanes of all ranks of a process, or of a simulated cluster.
///
/// Records from construction on. Holds 40 bytes per span and at most `max_spans_per_lane` of
/// them per lane. Renderers: `to_perfetto_json`, `to_svg`.
class timeline {
 public:
  /// Sets the origin of time to now; lanes drop what goes beyond `max_spans_per_lane`.
  explicit timeline(std::size_t max_spans_per_lane = std::size_t{1} << 20)
      : max_spans_(max_spans_per_lane) {}

  timeline(const timeline&) = delete;
  timeline& operator=(const timeline&) = delete;

  /// A new lane of `rank`, another one at each call even where the names are equal. It lives as
  /// long as the timeline. Any thread may call this at any time.
  [[nodiscard]] timeline_lane& lane(int rank, std::string name) {
    const std::lock_guard lock(mutex_);
    return lanes_.emplace_back(rank, std::move(name), max_spans_, recording_);
  }

  /// Seconds since construction, on the steady clock. Simulators give their own times instead.
  [[nodiscard]] double now() const noexcept {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - origin_).count();
  }

  /// Whether spans are kept. Never blocks.
  [[nodiscard]] bool recording() const noexcept {
    return recording_.load(std::memory_order_relaxed);
  }
  /// Keeps spans from now on. Spans that are running may be kept or not.
  void start() noexcept { recording_.store(true, std::memory_order_relaxed); }
  /// Keeps no spans from now on. Spans that are running may be kept or not.
  void stop() noexcept { recording_.store(false, std::memory_order_relaxed); }

  /// All lanes, by rank and then in the order they were made. To be called, and the lanes to be
  /// read, once nobody records any more.
  [[nodiscard]] std::vector<const timeline_lane*> lanes() const {
    const std::lock_guard lock(mutex_);
    std::vector<const timeline_lane*> out;
    out.reserve(lanes_.size());
    for (const timeline_lane& one : lanes_) {
      auto place = out.end();
      while (place != out.begin() && place[-1]->rank() > one.rank()) --place;
      out.insert(place, &one);
    }
    return out;
  }

  /// Number of spans of all lanes that found no room. To be called once nobody records any more.
  [[nodiscard]] std::uint64_t dropped() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t sum = 0;
    for (const timeline_lane& one : lanes_) sum += one.dropped();
    return sum;
  }

 private:
  std::size_t max_spans_;
  std::chrono::steady_clock::time_point origin_ = std::chrono::steady_clock::now();
  std::atomic<bool> recording_{true};
  mutable std::mutex mutex_;
  std::list<timeline_lane> lanes_;
};

/// Records the life of a scope on the host as one span.
///
/// ```
/// rondel::scoped_span mark(&recorder, &lane, {.name = "load batch"});
/// ```
class scoped_span {
 public:
  /// Begins a span of `w` in `lane` of `recorder`. Does nothing if either is null or the
  /// timeline does not record.
  scoped_span(const timeline* recorder, timeline_lane* lane, const work& w) noexcept {
    if (lane == nullptr || recorder == nullptr || !recorder->recording()) return;
    recorder_ = recorder;
    lane_ = lane;
    work_ = w;
    begin_ = recorder->now();
  }

  scoped_span(const scoped_span&) = delete;
  scoped_span& operator=(const scoped_span&) = delete;

  /// Ends the span. It is kept if the timeline still records.
  ~scoped_span() {
    if (lane_ != nullptr) lane_->add(work_, begin_, recorder_->now());
  }

 private:
  const timeline* recorder_ = nullptr;
  timeline_lane* lane_ = nullptr;
  work work_;
  double begin_ = 0;
};

}  // namespace rondel
