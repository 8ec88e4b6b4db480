// The fake runtime itself: each misuse is planted once, and must be reported.
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>
#include <fake_cuda/fake_cuda.hpp>
#include <sys/wait.h>
#include <unistd.h>

namespace {

cudaStream_t make_stream() {
  cudaStream_t out = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&out, cudaStreamNonBlocking) == cudaSuccess);
  return out;
}
cudaEvent_t make_event() {
  cudaEvent_t out = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&out, cudaEventDisableTiming) == cudaSuccess);
  return out;
}
cudaMemPool_t make_pool(int device = 0) {
  cudaMemPoolProps properties = {};
  properties.location.id = device;
  cudaMemPool_t out = nullptr;
  REQUIRE(cudaMemPoolCreate(&out, &properties) == cudaSuccess);
  return out;
}
void* allocate(cudaMemPool_t pool, cudaStream_t stream, std::size_t bytes = 64) {
  void* out = nullptr;
  REQUIRE(cudaMallocFromPoolAsync(&out, bytes, pool, stream) == cudaSuccess);
  return out;
}
void finish(cudaStream_t stream) {
  while (cudaStreamQuery(stream) == cudaErrorNotReady) std::this_thread::yield();
}

// Two streams, a pool and 64 bytes that belong to the first stream.
struct scene {
  cudaStream_t a = make_stream(), b = make_stream();
  cudaMemPool_t pool = make_pool();
  void* memory = allocate(pool, a);
  char host[64] = {};

  void upload(cudaStream_t s) {
    (void)cudaMemcpyAsync(memory, host, sizeof host, cudaMemcpyHostToDevice, s);
  }
  void download(cudaStream_t s) {
    (void)cudaMemcpyAsync(host, memory, sizeof host, cudaMemcpyDeviceToHost, s);
  }
  void let_wait(cudaStream_t later, cudaStream_t earlier) {
    const cudaEvent_t e = make_event();
    CHECK(cudaEventRecord(e, earlier) == cudaSuccess);
    CHECK(cudaStreamWaitEvent(later, e, 0) == cudaSuccess);
    CHECK(cudaEventDestroy(e) == cudaSuccess);
  }
  void free() { CHECK(cudaFreeAsync(memory, a) == cudaSuccess); }
  void close() {
    for (const cudaStream_t s : {a, b}) {
      finish(s);
      CHECK(cudaStreamDestroy(s) == cudaSuccess);
    }
    CHECK(cudaMemPoolDestroy(pool) == cudaSuccess);
  }
};

// The first problem has these words in it. Others may follow from it.
void expect(const fake_cuda::runtime& machine, const std::string& words) {
  const auto problems = machine.problems();
  REQUIRE(!problems.empty());
  INFO(problems[0]);
  CHECK(problems[0].find(words) != std::string::npos);
}
void expect_left(fake_cuda::runtime& machine, const std::vector<std::string>& words) {
  const auto left = machine.finish();
  CHECK(left.size() == words.size());
  for (const auto& one : words) {
    CAPTURE(one);
    CHECK(std::any_of(left.begin(), left.end(),
                      [&](const auto& text) { return text.find(one) != std::string::npos; }));
  }
}

}  // namespace

TEST_CASE("fake CUDA: correct use is no misuse") {
  fake_cuda::runtime machine;
  scene s;
  std::iota(s.host, s.host + 64, char{1});
  s.upload(s.a);
  s.let_wait(s.b, s.a);
  std::vector<char> out(64);
  CHECK(cudaMemcpyAsync(out.data(), s.memory, 64, cudaMemcpyDeviceToHost, s.b) == cudaSuccess);
  s.let_wait(s.a, s.b);
  s.free();
  s.close();
  CHECK(std::equal(out.begin(), out.end(), s.host));
  expect_left(machine, {});
}

TEST_CASE("fake CUDA: what a missing wait does") {
  SUBCASE("is reported in every run") {
    fake_cuda::runtime machine;
    scene s;
    s.upload(s.a);
    s.let_wait(s.b, s.a);
    s.download(s.b);
    s.upload(s.a);  // `b` may still read
    expect(machine, "a race, for stream");
    s.let_wait(s.a, s.b);
    s.free();
    s.close();
    CHECK(!machine.finish().empty());
  }
  SUBCASE("goes wrong in some run") {
    int wrong = 0;
    for (unsigned seed = 0; seed < 200 && wrong == 0; ++seed) {
      fake_cuda::runtime machine({.seed = seed});
      scene s;
      std::memset(s.host, 7, sizeof s.host);
      s.let_wait(s.b, s.a);  // the allocation
      s.upload(s.a);
      std::vector<char> out(64);
      (void)cudaMemcpyAsync(out.data(), s.memory, 64, cudaMemcpyDeviceToHost, s.b);
      s.let_wait(s.a, s.b);
      s.free();
      s.close();
      CHECK(!machine.finish().empty());
      if (out[0] != 7) ++wrong;
    }
    CHECK(wrong != 0);
  }
}

