#pragma once
#include <rondel/device/cuda.hpp>
#include <rondel/device/dlpack.hpp>

namespace rondel {

/// A CUDA device takes the memory of its own GPU, and what every GPU can reach: managed and pinned.
/// Whoever exchanges tensors orders their streams; DLPack carries none.
template <>
struct dlpack_memory<cuda_device> {
  /// `cuda:` and the ordinal.
  [[nodiscard]] static dlpack::device id(const cuda_device& device) noexcept {
    return {dlpack::device_kind::cuda, device.ordinal()};
  }
  /// Whether its kernels can use it.
  [[nodiscard]] static bool takes(const cuda_device& device, dlpack::device where) noexcept {
    return where == id(device) || where.device_type == dlpack::device_kind::cuda_managed ||
           where.device_type == dlpack::device_kind::cuda_host;
  }
};

static_assert(lending_device<cuda_device>);

}  // namespace rondel
