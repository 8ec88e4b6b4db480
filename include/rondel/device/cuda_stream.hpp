#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/accounts.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/cuda_check.hpp>
#include <rondel/device/cuda_nvtx.hpp>
#include <rondel/device/cuda_timeline.hpp>
#include <rondel/device/cuda_wait.hpp>
#include <rondel/device/stream_listener.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <utility>

#include <cuda_runtime_api.h>

namespace rondel {

/// The event of `cuda_stream`. See the concept `event`.
///
/// Belongs to the device that made it, and is recorded on streams of that device; streams of any
/// device may wait for it. Carries no time. One thread at a time uses it, save that any may wait.
class cuda_event {
 public:
  /// Made by `cuda_device::make_event`. Throws `device_error`.
  explicit cuda_event(int ordinal) : ordinal_(ordinal) {
    const detail::device_guard guard(ordinal);
    detail::check_cuda(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming),
                       "cudaEventCreateWithFlags", ordinal);
  }
  cuda_event(cuda_event&& other) noexcept { swap(other); }
  cuda_event& operator=(cuda_event&& other) noexcept {
    cuda_event(std::move(other)).swap(*this);
    return *this;
  }
  // What fails here fails every later call too, or harms nobody.
  ~cuda_event() {
    if (handle_ != nullptr && cudaEventDestroy(handle_) != cudaSuccess) (void)cudaGetLastError();
  }

  /// Whether the point has passed. Throws `device_error` if the device has failed.
  [[nodiscard]] bool ready() const {
    const cudaError_t state = cudaEventQuery(handle_);
    if (state == cudaErrorNotReady) {
      detail::forget_not_ready();
      return false;
    }
    detail::check_cuda(state, "cudaEventQuery", ordinal_);
    return true;
  }
  /// Blocks until it has. Throws `device_error` if the device has failed, and what a
  /// `stream_watcher` of the stream throws.
  void synchronize() const {
    const cudaError_t state =
        detail::await_cuda([this] { return cudaEventQuery(handle_); }, watchers_.get());
    if (watchers_ != nullptr) watchers_->poll();
    detail::check_cuda(state, "cudaEventQuery", ordinal_);
  }

  /// The CUDA event, which stays this object's.
  [[nodiscard]] cudaEvent_t native() const noexcept { return handle_; }
  /// The device that it belongs to.
  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }

 private:
  friend class cuda_stream;

  void swap(cuda_event& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(ordinal_, other.ordinal_);
    std::swap(watchers_, other.watchers_);
  }
  cudaEvent_t handle_ = nullptr;
  int ordinal_ = -1;
  std::shared_ptr<detail::cuda_watchers> watchers_;  // of the stream that recorded it last
};

/// The stream of `cuda_device`. See the concept `stream`.
///
/// A call that fails, and a callable that throws, make the stream fail: something of its order is
/// missing, so every later call throws the same. Its destructor waits for what is queued, unless
/// the stream was adopted, and then destroys the CUDA stream. It must outlive the buffers that
/// were allocated on it. Holds no device memory.
class cuda_stream {
 public:
  /// Event type.
  using event_type = cuda_event;

  /// Made by `cuda_device::make_stream` and `cuda_device::adopt`. Takes `handle`, of the device
  /// `ordinal`, and destroys it in the end if it `owns` it.
  cuda_stream(std::shared_ptr<detail::device_account> account, int ordinal, cudaStream_t handle,
              bool owns, std::unique_ptr<detail::cuda_lane> lane, stream_listener* listener)
      : state_(std::make_unique<state>(std::move(account), ordinal, handle, owns, std::move(lane),
                                       listener)) {}

  cuda_stream(cuda_stream&&) noexcept = default;
  cuda_stream& operator=(cuda_stream&&) noexcept = default;
  ~cuda_stream() = default;

  /// Calls `f(cudaStream_t)` at once, with the stream's device current; `f` enqueues. Throws what
  /// `f` throws, and `device_error` if a kernel that `f` launched could not be. An error that
  /// earlier calls of others have left in the thread is cleared first, and is not blamed on `f`.
  template <std::invocable<cudaStream_t> F>
  void launch(const work& w, F&& f) {
    state_->throw_if_failed();
    state_->account->launched(w);
    state_->issue([&] {
      const detail::nvtx_range range(w.name);
      const detail::recorded_launch record(state_->lane.get(), w, state_->handle);
      (void)cudaGetLastError();
      std::forward<F>(f)(state_->handle);
      detail::check_cuda(cudaGetLastError(), w.name, state_->ordinal);
    });
  }

  /// Copies bytes on the device, or between devices, by way of the host where they cannot reach
  /// each other.
  void copy(device_span<std::byte> to, device_span<const std::byte> from) {
    transfer("copy", to.data(), to.size(), from.data(), from.size(), cudaMemcpyDefault);
  }
  /// Copies bytes from the host to the device. From pageable memory the call may block until the
  /// bytes are staged, and does so as `synchronize` if the stream is watched; from a
  /// `cuda_host_buffer` it never does.
  void upload(device_span<std::byte> to, std::span<const std::byte> from) {
    transfer("upload", to.data(), to.size(), from.data(), from.size(), cudaMemcpyHostToDevice);
  }
  /// Copies bytes from the device to the host. To pageable memory the call may block until they
  /// are there, as for an upload; to a `cuda_host_buffer` it never does.
  void download(std::span<std::byte> to, device_span<const std::byte> from) {
    transfer("download", to.data(), to.size(), from.data(), from.size(), cudaMemcpyDeviceToHost);
  }

