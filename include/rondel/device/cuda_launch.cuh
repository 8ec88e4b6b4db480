#pragma once
#include <rondel/device/cuda_stream.hpp>

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

namespace rondel::detail {

// All kernels here are loops over elements with this many threads per block, and no more blocks
// than keep every GPU busy.
inline constexpr unsigned threads_per_block = 256;
inline constexpr std::size_t most_blocks = 4096;

[[nodiscard]] inline unsigned blocks_for(std::size_t threads) noexcept {
  const std::size_t blocks = (threads + threads_per_block - 1) / threads_per_block;
  return static_cast<unsigned>(blocks < most_blocks ? blocks : most_blocks);
}

// Calls `f(i)` for each i below `n`, spread over the threads of the grid.
template <class Index, class F>
__device__ void for_each_index(Index n, const F& f) {
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    f(i);
  }
}

// So many elements that one thread reads or writes 16 bytes at once.
template <class T>
struct alignas(16) pack {
  static constexpr int size = static_cast<int>(16 / sizeof(T));
  T item[size];
};

template <class T>
[[nodiscard]] bool is_packed(const T* data) noexcept {
  return reinterpret_cast<std::uintptr_t>(data) % sizeof(pack<T>) == 0;
}

}  // namespace rondel::detail
