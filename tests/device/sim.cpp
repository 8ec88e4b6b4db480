#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>
#include <rondel/device/host_kernels.hpp>
#include <rondel/device/sim.hpp>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// A small program in the way of the library: all work by kernels, memory of several sizes.
template <rondel::device D>
std::vector<float> program(D& device) {
  auto compute = device.make_stream("compute");
  auto copies = device.make_stream("copies");
  auto event = device.make_event();
  using array = rondel::device_array<float, D>;
  std::vector<float> host(1000);
  for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(i);

  array x(device, compute, host.size());
  array sum(device, compute, host.size());
  compute.upload(as_writable_bytes(x.span()), std::as_bytes(std::span(host)));
  for (std::size_t size = 1; size < 200; size += 37) {
    array scratch(device, compute, size);
    const auto part = rondel::device_span<const float>(x.span()).first(size);
    rondel::kernels<D>::template reduce<float>(compute, scratch.span(), part, part, rondel::sum{},
                                               2, true);
  }
  const rondel::device_span<const float> in = x.span();
  rondel::kernels<D>::template reduce_many<float>(compute, sum.span(), {in, in, in},
                                                  rondel::mean{});
  array other(device, compute, 500);
  other = std::move(sum);  // frees the 500 elements here, so that the peak does not grow
  array last(device, compute, 600);
  compute.record(event);
  copies.wait(event);
  copies.download(std::as_writable_bytes(std::span(host)), as_bytes(other.span()));
  copies.synchronize();
  compute.synchronize();
  return host;
}

// Whether a process that runs `f` dies of a memory fault.
template <class F>
bool faults(const F& f) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // The handlers of doctest and of sanitizers would only report what is expected here.
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

}  // namespace

TEST_CASE("the same program counts the same on the host and simulated") {
  rondel::host_device host;
  rondel::sim_device sim;
  const auto computed = program(host);
  const auto nothing = program(sim);
  CHECK(computed[10] == 10.0F);
  CHECK(computed[999] == 999.0F);
  CHECK(nothing == std::vector<float>(1000, 0.0F));  // there is no data to download

  CHECK(host.memory().live == 0);
  CHECK(sim.memory().live == 0);
  CHECK(sim.memory().peak == host.memory().peak);
  CHECK(sim.memory().allocations == host.memory().allocations);
  CHECK(sim.work_done() == host.work_done());
  CHECK(sim.work_done().launches > 0);
}

TEST_CASE("host code that touches device memory faults") {
  rondel::sim_device device;
  auto stream = device.make_stream();
  std::vector<rondel::sim_buffer> buffers;
  for (const std::size_t size : {1UL, 4096UL, 1UL << 20, 1UL << 40}) {
    buffers.push_back(device.allocate(stream, size));
  }
  int on_host = 0;
  CHECK_FALSE(faults([&] { on_host = 1; }));
  for (const auto& buffer : buffers) {
    CAPTURE(buffer.size());
    auto* const bytes = static_cast<volatile unsigned char*>(buffer.data());
    CHECK(faults([&] { bytes[0] = 1; }));
    CHECK(faults([&] { (void)bytes[0]; }));
    CHECK(faults([&] { (void)bytes[buffer.size() - 1]; }));
    CHECK(faults([&] { std::memset(buffer.data(), 0, 1); }));
  }
}

TEST_CASE("no kernel runs, and destroying one that never ran is fine") {
  rondel::sim_device device;
  auto stream = device.make_stream();
  bool ran = false;
  const auto shared = std::make_shared<int>(1);
  stream.launch({.name = "x", .flops = 3}, [&ran, shared] { ran = true; });
  stream.synchronize();
  CHECK_FALSE(ran);
  CHECK(shared.use_count() == 1);
  CHECK(device.work_done().launches == 1);
  CHECK(device.work_done().flops == 3);
}

TEST_CASE("addresses run out before they wrap around") {
  rondel::sim_device device;
  auto stream = device.make_stream();
  CHECK_THROWS_AS((void)device.allocate(stream, SIZE_MAX), rondel::out_of_memory);
  CHECK_THROWS_AS((void)device.allocate(stream, SIZE_MAX / 2), rondel::out_of_memory);
  CHECK(device.memory().live == 0);
  auto terabyte = device.allocate(stream, std::size_t{1} << 40);
  CHECK(device.memory().live == std::uint64_t{1} << 40);
  CHECK(terabyte.data() != nullptr);
}
