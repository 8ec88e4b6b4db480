#pragma once
// `cuda_device` over the fake runtime as the conformance suites want it.
#include <rondel/device/cuda.hpp>

#include "host_data.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <fake_cuda/fake_cuda.hpp>

namespace test {

// Queues `f()` on the host, in the order of the stream, as a user's own code would.
template <class F>
void run_on_host(cudaStream_t stream, F f) {
  auto owned = std::make_unique<std::function<void()>>(std::move(f));
  const auto call = [](void* data) {
    const std::unique_ptr<std::function<void()>> held(static_cast<std::function<void()>*>(data));
    (*held)();
  };
  rondel::detail::check_cuda(cudaLaunchHostFunc(stream, call, owned.get()), "cudaLaunchHostFunc");
  (void)owned.release();
}

template <>
struct host_work<rondel::cuda_stream> {
  template <class F>
  static void run(rondel::cuda_stream& stream, F f) {
    stream.launch({.name = "test"}, [&](cudaStream_t s) { run_on_host(s, std::move(f)); });
  }
  template <class T>
  [[nodiscard]] static T* memory(T* device_address) {
    return fake_cuda::memory(device_address);
  }
};

struct cuda_engine {
  using device_type = rondel::cuda_device;
  static constexpr bool runs = true;
  static constexpr bool overlaps = true;
  static constexpr bool throws = false;  // a kernel cannot

  static device_type make_device(std::uint64_t limit, int rank) {
    return device_type({.memory_limit = limit, .rank = rank});
  }
  static rondel::cuda_stream make_stream(device_type& device) { return device.make_stream("test"); }
  template <class F>
  static void run(rondel::cuda_stream& stream, F f) {
    stream.launch({}, [&](cudaStream_t s) { run_on_host(s, std::move(f)); });
  }
  [[nodiscard]] static void* memory(void* data) { return fake_cuda::memory(data); }
};

}  // namespace test
