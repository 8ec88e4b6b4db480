#include <rondel/device/host.hpp>
#include <rondel/device/sim.hpp>

#include "device.hpp"
#include "stream.hpp"

#include <cstdint>

#include <doctest/doctest.h>

namespace {

template <rondel::stream_mode Mode>
struct host {
  using device_type = rondel::host_device;
  static constexpr bool runs = true;
  static constexpr bool overlaps = Mode == rondel::stream_mode::worker;
  static constexpr bool throws = true;

  static device_type make_device(std::uint64_t limit, int rank) {
    return device_type({.streams = Mode, .memory_limit = limit, .rank = rank});
  }
  static rondel::host_stream make_stream(device_type& device) {
    auto stream = device.make_stream("test");
    CHECK(stream.mode() == Mode);
    return stream;
  }
  template <class F>
  static void run(rondel::host_stream& stream, F f) {
    stream.launch({}, f);
  }
};

struct immediate : host<rondel::stream_mode::immediate> {};
struct worker : host<rondel::stream_mode::worker> {};

struct simulated {
  using device_type = rondel::sim_device;
  static constexpr bool runs = false;
  static constexpr bool overlaps = false;
  static constexpr bool throws = false;

  static device_type make_device(std::uint64_t limit, int rank) {
    return device_type({.memory_limit = limit, .rank = rank});
  }
  static rondel::sim_stream make_stream(device_type& device) { return device.make_stream("test"); }
  template <class F>
  static void run(rondel::sim_stream& stream, F f) {
    stream.launch({}, f);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("streams", Engine, immediate, worker, simulated) {
  conformance::stream_conformance<Engine>();
}

TEST_CASE_TEMPLATE("devices", Engine, immediate, worker, simulated) {
  conformance::device_conformance<Engine>();
}
