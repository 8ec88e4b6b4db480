// What `cuda_device` does beyond the concepts: handles, current devices, errors.
#include <rondel/cuda.hpp>
#include <rondel/device/array.hpp>
#include <rondel/trace/timeline.hpp>

#include "engine.hpp"
#include "stream.hpp"

#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>
#include <fake_cuda/kernels.hpp>

namespace {

using rondel::cuda_device;
using rondel::device_error;
using bytes = rondel::device_array<std::byte, cuda_device>;

template <class F>
std::string thrown_by(const F& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}
bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}
void clean(fake_cuda::runtime& machine) {
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}
int current_device() {
  int out = -1;
  REQUIRE(cudaGetDevice(&out) == cudaSuccess);
  return out;
}

}  // namespace

TEST_CASE("the caller's current device stays") {
  fake_cuda::runtime machine({.devices = 3});
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  {
    cuda_device device({.ordinal = 2});
    CHECK(device.ordinal() == 2);
    auto stream = device.make_stream();
    CHECK(stream.ordinal() == 2);
    auto event = device.make_event();
    bytes memory(device, stream, 8);
    rondel::cuda_host_buffer<float> pinned(device, 4);
    int inside = -1;
    stream.launch({}, [&](cudaStream_t s) {
      CHECK(s == stream.native());
      inside = current_device();
    });
    CHECK(inside == 2);
    stream.record(event);
    stream.synchronize();
    CHECK(current_device() == 1);
    CHECK_THROWS_AS(stream.launch({}, [](cudaStream_t) { throw std::runtime_error("no"); }),
                    std::runtime_error);
    CHECK(current_device() == 1);
  }
  CHECK(current_device() == 1);
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  clean(machine);
}

TEST_CASE("devices that are not there") {
  fake_cuda::runtime machine({.devices = 2});
  CHECK(has(thrown_by([] { cuda_device({.ordinal = 2}); }), "no CUDA device 2, but 2"));
  CHECK_THROWS_AS(cuda_device({.ordinal = -1}), rondel::invalid_argument);
  machine.fail("cudaGetDeviceCount", 1, cudaErrorNoDevice);
  const std::string text = thrown_by([] { cuda_device(); });
  CHECK(has(text, "cudaGetDeviceCount: cudaErrorNoDevice (100)"));
  clean(machine);
}

TEST_CASE("an adopted stream stays the user's") {
  fake_cuda::runtime machine({.devices = 2});
  cudaStream_t mine = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&mine, cudaStreamNonBlocking) == cudaSuccess);
  {
    cuda_device other({.ordinal = 1});
    CHECK(has(thrown_by([&] { (void)other.adopt(mine); }), "of CUDA device 0, not 1"));
    cuda_device device;
    std::vector<std::byte> in(100, std::byte{3}), out(100);
    auto stream = device.adopt(mine);
    CHECK(stream.native() == mine);
    bytes memory(device, stream, 100);
    stream.upload(memory.span(), in);
    stream.download(out, memory.span());
    stream.synchronize();
    CHECK(out == in);
  }
  CHECK(machine.calls().contains("cudaStreamDestroy") == false);
  while (cudaStreamQuery(mine) != cudaSuccess) std::this_thread::yield();
  CHECK(cudaStreamDestroy(mine) == cudaSuccess);
  clean(machine);
}

