#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include "stream.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RONDEL_TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RONDEL_TEST_SANITIZED 1
#endif

using conformance::gate;
using conformance::thrown_by;
using rondel::host_device;
using rondel::stream_mode;

namespace {

constexpr auto workers = rondel::host_options{.streams = stream_mode::worker};

void fail_with(rondel::host_stream& stream, const char* message) {
  stream.launch({}, [message] { throw std::runtime_error(message); });
}

}  // namespace

TEST_CASE("an immediate stream runs work inside the call, on the caller's thread") {
  host_device device;
  auto stream = device.make_stream();
  std::thread::id ran_on;
  stream.launch({}, [&] { ran_on = std::this_thread::get_id(); });
  CHECK(ran_on == std::this_thread::get_id());
  CHECK(stream.idle());
}

TEST_CASE("a worker stream runs work on one thread of its own") {
  host_device device(workers);
  auto stream = device.make_stream();
  std::thread::id first, second;
  stream.launch({}, [&] { first = std::this_thread::get_id(); });
  stream.launch({}, [&] { second = std::this_thread::get_id(); });
  stream.synchronize();
  CHECK(first != std::this_thread::get_id());
  CHECK(first == second);
}

TEST_CASE("the mode of one stream can differ from the device's") {
  host_device device;
  CHECK(device.make_stream("s").mode() == stream_mode::immediate);
  CHECK(device.make_stream("s", stream_mode::worker).mode() == stream_mode::worker);
}

TEST_CASE("kernels may be move-only and are destroyed once run") {
  for (const auto mode : {stream_mode::immediate, stream_mode::worker}) {
    host_device device;
    auto stream = device.make_stream("s", mode);
    int seen = 0;
    auto shared = std::make_shared<int>(5);
    stream.launch({},
                  [&seen, owned = std::make_unique<int>(4), shared] { seen = *owned + *shared; });
    stream.synchronize();
    CHECK(seen == 9);
    CHECK(shared.use_count() == 1);
  }
}

TEST_CASE("a kernel may own the buffer it works on") {
  for (const auto mode : {stream_mode::immediate, stream_mode::worker}) {
    host_device device;
    std::atomic<int> sum{0};
    {
      auto stream = device.make_stream("s", mode);
      for (int i = 0; i < 2000; ++i) {
        auto buffer = device.allocate(stream, 64);
        stream.launch({}, [buffer = std::move(buffer), &sum] {
          *static_cast<int*>(buffer.data()) = 1;
          sum += *static_cast<int*>(buffer.data());
        });
      }
    }
    CHECK(sum == 2000);
    CHECK(device.memory().live == 0);
  }
}

TEST_CASE("an immediate stream that waits for a failed worker fails with it") {
  host_device device;
  auto worker = device.make_stream("worker", stream_mode::worker);
  auto stream = device.make_stream("immediate");
  auto event = device.make_event();
  gate closed;
  worker.launch({}, [&] {
    (void)closed.pass();
    throw std::runtime_error("kernel says no");
  });
  worker.record(event);
  closed.open();
  CHECK(thrown_by([&] { stream.wait(event); }) == "kernel says no");
  CHECK(thrown_by([&] { stream.launch({}, [] {}); }) == "kernel says no");
  CHECK(thrown_by([&] { stream.synchronize(); }) == "kernel says no");
}

TEST_CASE("the first failure of a stream is the one that comes out") {
  host_device device(workers);
  auto stream = device.make_stream();
  gate closed;
  stream.launch({}, [&] { (void)closed.pass(); });
  fail_with(stream, "first");
  fail_with(stream, "second");
  closed.open();
  CHECK(thrown_by([&] { stream.synchronize(); }) == "first");
}

