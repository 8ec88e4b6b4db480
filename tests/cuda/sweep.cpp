// Every call of every entry point of the runtime fails once. Then there is a clear error, or a
// destructor that goes on; nothing leaks, nothing is misused, and the process can do it all again.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/cuda.hpp>
#include <rondel/trace/timeline.hpp>

#include "worlds.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace {

using rondel::cuda_device;
using bytes = rondel::device_array<std::byte, cuda_device>;

// Waits for a stream when a scope ends: memory of another stream must not be freed before that.
struct joined {
  rondel::cuda_stream& stream;
  ~joined() {
    try {
      stream.synchronize();
    } catch (const std::exception&) {  // the first one is on its way
    }
  }
};

// Something of all that a device does.
void program() {
  rondel::timeline recorder;
  cuda_device device({.recorder = &recorder}), second({.ordinal = 1});
  auto stream = device.make_stream("a");
  auto other = second.make_stream("b");
  auto event = device.make_event();
  rondel::cuda_host_buffer<std::byte> pinned(device, 64);
  bytes x(device, stream, 64), y(second, other, 64);
  const joined before_free{stream};
  auto allocated = second.make_event();
  other.record(allocated);
  stream.wait(allocated);
  stream.upload(x.span(), pinned.span());
  (void)device.open_to(1);
  (void)second.open_to(0);
  stream.copy(y.span(), x.span());
  rondel::kernels<cuda_device>::reduce_many<std::byte>(
      stream, x.span(), {x.span(), x.span()}, [](std::byte a, std::byte b) { return a | b; });
  stream.download(pinned.span(), x.span());
  stream.record(event);
  other.wait(event);
  (void)event.ready();
  (void)stream.idle();
  event.synchronize();
  stream.synchronize();
  other.synchronize();
}

// Whether an error says what was called and how it failed.
bool is_clear(const std::string& text, const std::string& call) {
  const bool named = text.find(call) != std::string::npos ||
                     (call == "cudaLaunchKernel" && text.find("reduce") != std::string::npos) ||
                     (call == "cudaMallocFromPoolAsync" &&
                      text.find("out of device memory") != std::string::npos) ||
                     text.find("an earlier buffer") != std::string::npos ||
                     text.find("the first event of a timeline") != std::string::npos;
  return named || text.find("std::bad_alloc") != std::string::npos;
}

std::map<std::string, int> calls_of(const fake_cuda::options& machine_options, const auto& f) {
  fake_cuda::runtime machine(machine_options);
  f();
  const auto calls = machine.calls();
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
  return calls;
}

constexpr fake_cuda::options two{.devices = 2, .strict_destroy = false};

// Calls that cannot throw where they are made: in destructors, or where the answer does not matter.
bool may_pass(const std::string& call) {
  for (const char* one :
       {"cudaStreamDestroy", "cudaEventDestroy", "cudaMemPoolDestroy", "cudaFreeAsync",
        "cudaFreeHost", "cudaSetDevice", "cudaGetDevice", "cudaStreamQuery", "cudaEventQuery",
        "cudaEventElapsedTime", "cudaEventRecord"}) {
    if (call == one) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("every call of a device fails once") {
  int cases = 0, silent = 0;
  for (const auto& one : calls_of(two, [] { program(); })) {
    const std::string& call = one.first;  // a binding cannot be captured
    const int count = one.second;
    for (const cudaError_t code : {cudaErrorInvalidValue, cudaErrorMemoryAllocation}) {
      for (int nth = 1; nth <= count && nth <= 60; ++nth) {
        CAPTURE(call);
        CAPTURE(nth);
        fake_cuda::runtime machine(two);
        machine.fail(call, nth, code);
        std::string text;
        try {
          program();
        } catch (const std::exception& e) {
          text = e.what();
        }
        ++cases;
        INFO(text);
        if (text.empty()) {
          ++silent;
          CHECK(may_pass(call));
        } else {
          CHECK(is_clear(text, call));
        }
        for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
        CHECK(cudaGetLastError() == cudaSuccess);
        int current = -1;
        CHECK(cudaGetDevice(&current) == cudaSuccess);
        CHECK(cudaSetDevice(0) == cudaSuccess);
      }
    }
  }
  MESSAGE(cases << " calls failed, " << silent << " of them in silence");
  CHECK(cases > 100);
  (void)calls_of(two, [] { program(); });
}