TEST_CASE("fake CUDA: the order of allocation and free") {
  fake_cuda::runtime machine;
  scene s;
  SUBCASE("use on a stream that is not behind the allocation") {
    s.download(s.b);
    expect(machine, "used before its allocation");
    s.let_wait(s.a, s.b);
    s.free();
  }
  SUBCASE("free while another stream may use it") {
    s.let_wait(s.b, s.a);
    s.download(s.b);
    s.free();
    expect(machine, "may still use the memory");
  }
  SUBCASE("free on a stream that is not behind the allocation") {
    CHECK(cudaFreeAsync(s.memory, s.b) == cudaSuccess);
    expect(machine, "is not waited for");
  }
  SUBCASE("use after free") {
    s.free();
    s.let_wait(s.b, s.a);
    finish(s.a);
    (void)cudaMemcpyAsync(s.memory, s.host, 0, cudaMemcpyHostToDevice, s.b);  // of nothing: fine
    CHECK(machine.problems().empty());
    fake_cuda::launch(s.b, [] {}, {{s.memory, 4, true}});
    expect(machine, "use after free");
  }
  SUBCASE("free twice") {
    s.free();
    CHECK(cudaFreeAsync(s.memory, s.a) == cudaErrorInvalidValue);
    expect(machine, "freed already");
  }
  SUBCASE("free in the middle") {
    CHECK(cudaFreeAsync(static_cast<char*>(s.memory) + 8, s.a) == cudaErrorInvalidValue);
    expect(machine, "no memory was allocated there");
    s.free();
  }
  SUBCASE("beyond the end") {
    fake_cuda::launch(s.a, [] {}, {{s.memory, 65, false}});
    expect(machine, "beyond the end");
    s.free();
  }
  s.close();
  CHECK(!machine.finish().empty());
}

TEST_CASE("fake CUDA: handles") {
  fake_cuda::runtime machine({.devices = 2});
  const cudaStream_t stream = make_stream();
  const cudaEvent_t event = make_event();
  SUBCASE("a stream that is destroyed twice") {
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "no such stream");
  }
  SUBCASE("an event that is used after its end") {
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    CHECK(cudaEventRecord(event, stream) == cudaErrorInvalidResourceHandle);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    expect(machine, "no such event");
  }
  SUBCASE("a pool that is destroyed twice") {
    const cudaMemPool_t pool = make_pool();
    CHECK(cudaMemPoolDestroy(pool) == cudaSuccess);
    CHECK(cudaMemPoolDestroy(pool) == cudaErrorInvalidValue);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "no such pool");
  }
  SUBCASE("a stream that is destroyed with work") {
    fake_cuda::launch(stream, [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); },
                      {});
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "still has work");
  }
  SUBCASE("a default stream") {
    CHECK(cudaEventRecord(event, nullptr) == cudaErrorInvalidResourceHandle);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "a default stream");
  }
  SUBCASE("a stream that waits for the default stream") {
    cudaStream_t other = nullptr;
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamDefault) == cudaErrorInvalidValue);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "waits for the default stream");
  }
  SUBCASE("an event on another device's stream") {
    CHECK(cudaSetDevice(1) == cudaSuccess);
    const cudaStream_t other = make_stream();
    CHECK(cudaSetDevice(0) == cudaSuccess);
    CHECK(cudaEventRecord(event, other) == cudaErrorInvalidResourceHandle);
    for (const cudaStream_t s : {stream, other}) CHECK(cudaStreamDestroy(s) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "another device's");
  }
  SUBCASE("a kernel under the wrong device") {
    CHECK(cudaSetDevice(1) == cudaSuccess);
    fake_cuda::launch(stream, [] {}, {});
    CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaSetDevice(0) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    expect(machine, "not the current one");
  }
  CHECK(!machine.finish().empty());
}

TEST_CASE("fake CUDA: what is left") {
  fake_cuda::runtime machine;
  const cudaStream_t stream = make_stream();
  (void)make_event();
  (void)allocate(make_pool(), stream);
  void* pinned = nullptr;
  CHECK(cudaHostAlloc(&pinned, 10, cudaHostAllocPortable) == cudaSuccess);
  expect_left(machine, {"stream", "event", "memory pool", "64 B of device 0", "pinned memory"});
}