// Streams are small and of one size, so that the next one lies where the last one did.
TEST_CASE("an event forgets the failure of a stream that is gone") {
  host_device device(workers);
  auto event = device.make_event();
  for (int i = 0; i < 20; ++i) {
    {
      auto failing = device.make_stream();
      gate closed;
      failing.launch({}, [&] {
        (void)closed.pass();
        throw std::runtime_error("kernel says no");
      });
      failing.record(event);
      closed.open();
      CHECK(thrown_by([&] { event.synchronize(); }) == "kernel says no");
    }
    auto stream = device.make_stream();
    stream.record(event);
    CHECK(thrown_by([&] { event.synchronize(); }) == "");
    CHECK(thrown_by([&] {
            stream.wait(event);
            stream.synchronize();
          }) == "");
  }
}

TEST_CASE("a buffer of an immediate stream may outlive it") {
  host_device device;
  std::optional<rondel::host_buffer> buffer;
  {
    auto stream = device.make_stream();
    buffer = device.allocate(stream, 10);
  }
  CHECK(device.memory().live == 10);
  buffer.reset();
  CHECK(device.memory().live == 0);
}

#if !defined(RONDEL_TEST_SANITIZED)
TEST_CASE("memory that the machine does not have") {
  host_device device;
  auto stream = device.make_stream();
  volatile std::size_t size = std::numeric_limits<std::size_t>::max() / 4;
  CHECK_THROWS_AS((void)device.allocate(stream, size), rondel::out_of_memory);
  CHECK(device.memory().live == 0);
  CHECK(device.memory().peak == 0);
  CHECK(device.memory().allocations == 0);
}
#endif

TEST_CASE("the peak can start anew") {
  host_device device;
  auto stream = device.make_stream();
  auto kept = device.allocate(stream, 10);
  { auto more = device.allocate(stream, 20); }
  CHECK(device.memory().peak == 30);
  device.reset_peak();
  CHECK(device.memory().peak == 10);
}

namespace {

// Opens the gate that the dying stream's work waits for: called too late, the test takes the
// gate's bound and the work says so.
struct opener final : rondel::stream_listener {
  explicit opener(gate& what) : closed(&what) {}
  void unwinding() noexcept override {
    ++calls;
    closed->open();
  }
  void failed(const std::exception_ptr& failure) noexcept override {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      words += e.what();
    }
  }
  gate* closed;
  int calls = 0;
  std::string words;
};

TEST_CASE("the listener hears of each stream's failure once, with its exception") {
  for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
    gate unused;
    opener listener(unused);
    rondel::host_device device({.streams = mode, .listener = &listener});
    auto stream = device.make_stream("test");
    for (int i = 0; i < 2; ++i) {
      CHECK_THROWS_AS(
          [&] {
            stream.launch({.name = "broken"}, [] { throw std::runtime_error("broken"); });
            stream.synchronize();
          }(),
          std::runtime_error);
    }
    CHECK(listener.words == "broken");
    CHECK(listener.calls == 0);
  }
}

struct busy_stream_in_destructor {
  host_device* device;
  gate* slow;
  ~busy_stream_in_destructor() {
    auto stream = device->make_stream();
    stream.launch({}, [this] {
      slow->open();
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
    });
  }
};

}  // namespace

TEST_CASE("the listener is told before a busy stream dies of an exception") {
  gate closed;
  opener listener(closed);
  host_device device({.streams = stream_mode::worker, .listener = &listener});
  bool passed = false;
  const auto leave = [&] {
    auto stream = device.make_stream();
    stream.launch({}, [&] { passed = closed.pass(); });
    throw std::runtime_error("leaving");
  };
  CHECK(thrown_by(leave) == "leaving");
  CHECK(listener.calls == 1);
  CHECK(passed);
}

