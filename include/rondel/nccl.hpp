#pragma once
/// @file
/// The NCCL component: what `rondel/cuda.hpp` has, and NCCL. It needs `nccl.h` and the NCCL
/// library.
#include <rondel/comm/nccl.hpp>
#include <rondel/comm/nccl_step.hpp>
#include <rondel/cuda.hpp>
#include <rondel/nccl_launch.hpp>