TEST_CASE("an error that others left behind is not blamed on the next launch") {
  fake_cuda::runtime machine({.delays = false});
  {
    cuda_device device;
    auto stream = device.make_stream();
    int canary = -1;
    machine.fail("cudaDeviceCanAccessPeer", 1, cudaErrorInvalidValue);
    CHECK(cudaDeviceCanAccessPeer(&canary, 0, 0) == cudaErrorInvalidValue);
    CHECK(cudaPeekAtLastError() == cudaErrorInvalidValue);
    stream.launch({.name = "innocent"}, [](cudaStream_t) {});
    CHECK(cudaPeekAtLastError() == cudaSuccess);
    // Nor is "not ready", which the runtime counts as one.
    auto event = device.make_event();
    stream.launch({}, [](cudaStream_t s) {
      test::run_on_host(s, [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
    });
    stream.record(event);
    CHECK_FALSE(stream.idle());
    CHECK_FALSE(event.ready());
    CHECK(cudaPeekAtLastError() == cudaSuccess);
    event.synchronize();
    stream.synchronize();
    CHECK(cudaPeekAtLastError() == cudaSuccess);
    // What the launch itself leaves is its own, and named.
    const std::string text = thrown_by([&] {
      machine.fail("cudaLaunchKernel", 1, cudaErrorInvalidConfiguration);
      stream.launch({.name = "guilty"}, [](cudaStream_t s) { fake_cuda::launch(s, [] {}, {}); });
    });
    CHECK(has(text, "guilty on CUDA device 0: cudaErrorInvalidConfiguration (9)"));
    CHECK(cudaPeekAtLastError() == cudaSuccess);
  }
  clean(machine);
}

TEST_CASE("a stream that could not queue something fails, alone") {
  fake_cuda::runtime machine;
  {
    cuda_device device;
    auto stream = device.make_stream();
    auto other = device.make_stream();
    auto event = device.make_event();
    bytes memory(device, other, 8), more(device, other, 8);
    std::vector<std::byte> host(8);
    const auto fail_once = [&](const char* call) {
      return [&machine, call] { machine.fail(call, 1, cudaErrorLaunchFailure); };
    };
    std::function<void()> use;
    std::string name;
    SUBCASE("a copy") {
      fail_once("cudaMemcpyAsync")();
      name = "cudaMemcpyAsync on CUDA device 0: cudaErrorLaunchFailure (719)";
      other.synchronize();
      use = [&] { stream.upload(memory.span(), host); };
    }
    SUBCASE("a record") {
      fail_once("cudaEventRecord")();
      name = "cudaEventRecord";
      use = [&] { stream.record(event); };
    }
    SUBCASE("a wait") {
      fail_once("cudaStreamWaitEvent")();
      name = "cudaStreamWaitEvent";
      use = [&] { stream.wait(event); };
    }
    SUBCASE("a callable that throws") {
      name = "kernel says no";
      use = [&] {
        stream.launch({}, [](cudaStream_t) { throw std::runtime_error("kernel says no"); });
      };
    }
    const std::string first = thrown_by(use);
    CHECK(has(first, name));
    CHECK(thrown_by([&] { stream.record(event); }) == first);
    CHECK(thrown_by([&] { stream.wait(event); }) == first);
    CHECK(thrown_by([&] { stream.download(host, memory.span()); }) == first);
    CHECK(thrown_by([&] { stream.copy(more.span(), memory.span()); }) == first);
    CHECK(thrown_by([&] { stream.launch({}, [](cudaStream_t) {}); }) == first);
    CHECK(thrown_by([&] { stream.synchronize(); }) == first);
    other.upload(memory.span(), host);
    other.synchronize();
  }
  clean(machine);
}

TEST_CASE("a kernel that fails while it runs fails every stream of its device") {
  fake_cuda::runtime machine({.devices = 2});
  {
    cuda_device device, elsewhere({.ordinal = 1});
    auto stream = device.make_stream();
    auto beside = device.make_stream();
    auto far = elsewhere.make_stream();
    auto event = device.make_event();
    bytes memory(device, stream, 8);
    conformance::gate closed;
    stream.launch({}, [&](cudaStream_t s) {
      test::run_on_host(s, [&] { (void)closed.pass(); });
      fake_cuda::fail_in_stream(s, cudaErrorIllegalAddress);
    });
    stream.record(event);
    closed.open();
    const std::string text = thrown_by([&] { stream.synchronize(); });
    CHECK(has(text, "cudaErrorIllegalAddress (700): an illegal memory access"));
    CHECK(has(thrown_by([&] { event.synchronize(); }), "cudaErrorIllegalAddress"));
    CHECK(has(thrown_by([&] { (void)event.ready(); }), "cudaErrorIllegalAddress"));
    CHECK(has(thrown_by([&] { (void)stream.idle(); }), "cudaErrorIllegalAddress"));
    CHECK(thrown_by([&] { stream.record(event); }) == text);
    CHECK(has(thrown_by([&] { beside.synchronize(); }), "cudaErrorIllegalAddress"));
    CHECK(has(thrown_by([&] { (void)device.make_event(); }), "cudaErrorIllegalAddress"));
    try {
      (void)device.allocate(beside, 8);
      FAIL_CHECK("allocated on a dead device");
    } catch (const device_error& e) {
      CHECK(e.code() == cudaErrorIllegalAddress);
    }
    CHECK(device.memory().live == 8);
    far.synchronize();
    CHECK(elsewhere.make_event().ready());
  }
  clean(machine);
}

TEST_CASE("events keep to their device") {
  fake_cuda::runtime machine({.devices = 2});
  {
    cuda_device first, second({.ordinal = 1});
    auto a = first.make_stream();
    auto b = second.make_stream();
    auto event = first.make_event();
    CHECK(has(thrown_by([&] { b.record(event); }), "of CUDA device 0 on a stream of device 1"));
    a.record(event);
    b.wait(event);
    b.synchronize();
  }
  clean(machine);
}

TEST_CASE("memory that the runtime does not have") {
  fake_cuda::runtime machine({.memory = 1000});
  {
    cuda_device device({.rank = 2});
    auto stream = device.make_stream();
    bytes kept(device, stream, 600);
    try {
      bytes more(device, stream, 401);
      FAIL_CHECK("there is no such memory");
    } catch (const rondel::out_of_memory& e) {
      CHECK(e.rank() == 2);
      CHECK(e.requested() == 401);
      CHECK(e.live() == 600);
    }
    CHECK(device.memory().live == 600);
    CHECK(device.memory().allocations == 1);
    CHECK(cudaPeekAtLastError() == cudaSuccess);
    bytes rest(device, stream, 400);
    stream.synchronize();
  }
  clean(machine);
}

TEST_CASE("what a destructor cannot throw comes out of the next call") {
  fake_cuda::runtime machine({.strict_destroy = false});
  {
    cuda_device device;
    auto stream = device.make_stream();
    SUBCASE("memory that cannot be freed") {
      machine.fail("cudaFreeAsync", 1, cudaErrorInvalidValue);
      (void)bytes(device, stream, 8);
    }
    SUBCASE("pinned memory that cannot be freed") {
      machine.fail("cudaFreeHost", 1, cudaErrorInvalidValue);
      (void)rondel::cuda_host_buffer<>(device, 8);
    }
    SUBCASE("a device that cannot be made current") {
      bytes memory(device, stream, 8);
      machine.fail("cudaGetDevice", 1, cudaErrorInvalidValue);
      memory = bytes();  // freed all the same
    }
    CHECK(has(thrown_by([&] { (void)device.allocate(stream, 8); }), "an earlier buffer"));
    CHECK(device.memory().live == 0);
    (void)bytes(device, stream, 8);  // told once
    stream.synchronize();
  }
  clean(machine);
}

TEST_CASE("pinned host buffers") {
  fake_cuda::runtime machine;
  {
    cuda_device device;
    auto stream = device.make_stream();
    rondel::cuda_host_buffer<int> in(device, 1000), out(device, 1000);
    CHECK(in.size() == 1000);
    CHECK(in.span().data() == in.data());
    std::iota(in.span().begin(), in.span().end(), 5);
    rondel::device_array<int, cuda_device> memory(device, stream, 1000);
    rondel::upload(stream, memory.span(), in.span());
    rondel::download(stream, out.span(), memory.span());
    stream.synchronize();
    CHECK(std::equal(in.span().begin(), in.span().end(), out.span().begin()));
    CHECK(device.memory().live == 4000);  // of the device, not the host

    int* const data = in.data();
    rondel::cuda_host_buffer<int> moved = std::move(in);
    CHECK(moved.data() == data);
    CHECK(in.size() == 0);  // NOLINT: what a moved-from buffer holds is the point
    moved = rondel::cuda_host_buffer<int>();
    CHECK(moved.span().empty());
    CHECK(rondel::cuda_host_buffer<int>(device, 0).data() == nullptr);
    CHECK_THROWS_AS(rondel::cuda_host_buffer<int>(device, SIZE_MAX / 4 + 1),
                    rondel::invalid_argument);
    machine.fail("cudaHostAlloc", 1, cudaErrorMemoryAllocation);
    CHECK_THROWS_AS(rondel::cuda_host_buffer<int>(device, 4), std::bad_alloc);
    CHECK(cudaPeekAtLastError() == cudaSuccess);
  }
  clean(machine);
}

TEST_CASE("memory between devices") {
  for (const bool reach : {true, false}) {
    CAPTURE(reach);
    fake_cuda::runtime machine({.devices = 2, .peer_access = reach});
    {
      cuda_device first, again, second({.ordinal = 1});
      auto stream = first.make_stream();
      auto far = second.make_stream();
      auto allocated = second.make_event();
      std::vector<std::byte> in(64, std::byte{9}), out(64);
      bytes here(first, stream, 64);
      bytes there(second, far, 64);
      far.record(allocated);
      stream.wait(allocated);
      stream.upload(here.span(), in);
      stream.copy(there.span(), here.span());
      stream.download(out, there.span());
      stream.synchronize();
      CHECK(out == in);

      CHECK(first.open_to(0));
      CHECK(first.open_to(1) == reach);
      CHECK(first.open_to(1) == reach);  // asked once
      CHECK(again.open_to(1) == reach);  // enabled already, which is no error
      CHECK(machine.calls()["cudaDeviceCanAccessPeer"] == 2);
      CHECK(machine.calls()["cudaMemPoolSetAccess"] == (reach ? 2 : 0));
      CHECK(cudaPeekAtLastError() == cudaSuccess);
    }
    clean(machine);
  }
}

TEST_CASE("a watcher can end a wait") {
  struct watcher final : rondel::stream_watcher {
    void poll() override {
      if (++polls == 3) throw std::runtime_error("the peer is gone");
    }
    int polls = 0;
  };
  fake_cuda::runtime machine({.strict_destroy = false});
  std::atomic<bool> open{false};
  {
    cuda_device device;
    auto stream = device.make_stream();
    auto event = device.make_event();
    auto watching = std::make_shared<watcher>();
    stream.watch(watching);
    stream.launch({}, [&](cudaStream_t s) {
      test::run_on_host(s, [&] {
        while (!open) std::this_thread::yield();
      });
    });
    stream.record(event);
    SUBCASE("for the stream") {
      CHECK(thrown_by([&] { stream.synchronize(); }) == "the peer is gone");
    }
    SUBCASE("for its event") {
      CHECK(thrown_by([&] { event.synchronize(); }) == "the peer is gone");
    }
    SUBCASE("not once it is gone") {
      watching.reset();
      std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        open = true;
      });
      stream.synchronize();
      later.join();
    }
    open = true;
  }
  clean(machine);
}

