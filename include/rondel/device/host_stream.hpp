#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/accounts.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/stream_listener.hpp>
#include <rondel/device/task_queue.hpp>
#include <rondel/trace/timeline.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace rondel {

/// How a host stream runs its work.
enum class stream_mode : std::uint8_t {
  /// Inside the call that queues it, on the caller's thread. Nothing overlaps.
  immediate,
  /// On a thread of the stream's own, beside the caller and the other streams.
  worker,
};

/// The event of host streams. See the concept `event`.
class host_event {
 public:
  /// An event that was never recorded.
  host_event() = default;

  /// Whether the point has passed.
  [[nodiscard]] bool ready() const noexcept {
    return point_ == nullptr || point_->passed.load(std::memory_order_acquire) >= turn_;
  }

  /// Blocks until the point has passed. Throws what its stream failed with.
  void synchronize() const {
    if (point_ == nullptr) return;
    for (auto passed = point_->passed.load(std::memory_order_acquire); passed < turn_;
         passed = point_->passed.load(std::memory_order_acquire)) {
      point_->passed.wait(passed, std::memory_order_acquire);
    }
    if (point_->failed_at.load(std::memory_order_acquire) <= turn_) {
      std::rethrow_exception(point_->failure);
    }
  }

 private:
  friend class host_stream;

  // Records of one event on one stream pass in order, so a counter tells them apart.
  struct point {
    explicit point(const void* recorded_on) : owner(recorded_on) {}
    void pass(std::uint64_t turn, const std::exception_ptr& error) noexcept {
      if (error != nullptr && failed_at.load(std::memory_order_relaxed) == UINT64_MAX) {
        failure = error;
        failed_at.store(turn, std::memory_order_release);
      }
      passed.store(turn, std::memory_order_release);
      passed.notify_all();
    }
    const void* owner;
    detail::sync::atomic<std::uint64_t> passed{0};
    detail::sync::atomic<std::uint64_t> failed_at{UINT64_MAX};
    detail::sync::plain<std::exception_ptr> failure;
  };

  std::shared_ptr<point> point_;
  std::uint64_t turn_ = 0;
};

/// The stream of `host_device`, immediate or worker. See the concept `stream`.
///
/// Holds no device memory. A worker stream owns one thread and a ring of queued closures; its
/// destructor first runs what is queued.
class host_stream {
 public:
  /// Event type.
  using event_type = host_event;

  /// Made by `host_device::make_stream`.
  host_stream(std::shared_ptr<detail::device_account> account, stream_mode mode, timeline* recorder,
              timeline_lane* lane, stream_listener* listener)
      : state_(std::make_unique<state>(std::move(account), recorder, lane, listener)) {
    if (mode == stream_mode::worker) state_->queue.emplace();
  }

  host_stream(host_stream&&) noexcept = default;
  host_stream& operator=(host_stream&&) noexcept = default;
  ~host_stream() {
    if (state_ != nullptr && state_->listener != nullptr &&
        std::uncaught_exceptions() > state_->exceptions) {
      // Work that needs no peer is done within this time, and then there is nobody to wake.
      for (int i = 0; i < 100 && !idle(); ++i) {
        detail::sync::sleep_for(std::chrono::milliseconds(1));
      }
      if (!idle()) state_->listener->unwinding();
    }
  }

  /// How work runs.
  [[nodiscard]] stream_mode mode() const noexcept {
    return state_->queue ? stream_mode::worker : stream_mode::immediate;
  }

  /// Queues `f()`. What it throws comes out here if immediate, else later.
  template <class F>
  void launch(const work& w, F&& f) {
    state_->throw_if_failed();
    state_->account->launched(w);
    if (!state_->queue) {
      state_->run(w, f);
      state_->throw_if_failed();
      return;
    }
    state_->queue->push(
        detail::task([s = state_.get(), w, f = std::forward<F>(f)]() mutable { s->run(w, f); }));
  }

