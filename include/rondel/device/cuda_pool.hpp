#pragma once
#include <rondel/core/sync.hpp>
#include <rondel/device/cuda_check.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace rondel::detail {

// A memory pool of one device object, so that nobody else's allocations count and nobody else's
// fragments are met. The pool keeps what was freed, until it is destroyed.
class cuda_pool {
 public:
  explicit cuda_pool(int ordinal) : ordinal_(ordinal) {
    const device_guard guard(ordinal);
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = ordinal;
    check_cuda(cudaMemPoolCreate(&handle_, &properties), "cudaMemPoolCreate", ordinal);
    std::uint64_t keep = UINT64_MAX;
    const cudaError_t code =
        cudaMemPoolSetAttribute(handle_, cudaMemPoolAttrReleaseThreshold, &keep);
    if (code != cudaSuccess) {
      (void)cudaMemPoolDestroy(handle_);
      check_cuda(code, "cudaMemPoolSetAttribute", ordinal);
    }
  }
  cuda_pool(const cuda_pool&) = delete;
  cuda_pool& operator=(const cuda_pool&) = delete;
  // The runtime waits for frees that are still queued by itself.
  ~cuda_pool() {
    if (cudaMemPoolDestroy(handle_) != cudaSuccess) (void)cudaGetLastError();
  }

  // Memory in the order of `stream`; null if there is none.
  [[nodiscard]] void* allocate(cudaStream_t stream, std::size_t size) {
    throw_if_failed();
    const device_guard guard(ordinal_);
    void* data = nullptr;
    const cudaError_t code = cudaMallocFromPoolAsync(&data, size, handle_, stream);
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      return nullptr;
    }
    check_cuda(code, "cudaMallocFromPoolAsync", ordinal_);
    return data;
  }

  // A failure is noted. The stream has its device; which one is current counts for a default
  // stream only, so not being able to set it is no reason to keep the memory.
  void free(cudaStream_t stream, void* data) noexcept {
    try {
      const device_guard guard(ordinal_);
      return note(cudaFreeAsync(data, stream));
    } catch (const device_error& e) {
      note(static_cast<cudaError_t>(e.code()));
    } catch (...) {
      note(cudaErrorUnknown);
    }
    note(cudaFreeAsync(data, stream));
  }

  // Keeps the first failure of a destructor.
  void note(cudaError_t code) noexcept {
    if (code == cudaSuccess) return;
    (void)cudaGetLastError();
    cudaError_t none = cudaSuccess;
    (void)failed_.compare_exchange_strong(none, code);
  }

  // Throws it.
  void throw_if_failed() {
    check_cuda(failed_.exchange(cudaSuccess), "freeing an earlier buffer", ordinal_);
  }

  // Lets device `peer` reach the memory of this pool, and of whatever else the process allocates
  // on the pool's device. Returns whether the two devices can do that at all.
  [[nodiscard]] bool open_to(int peer) {
    if (peer == ordinal_) return true;
    const sync::lock_guard lock(mutex_);
    for (const auto& [ordinal, reachable] : peers_) {
      if (ordinal == peer) return reachable;
    }
    int reachable = 0;
    check_cuda(cudaDeviceCanAccessPeer(&reachable, peer, ordinal_), "cudaDeviceCanAccessPeer",
               peer);
    if (reachable != 0) {
      cudaMemAccessDesc access = {};
      access.location.type = cudaMemLocationTypeDevice;
      access.location.id = peer;
      access.flags = cudaMemAccessFlagsProtReadWrite;
      check_cuda(cudaMemPoolSetAccess(handle_, &access, 1), "cudaMemPoolSetAccess", ordinal_);
      const device_guard guard(peer);
      const cudaError_t code = cudaDeviceEnablePeerAccess(ordinal_, 0);
      if (code == cudaErrorPeerAccessAlreadyEnabled) {
        (void)cudaGetLastError();
      } else {
        check_cuda(code, "cudaDeviceEnablePeerAccess", peer);
      }
    }
    peers_.emplace_back(peer, reachable != 0);
    return reachable != 0;
  }

  [[nodiscard]] cudaMemPool_t native() const noexcept { return handle_; }

 private:
  int ordinal_;
  cudaMemPool_t handle_ = nullptr;
  sync::atomic<cudaError_t> failed_{cudaSuccess};
  sync::mutex mutex_;
  std::vector<std::pair<int, bool>> peers_;  // and whether they reach this device
};

}  // namespace rondel::detail