  /// Sets `e` to this point of the stream. Throws `invalid_argument` if `e` is another device's.
  void record(cuda_event& e) {
    state_->throw_if_failed();
    if (e.ordinal() != state_->ordinal) {
      throw invalid_argument(concat("cuda_stream::record: an event of CUDA device ", e.ordinal(),
                                    " on a stream of device ", state_->ordinal));
    }
    state_->issue([&] {
      detail::check_cuda(cudaEventRecord(e.handle_, state_->handle), "cudaEventRecord",
                         state_->ordinal);
    });
    e.watchers_ = state_->watchers;
  }
  /// Lets later work of this stream wait for `e`, which may be another device's. Who waits for
  /// this stream then asks the watchers of the other one too.
  void wait(const cuda_event& e) {
    state_->throw_if_failed();
    if (e.watchers_ != nullptr) state_->watchers->add(*e.watchers_);
    state_->issue([&] {
      detail::check_cuda(cudaStreamWaitEvent(state_->handle, e.handle_, 0), "cudaStreamWaitEvent",
                         state_->ordinal);
    });
  }

  /// Whether all work is done. Throws `device_error` if the device has failed.
  [[nodiscard]] bool idle() const {
    const cudaError_t code = cudaStreamQuery(state_->handle);
    if (code == cudaErrorNotReady) {
      detail::forget_not_ready();
      return false;
    }
    detail::check_cuda(code, "cudaStreamQuery", state_->ordinal);
    return true;
  }

  /// Blocks until it is. Throws what the stream failed with, and what a watcher throws.
  void synchronize() {
    const cudaError_t code = state_->drain();
    state_->watchers->poll();
    state_->throw_if_failed();
    state_->issue([&] {
      detail::check_cuda(code, "cudaStreamQuery", state_->ordinal);
      if (state_->lane != nullptr) state_->lane->read();
    });
  }

  /// While the host waits for this stream, or for an event that is recorded on it from now on, it
  /// asks `watcher`, as long as that lives. For engines whose queued work may never end by itself.
  void watch(const std::shared_ptr<stream_watcher>& watcher) { state_->watchers->add(watcher); }

  /// The CUDA stream, which stays this object's.
  [[nodiscard]] cudaStream_t native() const noexcept { return state_->handle; }
  /// The device that it belongs to.
  [[nodiscard]] int ordinal() const noexcept { return state_->ordinal; }

 private:
  struct state {
    state(std::shared_ptr<detail::device_account> a, int device, cudaStream_t h, bool own,
          std::unique_ptr<detail::cuda_lane> r, stream_listener* l)
        : account(std::move(a)),
          ordinal(device),
          handle(h),
          owns(own),
          lane(std::move(r)),
          listener(l) {}
    state(const state&) = delete;
    state& operator=(const state&) = delete;
    ~state() {
      if (!owns) return;
      try {
        if (listener != nullptr && std::uncaught_exceptions() > exceptions) {
          // Work that needs no peer is done within this time, and then there is nobody to wake.
          for (int i = 0; i < 100 && cudaStreamQuery(handle) == cudaErrorNotReady; ++i) {
            detail::sync::sleep_for(std::chrono::milliseconds(1));
          }
          if (cudaStreamQuery(handle) == cudaErrorNotReady) listener->unwinding();
          detail::forget_not_ready();
        }
        (void)drain();
        if (lane != nullptr) lane->read();
      } catch (...) {  // a watcher has ended the wait: the runtime finishes the queue by itself
      }
      if (cudaStreamDestroy(handle) != cudaSuccess) (void)cudaGetLastError();
    }

    // Runs `f` with the device current; what it throws is the stream's failure.
    template <class F>
    void issue(const F& f) {
      try {
        const detail::device_guard guard(ordinal);
        f();
      } catch (...) {
        if (failure == nullptr) {
          failure = std::current_exception();
          if (listener != nullptr) listener->failed(failure);
        }
        throw;
      }
    }

    [[nodiscard]] cudaError_t drain() {
      return detail::await_cuda([this] { return cudaStreamQuery(handle); }, watchers.get());
    }

    void throw_if_failed() const {
      if (failure != nullptr) std::rethrow_exception(failure);
    }

    std::shared_ptr<detail::device_account> account;
    int ordinal;
    cudaStream_t handle;
    bool owns;
    std::unique_ptr<detail::cuda_lane> lane;  // null where nothing is recorded
    stream_listener* listener;
    int exceptions = std::uncaught_exceptions();  // more of them destroy the stream: it unwinds
    std::exception_ptr failure;
    std::shared_ptr<detail::cuda_watchers> watchers = std::make_shared<detail::cuda_watchers>();
  };

  void transfer(const char* name, void* to, std::size_t to_size, const void* from,
                std::size_t from_size, cudaMemcpyKind kind) {
    detail::check_copy(name, to_size, from_size);
    if (to_size == 0) return;
    if (kind != cudaMemcpyDefault) {
      await_watched(kind == cudaMemcpyHostToDevice ? from : static_cast<const void*>(to));
    }
    launch({.name = name, .bytes_read = from_size, .bytes_written = to_size}, [&](cudaStream_t s) {
      detail::check_cuda(cudaMemcpyAsync(to, from, to_size, kind, s), "cudaMemcpyAsync",
                         state_->ordinal);
    });
  }

  // The runtime blocks in a copy of pageable memory until the stream has come to it, where no
  // watcher could end the wait; so who may have to wait for peers does it before.
  void await_watched(const void* host) {
    if (!state_->watchers->any()) return;
    cudaPointerAttributes known = {};
    const cudaError_t code = cudaPointerGetAttributes(&known, host);
    if (code != cudaSuccess) (void)cudaGetLastError();
    if (code == cudaSuccess && known.type != cudaMemoryTypeUnregistered) return;
    synchronize();
  }

  std::unique_ptr<state> state_;
};

static_assert(event<cuda_event>);
static_assert(stream<cuda_stream>);

}  // namespace rondel
