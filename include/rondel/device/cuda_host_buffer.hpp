#pragma once
#include <rondel/core/error.hpp>
#include <rondel/device/cuda.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>

namespace rondel {

/// `size()` elements of `T` in pinned host memory, which every GPU of the process copies from and
/// to without the host's help. Only such copies run beside the host, and both ways at once.
///
/// Not in stream order: the elements are the host's, and the buffer must outlive the copies that
/// were queued on it. Allocating and freeing may wait for the GPU, so neither belongs into a loop.
/// Not counted as device memory. The elements are not initialised.
template <class T = std::byte>
requires std::is_trivially_copyable_v<T>
class cuda_host_buffer {
 public:
  /// No elements.
  cuda_host_buffer() = default;

  /// `size` elements. Throws `std::bad_alloc` if the host has no room, `invalid_argument` if the
  /// bytes overflow, and `device_error`.
  cuda_host_buffer(const cuda_device& device, std::size_t size) : pool_(device.pool()) {
    if (size > SIZE_MAX / sizeof(T)) {
      throw invalid_argument(concat("cuda_host_buffer: ", size, " elements of ", sizeof(T),
                                    " bytes are more than an address space"));
    }
    if (size == 0) return;
    const detail::device_guard guard(device.ordinal());
    void* data = nullptr;
    const cudaError_t code = cudaHostAlloc(&data, size * sizeof(T), cudaHostAllocPortable);
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      throw std::bad_alloc();
    }
    detail::check_cuda(code, "cudaHostAlloc", device.ordinal());
    data_ = static_cast<T*>(data);
    size_ = size;
  }

  cuda_host_buffer(cuda_host_buffer&& other) noexcept { swap(other); }
  cuda_host_buffer& operator=(cuda_host_buffer&& other) noexcept {
    cuda_host_buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~cuda_host_buffer() {
    if (data_ != nullptr) pool_->note(cudaFreeHost(data_));
  }

  /// The elements.
  [[nodiscard]] std::span<T> span() const noexcept { return {data_, size_}; }
  /// First element; null if there is none.
  [[nodiscard]] T* data() const noexcept { return data_; }
  /// Number of elements.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void swap(cuda_host_buffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::shared_ptr<detail::cuda_pool> pool_;  // keeps what could not be thrown
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rondel
