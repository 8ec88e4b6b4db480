#pragma once

/// Marks a function that kernels may call too. Without a CUDA compiler it is nothing.
#if defined(__CUDACC__)
#define RONDEL_HOST_DEVICE __host__ __device__
#else
#define RONDEL_HOST_DEVICE
#endif
