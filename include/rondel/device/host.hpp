#pragma once
#include <rondel/device/accounts.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/host_stream.hpp>
#include <rondel/trace/timeline.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>

namespace rondel {

/// How a `host_device` is set up.
struct host_options {
  /// Mode of the streams it makes, where the call does not name one.
  stream_mode streams = stream_mode::immediate;
  /// Bytes that may be live at once.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// Rank that owns the device, for errors and timelines; -1 where it has none.
  int rank = -1;
  /// Where its streams record what they run; null to record nothing. Must outlive the device.
  timeline* recorder = nullptr;
  /// Told when a stream fails or its driver unwinds; may be null. Must outlive the streams.
  stream_listener* listener = nullptr;
};

/// Memory of a `host_device`. See the concept `buffer`.
class host_buffer {
 public:
  /// No memory.
  host_buffer() = default;

  /// Made by `host_device::allocate`.
  host_buffer(std::shared_ptr<detail::device_account> account, host_stream& stream,
              std::size_t size)
      : account_(std::move(account)),
        queue_(stream.state_->queue ? &*stream.state_->queue : nullptr),
        size_(size) {
    if (size == 0) return;
    account_->reserve(size);
    try {
      data_ = ::operator new(size, alignment);
    } catch (const std::bad_alloc&) {
      account_->release(size);
      const memory_usage usage = account_->memory();
      throw out_of_memory(account_->rank(), size, usage.live, usage.limit);
    }
    account_->allocated();
  }

  host_buffer(host_buffer&& other) noexcept { swap(other); }
  host_buffer& operator=(host_buffer&& other) noexcept {
    host_buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~host_buffer() {
    if (data_ == nullptr) return;
    account_->release(size_);
    if (queue_ != nullptr) {
      queue_->push(detail::task([data = data_] { ::operator delete(data, alignment); }));
    } else {
      ::operator delete(data_, alignment);
    }
  }

  /// First byte, aligned to 64; null if empty.
  [[nodiscard]] void* data() const noexcept { return data_; }
  /// Bytes asked for.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::align_val_t alignment{64};

  void swap(host_buffer& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(queue_, other.queue_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::shared_ptr<detail::device_account> account_;
  detail::task_queue* queue_ = nullptr;  // of the stream that frees it; null if immediate
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The host's own memory and cores as a device. See the concept `device`.
///
/// A stream must outlive the buffers that were allocated on it. Streams and buffers may outlive
/// the device. One thread at a time uses a device.
class host_device {
 public:
  /// Stream type.
  using stream_type = host_stream;
  /// Event type.
  using event_type = host_event;
  /// Buffer type.
  using buffer_type = host_buffer;

  /// A device that holds nothing yet.
  explicit host_device(host_options options = {})
      : options_(options),
        account_(std::make_shared<detail::device_account>(options.rank, options.memory_limit)) {}

  /// A stream of the device's own mode; `name` is its lane in the timeline.
  [[nodiscard]] host_stream make_stream(const char* name = "stream") {
    return make_stream(name, options_.streams);
  }
  /// A stream of the mode `mode`.
  [[nodiscard]] host_stream make_stream(const char* name, stream_mode mode) {
    timeline_lane* lane =
        options_.recorder == nullptr ? nullptr : &options_.recorder->lane(options_.rank, name);
    return {account_, mode, options_.recorder, lane, options_.listener};
  }

  /// An event that was never recorded.
  [[nodiscard]] host_event make_event() const noexcept { return {}; }

  /// `bytes` of memory, usable from here on in the order of `stream`. Throws `out_of_memory`.
  [[nodiscard]] host_buffer allocate(host_stream& stream, std::size_t bytes) {
    return {account_, stream, bytes};
  }

  /// What is and was allocated.
  [[nodiscard]] memory_usage memory() const noexcept { return account_->memory(); }
  /// Lets the peak start anew from what is live.
  void reset_peak() noexcept { account_->reset_peak(); }
  /// The work of all launches of all streams so far.
  [[nodiscard]] work_total work_done() const noexcept { return account_->work_done(); }
  /// Rank that owns the device, -1 where it has none.
  [[nodiscard]] int rank() const noexcept { return options_.rank; }
  /// How it was set up.
  [[nodiscard]] const host_options& options() const noexcept { return options_; }

 private:
  host_options options_;
  std::shared_ptr<detail::device_account> account_;
};

static_assert(buffer<host_buffer>);
static_assert(device<host_device>);

}  // namespace rondel