TEST_CASE("the timeline") {
  fake_cuda::runtime machine;
  rondel::timeline recorder;
  {
    cuda_device device({.rank = 4, .recorder = &recorder});
    auto stream = device.make_stream("compute");
    bytes memory(device, stream, 256);
    std::vector<std::byte> host(256);
    for (int i = 0; i < 300; ++i) stream.upload(memory.span(), host);
    stream.launch({.name = "sleep", .flops = 8}, [](cudaStream_t s) {
      test::run_on_host(s, [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
    });
    stream.synchronize();
    recorder.stop();
    stream.upload(memory.span(), host);
    stream.synchronize();
    const auto lanes = recorder.lanes();
    REQUIRE(lanes.size() == 1);
    CHECK(lanes[0]->rank() == 4);
    CHECK(lanes[0]->name() == "compute");
    const auto& spans = lanes[0]->spans();
    REQUIRE(spans.size() == 301);
    CHECK(std::string(spans.front().name) == "upload");
    CHECK(spans.front().bytes == 512);
    CHECK(std::string(spans.back().name) == "sleep");
    CHECK(spans.back().flops == 8);
    CHECK(spans.back().end - spans.back().begin >= 0.004);
    CHECK(spans.front().begin >= 0);
    for (std::size_t i = 1; i < spans.size(); ++i) {
      CHECK(spans[i].begin >= spans[i - 1].end - 1e-3);
      CHECK(spans[i].end >= spans[i].begin);
    }
  }
  clean(machine);
}

TEST_CASE("kernels on the fake are the host's") {
  fake_cuda::runtime machine;
  {
    cuda_device device;
    auto stream = device.make_stream();
    const std::vector<float> x{1, 2, 3}, y{10, 20, 30};
    test::uploaded<float, cuda_device> a(device, stream, x), b(device, stream, y);
    using kernels = rondel::kernels<cuda_device>;
    kernels::reduce<float>(stream, a.span(), a.span(), b.span(), rondel::mean{}, 4, true);
    CHECK(test::download(stream, a.span()) == std::vector<float>{2.75F, 5.5F, 8.25F});
    kernels::reduce_many<float>(stream, b.span(), {a.span(), b.span(), a.span()}, rondel::sum{});
    CHECK(test::download(stream, b.span()) == std::vector<float>{15.5F, 31.0F, 46.5F});
  }
  clean(machine);
}
