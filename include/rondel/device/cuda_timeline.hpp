#pragma once
#include <rondel/core/work.hpp>
#include <rondel/device/cuda_check.hpp>
#include <rondel/device/cuda_wait.hpp>
#include <rondel/trace/timeline.hpp>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace rondel::detail {

// An event that carries a time.
class cuda_time {
 public:
  explicit cuda_time(int ordinal) {
    const device_guard guard(ordinal);
    check_cuda(cudaEventCreateWithFlags(&handle_, cudaEventDefault), "cudaEventCreateWithFlags",
               ordinal);
  }
  cuda_time(cuda_time&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  cuda_time& operator=(cuda_time&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~cuda_time() {
    if (handle_ != nullptr && cudaEventDestroy(handle_) != cudaSuccess) (void)cudaGetLastError();
  }
  [[nodiscard]] cudaEvent_t native() const noexcept { return handle_; }

 private:
  cudaEvent_t handle_ = nullptr;
};

// A moment that the GPU and a timeline both know.
class cuda_clock {
 public:
  cuda_clock(timeline& recorder, int ordinal) : recorder_(&recorder), origin_(ordinal) {
    const device_guard guard(ordinal);
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
               "cudaStreamCreateWithFlags", ordinal);
    cudaError_t code = cudaEventRecord(origin_.native(), stream);
    if (code == cudaSuccess) {
      code = await_cuda([&] { return cudaEventQuery(origin_.native()); }, nullptr);
    }
    seconds_ = recorder.now();
    const cudaError_t destroyed = cudaStreamDestroy(stream);
    check_cuda(code, "the first event of a timeline", ordinal);
    check_cuda(destroyed, "cudaStreamDestroy", ordinal);
  }

  [[nodiscard]] timeline& recorder() const noexcept { return *recorder_; }
  [[nodiscard]] cudaEvent_t origin() const noexcept { return origin_.native(); }
  [[nodiscard]] double seconds() const noexcept { return seconds_; }

 private:
  timeline* recorder_;
  cuda_time origin_;
  double seconds_ = 0;
};

// What a stream ran, from events before and after each launch. They are read once they have
// passed: when the stream is synchronised, and when many have gathered.
class cuda_lane {
 public:
  cuda_lane(std::shared_ptr<cuda_clock> clock, int ordinal, int rank, const char* name)
      : clock_(std::move(clock)),
        lane_(&clock_->recorder().lane(rank, name)),
        ordinal_(ordinal),
        last_seconds_(clock_->seconds()) {}

  [[nodiscard]] bool recording() const noexcept { return clock_->recorder().recording(); }

  // A launch on `stream` begins. Launches may lie in launches, and end in the reverse order.
  void begin(const work& w, cudaStream_t stream) {
    span next{w, take(), take()};
    check_cuda(cudaEventRecord(next.begin.native(), stream), "cudaEventRecord", ordinal_);
    open_.push_back(std::move(next));
  }
  // It has been queued, or has failed; if this fails too, the span is not kept.
  void end(cudaStream_t stream) noexcept {
    if (cudaEventRecord(open_.back().end.native(), stream) == cudaSuccess) {
      spans_.push_back(std::move(open_.back()));
    } else {
      (void)cudaGetLastError();
    }
    open_.pop_back();
    if (spans_.size() >= most_pending) read();
  }

  // Adds what has passed to the timeline. An event is told relative to the one before it, because
  // CUDA counts in a float of milliseconds.
  void read() noexcept {
    while (!spans_.empty() && cudaEventQuery(spans_.front().end.native()) == cudaSuccess) {
      span& s = spans_.front();
      float gap = 0, length = 0;
      if (cudaEventElapsedTime(&gap, last_ ? last_->native() : clock_->origin(),
                               s.begin.native()) == cudaSuccess &&
          cudaEventElapsedTime(&length, s.begin.native(), s.end.native()) == cudaSuccess) {
        const double begin = last_seconds_ + static_cast<double>(gap) * 1e-3;
        lane_->add(s.what, begin, begin + static_cast<double>(length) * 1e-3);
        last_seconds_ = begin;
        if (last_) free_.push_back(std::move(*last_));
        last_ = std::move(s.begin);
      }
      free_.push_back(std::move(s.end));
      spans_.pop_front();
    }
    forget_not_ready();
  }

 private:
  struct span {
    work what;
    cuda_time begin, end;
  };
  static constexpr std::size_t most_pending = 256;

  [[nodiscard]] cuda_time take() {
    if (free_.empty()) return cuda_time(ordinal_);
    cuda_time out = std::move(free_.back());
    free_.pop_back();
    return out;
  }

  std::shared_ptr<cuda_clock> clock_;
  timeline_lane* lane_;
  int ordinal_;
  std::vector<span> open_;
  std::deque<span> spans_;  // queued, and not read yet
  std::vector<cuda_time> free_;
  std::optional<cuda_time> last_;  // the begin of the last span that was added
  double last_seconds_;
};

// A launch between its two events.
class recorded_launch {
 public:
  recorded_launch(cuda_lane* lane, const work& w, cudaStream_t stream)
      : lane_(lane != nullptr && lane->recording() ? lane : nullptr), stream_(stream) {
    if (lane_ != nullptr) lane_->begin(w, stream);
  }
  recorded_launch(const recorded_launch&) = delete;
  recorded_launch& operator=(const recorded_launch&) = delete;
  ~recorded_launch() {
    if (lane_ != nullptr) lane_->end(stream_);
  }

 private:
  cuda_lane* lane_;
  cudaStream_t stream_;
};

}  // namespace rondel::detail
