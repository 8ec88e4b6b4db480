#pragma once
#include <rondel/core/error.hpp>

#include <string>
#include <string_view>

#include <cuda_runtime_api.h>

namespace rondel::detail {

[[nodiscard]] inline device_error cuda_error(cudaError_t code, std::string_view what, int ordinal,
                                             source_location where) {
  return device_error(
      concat(what, ordinal < 0 ? "" : " on CUDA device ",
             ordinal < 0 ? std::string() : std::to_string(ordinal), ": ", cudaGetErrorName(code),
             " (", static_cast<int>(code), "): ", cudaGetErrorString(code)),
      static_cast<int>(code), where);
}

// Throws `device_error` unless `code` is success. `what` names the call that returned it. The
// runtime's memory of the failure is cleared, so that the next kernel is not blamed for it; a
// failure of queued work stays all the same and is what every later call returns.
inline void check_cuda(cudaError_t code, const char* what,
                       source_location where = source_location::current()) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();
  int ordinal = -1;
  if (cudaGetDevice(&ordinal) != cudaSuccess) ordinal = -1;
  throw cuda_error(code, what, ordinal, where);
}

// The same where the device is known.
inline void check_cuda(cudaError_t code, const char* what, int ordinal,
                       source_location where = source_location::current()) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();
  throw cuda_error(code, what, ordinal, where);
}

// Makes `ordinal` the thread's current device for a scope. Each call that creates or frees
// something needs the device of its owner, whatever the caller's is.
class device_guard {
 public:
  explicit device_guard(int ordinal) {
    check_cuda(cudaGetDevice(&before_), "cudaGetDevice", ordinal);
    if (before_ == ordinal) return;
    check_cuda(cudaSetDevice(ordinal), "cudaSetDevice", ordinal);
    changed_ = true;
  }
  device_guard(const device_guard&) = delete;
  device_guard& operator=(const device_guard&) = delete;
  // A device that could be current once can be again, or its failure is every later call's.
  ~device_guard() {
    if (changed_ && cudaSetDevice(before_) != cudaSuccess) (void)cudaGetLastError();
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace rondel::detail