  /// Copies bytes on the device.
  void copy(device_span<std::byte> to, device_span<const std::byte> from) {
    transfer("copy", to.data(), to.size(), from.data(), from.size());
  }
  /// Copies bytes from the host to the device.
  void upload(device_span<std::byte> to, std::span<const std::byte> from) {
    transfer("upload", to.data(), to.size(), from.data(), from.size());
  }
  /// Copies bytes from the device to the host.
  void download(std::span<std::byte> to, device_span<const std::byte> from) {
    transfer("download", to.data(), to.size(), from.data(), from.size());
  }

  /// Sets `e` to this point of the stream.
  void record(host_event& e) {
    state_->throw_if_failed();
    // A point that failed is never reused: its owner's address may be that of a dead stream.
    if (e.point_ == nullptr || e.point_->owner != state_.get() ||
        e.point_->failed_at.load(std::memory_order_acquire) != UINT64_MAX) {
      e.point_ = std::make_shared<host_event::point>(state_.get());
      e.turn_ = 0;
    }
    ++e.turn_;
    if (!state_->queue) {
      e.point_->pass(e.turn_, nullptr);
      return;
    }
    state_->queue->push(detail::task(
        [s = state_.get(), point = e.point_, turn = e.turn_] { point->pass(turn, s->failure); }));
  }

  /// Lets later work of this stream wait for `e`.
  void wait(const host_event& e) {
    state_->throw_if_failed();
    if (e.point_ == nullptr) return;
    if (!state_->queue) {
      state_->await(e);
      state_->throw_if_failed();
      return;
    }
    state_->queue->push(detail::task([s = state_.get(), e] { s->await(e); }));
  }

  /// Whether all work is done.
  [[nodiscard]] bool idle() const noexcept { return !state_->queue || state_->queue->idle(); }

  /// Blocks until it is. Throws what the stream failed with.
  void synchronize() {
    if (state_->queue) state_->queue->drain();
    state_->throw_if_failed();
  }

 private:
  friend class host_buffer;

  struct state {
    state(std::shared_ptr<detail::device_account> a, timeline* r, timeline_lane* l,
          stream_listener* u)
        : account(std::move(a)), recorder(r), lane(l), listener(u) {}

    template <class F>
    void run(const work& w, F& f) noexcept {
      if (failure != nullptr) return;
      try {
        if (lane != nullptr && recorder->recording()) {
          const double begin = recorder->now();
          f();
          lane->add(w, begin, recorder->now());
        } else {
          f();
        }
      } catch (...) {
        fail(std::current_exception());
      }
    }

    void await(const host_event& e) noexcept {
      try {
        e.synchronize();
      } catch (...) {
        fail(std::current_exception());
      }
    }

    void fail(std::exception_ptr error) noexcept {
      if (failure != nullptr) return;
      failure = std::move(error);
      if (listener != nullptr) listener->failed(failure);
      failed.store(true, std::memory_order_release);
    }

    void throw_if_failed() const {
      if (failed.load(std::memory_order_acquire)) std::rethrow_exception(failure);
    }

    std::shared_ptr<detail::device_account> account;
    timeline* recorder;
    timeline_lane* lane;
    stream_listener* listener;
    int exceptions = std::uncaught_exceptions();  // more of them destroy the stream: it unwinds
    detail::sync::plain<std::exception_ptr>
        failure;  // written by the thread that runs the work, once
    detail::sync::atomic<bool> failed{false};
    std::optional<detail::task_queue> queue;  // last: its thread uses all of the above
  };

  void transfer(const char* name, void* to, std::size_t to_size, const void* from,
                std::size_t from_size) {
    detail::check_copy(name, to_size, from_size);
    if (to_size == 0) return;
    launch({.name = name, .bytes_read = from_size, .bytes_written = to_size},
           [=] { std::memmove(to, from, to_size); });
  }

  std::unique_ptr<state> state_;
};

static_assert(event<host_event>);
static_assert(stream<host_stream>);

}  // namespace rondel
