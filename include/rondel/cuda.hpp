#pragma once
/// @file
/// The host side of the CUDA component. It needs `cuda_runtime_api.h` and the CUDA runtime, and no
/// CUDA compiler; the kernels in `rondel/device/cuda_kernels.cuh` do.
#include <rondel/comm/cuda_threads.hpp>
#include <rondel/device/cuda.hpp>
#include <rondel/device/cuda_dlpack.hpp>
#include <rondel/device/cuda_host_buffer.hpp>
#include <rondel/launch.hpp>
