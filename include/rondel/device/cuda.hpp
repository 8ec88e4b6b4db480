#pragma once
#include <rondel/device/accounts.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/cuda_check.hpp>
#include <rondel/device/cuda_pool.hpp>
#include <rondel/device/cuda_stream.hpp>
#include <rondel/device/cuda_timeline.hpp>
#include <rondel/trace/timeline.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

#include <cuda_runtime_api.h>

namespace rondel {

/// How a `cuda_device` is set up.
struct cuda_options {
  /// The CUDA device, as the runtime numbers those that are visible to the process.
  int ordinal = 0;
  /// Bytes that may be live at once, of this object's own.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// Rank that owns the device, for errors and timelines; -1 where it has none.
  int rank = -1;
  /// Where its streams record what they run, by events around each launch; null to record nothing.
  /// Must outlive the device. A stream that a CUDA graph captures must not record.
  timeline* recorder = nullptr;
  /// Told when a stream fails or its driver unwinds; may be null. Must outlive the streams.
  stream_listener* listener = nullptr;
};

/// Memory of a `cuda_device`. See the concept `buffer`.
class cuda_buffer {
 public:
  /// No memory.
  cuda_buffer() = default;

  /// Made by `cuda_device::allocate`.
  cuda_buffer(std::shared_ptr<detail::device_account> account,
              std::shared_ptr<detail::cuda_pool> pool, const cuda_stream& stream, std::size_t size)
      : account_(std::move(account)),
        pool_(std::move(pool)),
        stream_(stream.native()),
        size_(size) {
    if (size == 0) return;
    account_->reserve(size);
    try {
      data_ = pool_->allocate(stream_, size);
    } catch (...) {
      account_->release(size);
      throw;
    }
    if (data_ == nullptr) {
      account_->release(size);
      const memory_usage usage = account_->memory();
      throw out_of_memory(account_->rank(), size, usage.live, usage.limit);
    }
    account_->allocated();
  }

  cuda_buffer(cuda_buffer&& other) noexcept { swap(other); }
  cuda_buffer& operator=(cuda_buffer&& other) noexcept {
    cuda_buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~cuda_buffer() {
    if (data_ == nullptr) return;
    account_->release(size_);
    pool_->free(stream_, data_);
  }

  /// First byte, aligned to 256; null if empty.
  [[nodiscard]] void* data() const noexcept { return data_; }
  /// Bytes asked for.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void swap(cuda_buffer& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(pool_, other.pool_);
    std::swap(stream_, other.stream_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::shared_ptr<detail::device_account> account_;
  std::shared_ptr<detail::cuda_pool> pool_;
  cudaStream_t stream_ = nullptr;  // that frees it
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A GPU as a device. See the concept `device`.
///
/// Each object has a memory pool of its own, which keeps what it has got from the GPU until the
/// object and its buffers are gone; several objects, of several ranks, may share one GPU. The
/// caller's current device is never changed, and no default stream is used. A stream must outlive
/// the buffers that were allocated on it. Streams and buffers may outlive the device. One thread
/// at a time uses a device.
class cuda_device {
 public:
  /// Stream type.
  using stream_type = cuda_stream;
  /// Event type.
  using event_type = cuda_event;
  /// Buffer type.
  using buffer_type = cuda_buffer;

  /// A device that holds nothing yet. Throws `invalid_argument` if there is no such device, and
  /// `device_error` if there is no working driver.
  explicit cuda_device(cuda_options options = {})
      : options_(checked(options)),
        account_(std::make_shared<detail::device_account>(options.rank, options.memory_limit)),
        pool_(std::make_shared<detail::cuda_pool>(options.ordinal)) {
    if (options.recorder != nullptr) {
      clock_ = std::make_shared<detail::cuda_clock>(*options.recorder, options.ordinal);
    }
  }

  /// A stream that synchronises with no other; `name` is its lane in the timeline.
  [[nodiscard]] cuda_stream make_stream(const char* name = "stream") {
    pool_->throw_if_failed();
    const detail::device_guard guard(ordinal());
    cudaStream_t handle = nullptr;
    detail::check_cuda(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking),
                       "cudaStreamCreateWithFlags", ordinal());
    try {
      return {account_, ordinal(), handle, true, make_lane(name), options_.listener};
    } catch (...) {
      (void)cudaStreamDestroy(handle);
      throw;
    }
  }

  /// The user's own `stream`, which must outlive what is made here and is never destroyed by it.
  /// Throws `invalid_argument` if it is another device's.
  [[nodiscard]] cuda_stream adopt(cudaStream_t stream, const char* name = "stream") {
    int owner = -1;
    detail::check_cuda(cudaStreamGetDevice(stream, &owner), "cudaStreamGetDevice", ordinal());
    if (owner != ordinal()) {
      throw invalid_argument(
          concat("cuda_device::adopt: the stream is of CUDA device ", owner, ", not ", ordinal()));
    }
    return {account_, ordinal(), stream, false, make_lane(name), options_.listener};
  }

  /// An event that was never recorded.
  [[nodiscard]] cuda_event make_event() const { return cuda_event(ordinal()); }

  /// `bytes` of memory, usable from here on in the order of `stream`. Throws `out_of_memory`, and
  /// `device_error` if the runtime failed, now or when an earlier buffer was freed.
  [[nodiscard]] cuda_buffer allocate(cuda_stream& stream, std::size_t bytes) {
    return {account_, pool_, stream, bytes};
  }

  /// What is and was allocated.
  [[nodiscard]] memory_usage memory() const noexcept { return account_->memory(); }
  /// Lets the peak start anew from what is live.
  void reset_peak() noexcept { account_->reset_peak(); }
  /// The work of all launches of all streams so far.
  [[nodiscard]] work_total work_done() const noexcept { return account_->work_done(); }
  /// Rank that owns the device, -1 where it has none.
  [[nodiscard]] int rank() const noexcept { return options_.rank; }
  /// The CUDA device.
  [[nodiscard]] int ordinal() const noexcept { return options_.ordinal; }
  /// How it was set up.
  [[nodiscard]] const cuda_options& options() const noexcept { return options_; }

  /// Lets kernels and copies of the CUDA device `peer` use the memory of this device. Returns
  /// whether the two can reach each other; where not, only `cuda_stream::copy` moves bytes between
  /// them. Once per pair; communicators do it for their ranks. Throws `device_error`.
  bool open_to(int peer) { return pool_->open_to(peer); }
  /// Where its memory comes from, which peers may keep.
  [[nodiscard]] const std::shared_ptr<detail::cuda_pool>& pool() const noexcept { return pool_; }

 private:
  [[nodiscard]] std::unique_ptr<detail::cuda_lane> make_lane(const char* name) const {
    if (clock_ == nullptr) return nullptr;
    return std::make_unique<detail::cuda_lane>(clock_, ordinal(), rank(), name);
  }
  [[nodiscard]] static cuda_options checked(const cuda_options& options) {
    int count = 0;
    detail::check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount", -1);
    if (options.ordinal < 0 || options.ordinal >= count) {
      throw invalid_argument(concat("cuda_device: there is no CUDA device ", options.ordinal,
                                    ", but ", count, " counted from 0"));
    }
    return options;
  }

  cuda_options options_;
  std::shared_ptr<detail::device_account> account_;
  std::shared_ptr<detail::cuda_pool> pool_;
  std::shared_ptr<detail::cuda_clock> clock_;  // null where nothing is recorded
};

static_assert(buffer<cuda_buffer>);
static_assert(device<cuda_device>);

}  // namespace rondel