TEST_CASE("fake CUDA: memory of the wrong side") {
  fake_cuda::runtime machine({.devices = 2});
  scene s;
  SUBCASE("the wrong direction") {
    CHECK(cudaMemcpyAsync(s.memory, s.host, 64, cudaMemcpyDeviceToHost, s.a) ==
          cudaErrorInvalidValue);
    expect(machine, "the direction");
  }
  SUBCASE("host code that asks for device memory") {
    CHECK(fake_cuda::memory(s.memory) == nullptr);
    expect(machine, "host code asks for device memory");
  }
  SUBCASE("a kernel on another device, whose pool is not open to it") {
    finish(s.a);
    CHECK(cudaSetDevice(1) == cudaSuccess);
    const cudaStream_t other = make_stream();
    fake_cuda::launch(other, [] {}, {{s.memory, 4, false}});
    finish(other);
    CHECK(cudaStreamDestroy(other) == cudaSuccess);
    CHECK(cudaSetDevice(0) == cudaSuccess);
    expect(machine, "not open to it");
  }
  SUBCASE("peer copies of other devices than named") {
    CHECK(cudaMemcpyPeerAsync(s.memory, 1, s.memory, 0, 4, s.a) == cudaErrorInvalidValue);
    expect(machine, "not of the devices named");
  }
  SUBCASE("pinned memory that is freed while it is copied to") {
    void* pinned = nullptr;
    CHECK(cudaHostAlloc(&pinned, 64, cudaHostAllocPortable) == cudaSuccess);
    fake_cuda::launch(s.a, [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }, {});
    CHECK(cudaMemcpyAsync(s.memory, pinned, 64, cudaMemcpyHostToDevice, s.a) == cudaSuccess);
    CHECK(cudaFreeHost(pinned) == cudaSuccess);
    expect(machine, "queued work still uses");
  }
  SUBCASE("pinned memory that is freed twice") {
    void* pinned = nullptr;
    CHECK(cudaHostAlloc(&pinned, 64, cudaHostAllocPortable) == cudaSuccess);
    CHECK(cudaMemcpyAsync(s.memory, pinned, 64, cudaMemcpyHostToDevice, s.a) == cudaSuccess);
    finish(s.a);
    CHECK(cudaFreeHost(pinned) == cudaSuccess);
    CHECK(cudaFreeHost(pinned) == cudaErrorInvalidValue);
    expect(machine, "no such memory");
  }
  s.free();
  s.close();
  CHECK(!machine.finish().empty());
}

TEST_CASE("fake CUDA: host code that follows a device address dies") {
  fake_cuda::runtime machine({.delays = false});
  scene s;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    static_cast<volatile char*>(s.memory)[0] = 1;
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  s.free();
  s.close();
  expect_left(machine, {});
}

TEST_CASE("fake CUDA: work that calls CUDA") {
  fake_cuda::runtime machine;
  const cudaStream_t stream = make_stream();
  const auto call = [](void*) { (void)cudaStreamQuery(nullptr); };
  CHECK(cudaLaunchHostFunc(stream, call, nullptr) == cudaSuccess);
  finish(stream);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
  const auto problems = machine.finish();
  REQUIRE(!problems.empty());
  CHECK(problems[0].find("is called from work on a stream") != std::string::npos);
}

TEST_CASE("fake CUDA: failures on demand") {
  fake_cuda::runtime machine({.devices = 2});
  SUBCASE("the second of three calls") {
    machine.fail("cudaEventCreateWithFlags", 2, cudaErrorMemoryAllocation);
    const cudaEvent_t first = make_event();
    cudaEvent_t none = nullptr;
    CHECK(cudaEventCreateWithFlags(&none, 0) == cudaErrorMemoryAllocation);
    CHECK(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaSuccess);
    const cudaEvent_t third = make_event();
    CHECK(machine.calls().at("cudaEventCreateWithFlags") == 3);
    for (const cudaEvent_t e : {first, third}) CHECK(cudaEventDestroy(e) == cudaSuccess);
  }
  SUBCASE("a kernel that fails while it runs takes its device with it, and no other") {
    const cudaStream_t stream = make_stream();
    CHECK(cudaSetDevice(1) == cudaSuccess);
    const cudaStream_t other = make_stream();
    CHECK(cudaSetDevice(0) == cudaSuccess);
    bool ran = false;
    fake_cuda::fail_in_stream(stream, cudaErrorIllegalAddress);
    fake_cuda::launch(stream, [&] { ran = true; }, {});
    cudaError_t code = cudaErrorNotReady;
    while (code == cudaErrorNotReady || code == cudaSuccess) code = cudaStreamQuery(stream);
    CHECK(code == cudaErrorIllegalAddress);
    CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
    CHECK(cudaGetLastError() == cudaErrorIllegalAddress);  // it cannot be cleared
    cudaStream_t more = nullptr;
    CHECK(cudaStreamCreateWithFlags(&more, cudaStreamNonBlocking) == cudaErrorIllegalAddress);
    CHECK(cudaStreamQuery(other) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaErrorIllegalAddress);
    CHECK(cudaStreamDestroy(other) == cudaSuccess);
    CHECK(machine.finish().empty());
    CHECK_FALSE(ran);
  }
  CHECK(machine.finish().empty());
}
