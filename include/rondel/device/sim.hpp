#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/accounts.hpp>
#include <rondel/device/concepts.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <utility>

namespace rondel {

/// How a `sim_device` is set up.
struct sim_options {
  /// Bytes that may be live at once.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// Rank that owns the device; -1 where it has none.
  int rank = -1;
};

/// The event of simulated streams: there is no clock, so every point has passed.
class sim_event {
 public:
  /// Always true.
  [[nodiscard]] bool ready() const noexcept { return true; }
  /// Returns at once.
  void synchronize() const noexcept {}
};

/// The stream of `sim_device`. See the concept `stream`: counts each launch, runs none.
class sim_stream {
 public:
  /// Event type.
  using event_type = sim_event;

  /// Made by `sim_device::make_stream`.
  explicit sim_stream(std::shared_ptr<detail::device_account> account) noexcept
      : account_(std::move(account)) {}

  /// Counts `w`; `f` is never called.
  template <class F>
  void launch(const work& w, F&&) {
    account_->launched(w);
  }
  /// Counts a copy on the device.
  void copy(device_span<std::byte> to, device_span<const std::byte> from) {
    transfer("copy", to.size(), from.size());
  }
  /// Counts a copy from the host.
  void upload(device_span<std::byte> to, std::span<const std::byte> from) {
    transfer("upload", to.size(), from.size());
  }
  /// Counts a copy to the host, and fills `to` with zeros: there is no data to be had.
  void download(std::span<std::byte> to, device_span<const std::byte> from) {
    transfer("download", to.size(), from.size());
    if (!to.empty()) std::memset(to.data(), 0, to.size());
  }
  /// Does nothing.
  void record(sim_event&) noexcept {}
  /// Does nothing.
  void wait(const sim_event&) noexcept {}
  /// Always true.
  [[nodiscard]] bool idle() const noexcept { return true; }
  /// Returns at once.
  void synchronize() const noexcept {}

 private:
  void transfer(const char* name, std::size_t to, std::size_t from) {
    detail::check_copy(name, to, from);
    if (to == 0) return;
    account_->launched({.name = name, .bytes_read = from, .bytes_written = to});
  }

  std::shared_ptr<detail::device_account> account_;
};

/// Memory of a `sim_device`: an address range that nothing backs. Touching it faults.
class sim_buffer {
 public:
  /// No memory.
  sim_buffer() = default;

  /// Made by `sim_device::allocate`.
  sim_buffer(std::shared_ptr<detail::device_account> account, std::uintptr_t address,
             std::size_t size)
      : account_(std::move(account)), address_(address), size_(size) {
    account_->reserve(size);
    account_->allocated();
  }

  sim_buffer(sim_buffer&& other) noexcept { swap(other); }
  sim_buffer& operator=(sim_buffer&& other) noexcept {
    sim_buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~sim_buffer() {
    if (account_ != nullptr) account_->release(size_);
  }

  /// First address, a multiple of 256; null if empty.
  [[nodiscard]] void* data() const noexcept {
    return reinterpret_cast<void*>(address_);  // NOLINT: an address is all there is
  }
  /// Bytes asked for.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void swap(sim_buffer& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
  }

  std::shared_ptr<detail::device_account> account_;
  std::uintptr_t address_ = 0;
  std::size_t size_ = 0;
};

/// A device that holds no data and runs no kernel, but counts memory and work as a real one
/// would. See the concept `device`.
///
/// It hands out addresses that no process can map, so a program whose host code touches device
/// memory faults at the spot. There is no clock yet: every stream is always idle.
class sim_device {
 public:
  /// Stream type.
  using stream_type = sim_stream;
  /// Event type.
  using event_type = sim_event;
  /// Buffer type.
  using buffer_type = sim_buffer;

  /// Its streams call nothing.
  static constexpr bool runs_kernels = false;

  /// A device that holds nothing yet.
  explicit sim_device(sim_options options = {})
      : account_(std::make_shared<detail::device_account>(options.rank, options.memory_limit)) {}

  /// A stream.
  [[nodiscard]] sim_stream make_stream(const char* = "stream") const noexcept {
    return sim_stream(account_);
  }
  /// An event.
  [[nodiscard]] sim_event make_event() const noexcept { return {}; }
  /// `bytes` of unbacked addresses. Throws `out_of_memory`.
  [[nodiscard]] sim_buffer allocate(sim_stream&, std::size_t bytes) {
    if (bytes == 0) return {};
    if (bytes > last - next_) {
      const memory_usage usage = memory();
      throw out_of_memory(rank(), bytes, usage.live, usage.limit);
    }
    sim_buffer out(account_, next_, bytes);
    next_ += (bytes + alignment - 1) / alignment * alignment;
    return out;
  }
  /// What is and was allocated.
  [[nodiscard]] memory_usage memory() const noexcept { return account_->memory(); }
  /// Lets the peak start anew from what is live.
  void reset_peak() noexcept { account_->reset_peak(); }
  /// The work of all launches of all streams so far.
  [[nodiscard]] work_total work_done() const noexcept { return account_->work_done(); }
  /// Rank that owns the device, -1 where it has none.
  [[nodiscard]] int rank() const noexcept { return account_->rank(); }

 private:
  static constexpr std::size_t alignment = 256;
  // Above every user address of x86-64 and AArch64, below what pointer tagging ignores, and
  // far enough from both ends that no program counts up into mapped memory.
  static constexpr std::uintptr_t first = 0x00a0'0000'0000'0000;
  static constexpr std::uintptr_t last = 0x00f0'0000'0000'0000;

  std::shared_ptr<detail::device_account> account_;
  std::uintptr_t next_ = first;
};

static_assert(event<sim_event>);
static_assert(stream<sim_stream>);
static_assert(buffer<sim_buffer>);
static_assert(device<sim_device>);

}  // namespace rondel