TEST_CASE("the listener is not told otherwise") {
  gate closed;
  opener listener(closed);
  host_device device({.streams = stream_mode::worker, .listener = &listener});
  SUBCASE("a busy stream dies in good order") {
    auto stream = device.make_stream();
    stream.launch({}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(250)); });
  }
  SUBCASE("an idle stream dies of an exception") {
    CHECK(thrown_by([&] {
            auto stream = device.make_stream();
            stream.launch({}, [] {});
            stream.synchronize();
            throw std::runtime_error("leaving");
          }) == "leaving");
  }
  SUBCASE("a busy stream dies of an exception, but its work needs nobody and ends soon") {
    CHECK(thrown_by([&] {
            auto stream = device.make_stream();
            stream.launch({}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); });
            throw std::runtime_error("leaving");
          }) == "leaving");
  }
  SUBCASE("an immediate stream dies of an exception") {
    CHECK(thrown_by([&] {
            auto stream = device.make_stream("s", stream_mode::immediate);
            stream.launch({}, [] {});
            throw std::runtime_error("leaving");
          }) == "leaving");
  }
  SUBCASE("a moved-from stream dies of an exception") {
    std::optional<rondel::host_stream> kept;
    CHECK(thrown_by([&] {
            auto stream = device.make_stream();
            stream.launch({}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(250)); });
            kept = std::move(stream);
            throw std::runtime_error("leaving");
          }) == "leaving");
  }
  SUBCASE("a destructor that runs while an exception travels has a stream of its own") {
    gate slow;
    CHECK(thrown_by([&] {
            const busy_stream_in_destructor guard{&device, &slow};
            throw std::runtime_error("leaving");
          }) == "leaving");
    CHECK(slow.pass());
  }
  CHECK(listener.calls == 0);
}

TEST_CASE("streams record what they run") {
  for (const auto mode : {stream_mode::immediate, stream_mode::worker}) {
    rondel::timeline recorder;
    {
      host_device device({.streams = mode, .rank = 2, .recorder = &recorder});
      auto compute = device.make_stream("compute");
      auto copies = device.make_stream("copies");
      auto event = device.make_event();
      compute.launch({.name = "first", .flops = 7, .bytes_read = 3, .bytes_written = 4}, [] {});
      compute.launch({.name = "second"}, [] {});
      compute.record(event);
      copies.wait(event);
      rondel::device_array<std::byte, host_device> memory(device, copies, 8);
      const std::vector<std::byte> host(8);
      copies.upload(memory.span(), host);
      copies.synchronize();
      compute.synchronize();
    }
    const auto lanes = recorder.lanes();
    REQUIRE(lanes.size() == 2);
    CHECK(lanes[0]->rank() == 2);
    CHECK(lanes[0]->name() == "compute");
    CHECK(lanes[1]->name() == "copies");
    const auto& spans = lanes[0]->spans();
    REQUIRE(spans.size() == 2);
    CHECK(std::string(spans[0].name) == "first");
    CHECK(spans[0].flops == 7);
    CHECK(spans[0].bytes == 7);
    CHECK(spans[0].begin <= spans[0].end);
    CHECK(spans[0].end <= spans[1].begin);
    CHECK(std::string(spans[1].name) == "second");
    REQUIRE(lanes[1]->spans().size() == 1);
    CHECK(std::string(lanes[1]->spans()[0].name) == "upload");
    CHECK(lanes[1]->spans()[0].bytes == 16);
    CHECK(lanes[1]->spans()[0].begin >= spans[1].end);
  }
}

TEST_CASE("nothing is recorded while the timeline is stopped") {
  rondel::timeline recorder;
  recorder.stop();
  host_device device({.recorder = &recorder});
  auto stream = device.make_stream("s");
  stream.launch({.name = "unseen"}, [] {});
  recorder.start();
  stream.launch({.name = "seen"}, [] {});
  CHECK(thrown_by([&] { fail_with(stream, "no"); }) == "no");
  const auto lanes = recorder.lanes();
  REQUIRE(lanes.size() == 1);
  REQUIRE(lanes[0]->spans().size() == 1);
  CHECK(std::string(lanes[0]->spans()[0].name) == "seen");
}
