// The code blocks of docs/cuda.md, run on the fake CUDA runtime.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/cuda.hpp>
#include <rondel/device/array.hpp>

#include <cstddef>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>
#include <fake_cuda/kernels.hpp>

TEST_CASE("docs: a CUDA device") {
  const fake_cuda::runtime machine;
  //! [cuda_device]
  rondel::cuda_device gpu({.ordinal = 0, .memory_limit = std::size_t{8} << 20});
  auto compute = gpu.make_stream("compute");
  auto copies = gpu.make_stream("copies");
  auto cleared = gpu.make_event();
  rondel::cuda_host_buffer<float> result(gpu, 1000);  // pinned
  rondel::device_array<float, rondel::cuda_device> x(gpu, compute, result.size());

  compute.launch({.name = "clear", .bytes_written = x.span().size_bytes()}, [&](cudaStream_t s) {
    cudaMemsetAsync(x.span().data(), 0, x.span().size_bytes(), s);  // or my_kernel<<<..., s>>>(...)
  });
  compute.record(cleared);
  copies.wait(cleared);  // the host does not wait
  rondel::download(copies, result.span(), x.span());
  copies.synchronize();
  //! [cuda_device]
  CHECK(result.span()[999] == 0.0F);
}

TEST_CASE("docs: an adopted stream") {
  const fake_cuda::runtime machine({.strict_destroy = false});
  cudaStream_t theirs = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&theirs, cudaStreamNonBlocking) == cudaSuccess);
  {
    //! [cuda_adopt]
    rondel::cuda_device gpu;
    auto stream = gpu.adopt(theirs);  // ends when the user destroys it, not here
    auto scratch = gpu.allocate(stream, 4096);
    //! [cuda_adopt]
    CHECK(scratch.size() == 4096);
    stream.synchronize();
  }
  CHECK(cudaStreamDestroy(theirs) == cudaSuccess);
}

TEST_CASE("docs: an error") {
  fake_cuda::runtime machine;
  machine.fail("cudaMemsetAsync", 1, cudaErrorInvalidValue);
  rondel::cuda_device gpu;
  auto stream = gpu.make_stream();
  const auto memory = gpu.allocate(stream, 64);
  //! [cuda_error]
  std::string message;
  try {
    stream.launch({.name = "clear"}, [&](cudaStream_t s) {
      cudaMemsetAsync(memory.data(), 0, memory.size(), s);  // fails
    });
  } catch (const rondel::device_error& e) {
    message = e.what();  // "clear on CUDA device 0: cudaErrorInvalidValue (1): invalid argument"
  }
  //! [cuda_error]
  CHECK(message.find("clear on CUDA device 0: cudaErrorInvalidValue (1): ") == 0);
}

TEST_CASE("docs: ranks on CUDA") {
  const fake_cuda::runtime machine({.devices = 2});
  //! [cuda_threads]
  // Four threads on all GPUs of this machine, in turn; `threads` in place of `cuda_threads` runs
  // the same program on the host.
  const auto sums = rondel::run(rondel::cuda_threads{.ranks = 4}, [](auto& rank) {
    auto& device = rank.device();
    auto stream = device.make_stream();
    auto x = rondel::make_array<float>(device, stream, 1000);
    const std::vector<float> mine(x.size(), static_cast<float>(rank.rank()));
    rondel::upload(stream, x.span(), mine);
    rondel::all_reduce(rank.world(), stream, x.span());
    std::vector<float> sum(x.size());
    rondel::download(stream, std::span(sum), x.span());
    stream.synchronize();
    return sum.back();
  });
  //! [cuda_threads]
  CHECK(sums == std::vector<float>(4, 6.0F));
}
