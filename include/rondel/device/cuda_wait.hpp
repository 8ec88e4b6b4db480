#pragma once
#include <rondel/core/sync.hpp>
#include <rondel/device/cuda_check.hpp>

#include <memory>
#include <mutex>
#include <vector>

#include <cuda_runtime_api.h>

namespace rondel {

/// Who knows that a stream may be waiting for something that never comes: the communicator of an
/// operation that was queued on it. See `cuda_stream::watch`.
class stream_watcher {
 public:
  virtual ~stream_watcher() = default;
  /// Called again and again while the host waits for the stream, and once when it has waited, on
  /// the thread that waits. Throws what the wait shall end with: a deadline that passed, a peer
  /// that failed, or that what the stream has done is not what was asked for.
  virtual void poll() = 0;
};

namespace detail {

// "Not ready" counts as an error to the runtime, which would blame the next kernel for it.
inline void forget_not_ready() noexcept { (void)cudaGetLastError(); }

// The watchers of a stream, and of the events that were recorded on it.
class cuda_watchers {
 public:
  void add(const std::shared_ptr<stream_watcher>& watcher) {
    const std::lock_guard lock(mutex_);
    std::erase_if(watchers_, [](const auto& one) { return one.expired(); });
    for (const auto& one : watchers_) {
      if (one.lock() == watcher) return;
    }
    watchers_.push_back(watcher);
  }
  [[nodiscard]] bool any() { return !present().empty(); }
  // Those of `other` too.
  void add(cuda_watchers& other) {
    if (&other == this) return;
    for (const auto& one : other.present()) add(one);
  }
  void poll() {
    for (const auto& one : present()) one->poll();
  }

 private:
  [[nodiscard]] std::vector<std::shared_ptr<stream_watcher>> present() {
    std::vector<std::shared_ptr<stream_watcher>> out;
    const std::lock_guard lock(mutex_);
    for (const auto& one : watchers_) {
      if (auto watcher = one.lock()) out.push_back(std::move(watcher));
    }
    return out;
  }

  std::mutex mutex_;
  std::vector<std::weak_ptr<stream_watcher>> watchers_;
};

// Blocks until `query()` says something other than "not ready", and returns that. The runtime's
// own blocking calls could not be ended by a deadline or a failed peer; `watchers`, which may be
// null, can end this one. Spins for about as long as a small kernel takes, then yields, then naps.
template <class Query>
[[nodiscard]] cudaError_t await_cuda(const Query& query, cuda_watchers* watchers) {
  constexpr unsigned yields = 400;
  constexpr unsigned queries_per_poll = 32;
  for (unsigned i = 0;; ++i) {
    const cudaError_t state = query();
    if (state != cudaErrorNotReady) {
      if (i != 0) forget_not_ready();
      return state;
    }
    if (watchers != nullptr && i % queries_per_poll == queries_per_poll - 1) watchers->poll();
    if (i < unsigned{sync::spins}) {
      sync::pause();
    } else if (i < sync::spins + yields) {
      sync::yield();
    } else {
      sync::sleep_for(std::chrono::microseconds(50));
    }
  }
}

}  // namespace detail
}  // namespace rondel
