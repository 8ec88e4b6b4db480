#pragma once

// With RONDEL_NVTX defined, each launch of a CUDA stream is an NVTX range of the thread that
// queues it, named as its work, for the profilers of NVIDIA.
#if defined(RONDEL_NVTX)
#include <nvtx3/nvToolsExt.h>
#endif

namespace rondel::detail {

class nvtx_range {
 public:
#if defined(RONDEL_NVTX)
  explicit nvtx_range(const char* name) noexcept { (void)nvtxRangePushA(name); }
  ~nvtx_range() { (void)nvtxRangePop(); }
#else
  explicit nvtx_range(const char*) noexcept {}
  ~nvtx_range() {}  // NOLINT: not trivial in the other case either
#endif
  nvtx_range(const nvtx_range&) = delete;
  nvtx_range& operator=(const nvtx_range&) = delete;
};

}  // namespace rondel::detail
