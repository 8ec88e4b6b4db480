#pragma once
#include <rondel/device/cuda.hpp>
#include <rondel/device/cuda_moves.cuh>
#include <rondel/device/cuda_reduce.cuh>

namespace rondel {

/// The kernels of rondel's primitives on CUDA: the members and meanings of `kernels<host_device>`.
///
/// Floating-point results have the host's bits, save that a NaN may have others: nothing is fused
/// and nothing is flushed to zero, as long as the file is not compiled with `--use_fast_math`. A
/// user's reduction must be `__host__ __device__`. Reductions take up to 240 inputs.
template <>
struct kernels<cuda_device> : detail::cuda_reductions, detail::cuda_moves {};

}  // namespace rondel
