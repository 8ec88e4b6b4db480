#pragma once
// What every model of the concepts `stream` and `event` must do. An engine under test is a type
// with
//   device_type                         the device
//   static device_type make_device(limit, rank)
//   static stream make_stream(device)
//   static void run(stream, f)          lets the stream call `f()` in its order
//   runs                                whether work runs at all; a simulated device only counts
//   overlaps                            whether it runs beside the caller
//   throws                              whether what `f` throws makes the stream fail
//   static void* memory(data)           where `f` finds device memory; its address, if not there
#include <rondel/device/array.hpp>
#include <rondel/device/concepts.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace conformance {

// A kernel that waits until the host opens it, but never for ever: a test must not hang.
class gate {
 public:
  void open() noexcept { open_.store(true); }
  // Whether it was opened, within a bound that only a broken test reaches.
  [[nodiscard]] bool pass() const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!open_.load()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }

 private:
  std::atomic<bool> open_{false};
};

inline constexpr std::uint64_t no_limit = UINT64_MAX;

// Device memory as work that the host runs sees it.
template <class Engine>
[[nodiscard]] void* memory_of(void* data) {
  if constexpr (requires { Engine::memory(data); }) {
    return Engine::memory(data);
  } else {
    return data;
  }
}

template <class Engine>
void check_order_within_a_stream() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  constexpr int launches = 10'000;
  std::vector<int> seen;
  for (int i = 0; i < launches; ++i) {
    Engine::run(stream, [&seen, i] { seen.push_back(i); });
  }
  stream.synchronize();
  CHECK(stream.idle());
  std::vector<int> expected(Engine::runs ? launches : 0);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(seen == expected);
}

template <class Engine>
void check_streams_hand_over_by_events() {
  auto device = Engine::make_device(no_limit, -1);
  auto a = Engine::make_stream(device);
  auto b = Engine::make_stream(device);
  auto from_a = device.make_event();
  auto from_b = device.make_event();
  std::vector<int> seen;  // a race, were it not for the events
  constexpr int turns = 500;
  for (int i = 0; i < turns; ++i) {
    a.wait(from_b);
    Engine::run(a, [&seen, i] { seen.push_back(2 * i); });
    a.record(from_a);
    b.wait(from_a);
    Engine::run(b, [&seen, i] { seen.push_back(2 * i + 1); });
    b.record(from_b);
  }
  from_b.synchronize();
  CHECK(from_b.ready());
  std::vector<int> expected(Engine::runs ? 2 * turns : 0);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(seen == expected);
}

// Streams pick an order at random; events, recorded again and again on any of them, must carry
// all that came before.
template <class Engine>
void check_random_event_graphs() {
  for (unsigned seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto draw = [&](std::size_t n) { return random() % n; };
    auto device = Engine::make_device(no_limit, -1);
    std::vector<typename Engine::device_type::stream_type> streams;
    for (int i = 0; i < 3; ++i) streams.push_back(Engine::make_stream(device));
    std::vector<typename Engine::device_type::event_type> events;
    for (int i = 0; i < 4; ++i) events.push_back(device.make_event());

    // counters[s] is written by stream s alone; a stream reads another's only behind an event.
    std::vector<int> counters(3, 0), issued(3, 0);
    std::vector<std::vector<int>> recorded(4, std::vector<int>(3, 0));
    std::vector<std::vector<int>> known(3, std::vector<int>(3, 0));
    std::atomic<int> wrong{0};
    for (int step = 0; step < 300; ++step) {
      const std::size_t s = draw(3);
      const std::size_t e = draw(4);
      switch (draw(3)) {
        case 0:
          Engine::run(streams[s], [&counters, s] { ++counters[s]; });
          known[s][s] = ++issued[s];
          break;
        case 1:
          streams[s].record(events[e]);
          recorded[e] = known[s];
          break;
        default:
          streams[s].wait(events[e]);
          for (std::size_t i = 0; i < 3; ++i) {
            known[s][i] = std::max(known[s][i], recorded[e][i]);
          }
          // Only what the events order may be read: one's own counter here, and others' where
          // their streams have issued nothing since.
          for (std::size_t i = 0; i < 3; ++i) {
            if (known[s][i] == issued[i] && i != s) {
              Engine::run(streams[s], [&counters, &wrong, i, least = known[s][i]] {
                if (counters[i] < least) ++wrong;
              });
              // Nobody may write counters[i] before this has read it.
              auto read = device.make_event();
              streams[s].record(read);
              streams[i].wait(read);
              for (std::size_t j = 0; j < 3; ++j) {
                known[i][j] = std::max(known[i][j], known[s][j]);
              }
            }
          }
      }
    }
    for (auto& stream : streams) stream.synchronize();
    CHECK(wrong == 0);
    if (Engine::runs) CHECK(counters == issued);
  }
}

template <class Engine>
void check_events_never_recorded() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  const auto event = device.make_event();
  CHECK(event.ready());
  event.synchronize();
  stream.wait(event);
  bool ran = false;
  Engine::run(stream, [&] { ran = true; });
  stream.synchronize();
  CHECK(ran == Engine::runs);
}

template <class Engine>
void check_events_and_streams_move() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  int ran = 0;
  Engine::run(stream, [&] { ++ran; });
  auto event = device.make_event();
  stream.record(event);
  auto moved_event = std::move(event);
  auto moved_stream = std::move(stream);
  moved_event.synchronize();
  CHECK(ran == (Engine::runs ? 1 : 0));
  Engine::run(moved_stream, [&] { ++ran; });
  moved_stream.record(moved_event);
  moved_event.synchronize();
  CHECK(ran == (Engine::runs ? 2 : 0));
  moved_event = device.make_event();
  CHECK(moved_event.ready());
}

template <class Engine>
void check_idle_and_ready_follow_the_work() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  auto stream = Engine::make_stream(device);
  CHECK(stream.idle());
  stream.synchronize();
  auto event = device.make_event();
  stream.record(event);
  event.synchronize();
  CHECK(event.ready());

  Engine::run(stream, [&] { (void)closed.pass(); });
  stream.record(event);  // again: the earlier point counts no longer
  CHECK_FALSE(stream.idle());
  CHECK_FALSE(event.ready());
  closed.open();
  event.synchronize();
  CHECK(event.ready());
  stream.synchronize();
  CHECK(stream.idle());
}

template <class Engine>
void check_wait_refers_to_the_record_before_it() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  auto a = Engine::make_stream(device);
  auto b = Engine::make_stream(device);
  auto event = device.make_event();
  a.record(event);
  b.wait(event);
  Engine::run(a, [&] { (void)closed.pass(); });
  a.record(event);
  bool ran = false;
  Engine::run(b, [&] { ran = true; });
  b.synchronize();  // hangs, up to the gate's bound, if `b` waits for the second record
  CHECK(ran);
  CHECK_FALSE(event.ready());
  b.wait(event);
  bool late = false;
  Engine::run(b, [&] { late = true; });
  CHECK_FALSE(b.idle());
  closed.open();
  b.synchronize();
  CHECK(late);
  CHECK(event.ready());
}

template <class Engine>
void check_an_event_moves_to_another_stream() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  auto a = Engine::make_stream(device);
  auto b = Engine::make_stream(device);
  auto c = Engine::make_stream(device);
  auto event = device.make_event();
  Engine::run(a, [&] { (void)closed.pass(); });
  a.record(event);
  CHECK_FALSE(event.ready());
  b.record(event);  // the point on `a` counts no longer
  event.synchronize();
  c.wait(event);
  c.synchronize();
  CHECK(event.ready());
  CHECK_FALSE(a.idle());
  closed.open();
  a.record(event);
  event.synchronize();
  a.synchronize();
}

template <class Engine>
void check_streams_overlap() {
  auto device = Engine::make_device(no_limit, -1);
  auto a = Engine::make_stream(device);
  auto b = Engine::make_stream(device);
  gate a_runs, b_runs;
  bool a_met = false, b_met = false;
  Engine::run(a, [&] {
    a_runs.open();
    a_met = b_runs.pass();
  });
  Engine::run(b, [&] {
    b_runs.open();
    b_met = a_runs.pass();
  });
  a.synchronize();
  b.synchronize();
  CHECK(a_met);
  CHECK(b_met);
}

template <class Engine>
void check_destruction_runs_what_is_queued() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  std::atomic<int> ran{0};
  {
    auto stream = Engine::make_stream(device);
    if (Engine::overlaps) Engine::run(stream, [&] { (void)closed.pass(); });
    for (int i = 0; i < 500; ++i) Engine::run(stream, [&] { ++ran; });
    closed.open();
  }
  CHECK(ran == (Engine::runs ? 500 : 0));
}

template <class Engine>
void check_copies() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  using array = rondel::device_array<std::byte, typename Engine::device_type>;
  for (const std::size_t size : {1UL, 63UL, 64UL, 1000UL, 70'000UL}) {
    CAPTURE(size);
    std::vector<std::byte> in(size), out(size, std::byte{0xff});
    for (std::size_t i = 0; i < size; ++i) in[i] = static_cast<std::byte>(i * 7 + 1);
    array a(device, stream, size);
    array b(device, stream, size);
    stream.upload(a.span(), in);
    stream.copy(b.span(), a.span());
    stream.download(out, b.span());
    stream.synchronize();
    CHECK(out == (Engine::runs ? in : std::vector<std::byte>(size)));
  }
}

template <class Engine>
void check_copies_of_nothing() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  stream.upload({}, {});
  stream.copy({}, {});
  stream.download({}, {});
  rondel::device_array<std::byte, typename Engine::device_type> none(device, stream, 0);
  stream.copy(none.span(), none.span());
  stream.synchronize();
  CHECK(stream.idle());
}

template <class Engine>
void check_copies_of_unequal_sizes() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  rondel::device_array<std::byte, typename Engine::device_type> a(device, stream, 8);
  std::vector<std::byte> kept(8, std::byte{5}), four(4), sixteen(16);
  stream.upload(a.span(), kept);
  CHECK_THROWS_AS(stream.upload(a.span(), four), rondel::invalid_argument);
  CHECK_THROWS_AS(stream.upload(a.span(), sixteen), rondel::invalid_argument);
  CHECK_THROWS_AS(stream.upload(a.span(), {}), rondel::invalid_argument);
  CHECK_THROWS_AS(stream.download(four, a.span()), rondel::invalid_argument);
  CHECK_THROWS_AS(stream.download(sixteen, a.span()), rondel::invalid_argument);
  CHECK_THROWS_AS(stream.copy(a.span(), a.span().first(4)), rondel::invalid_argument);
  CHECK_THROWS_AS(stream.copy(a.span().first(4), a.span()), rondel::invalid_argument);
  // A broken precondition is no failed work: the stream goes on.
  std::vector<std::byte> out(8);
  stream.download(out, a.span());
  stream.synchronize();
  if (Engine::runs) CHECK(out == kept);
}

// What `f` throws, as text; empty if nothing.
template <class F>
[[nodiscard]] std::string thrown_by(const F& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

template <class Engine>
void check_a_kernel_that_throws() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  auto stream = Engine::make_stream(device);
  auto other = Engine::make_stream(device);
  auto before = device.make_event();
  int ran = 0;
  Engine::run(stream, [&] { ++ran; });
  stream.record(before);
  if (Engine::overlaps) Engine::run(stream, [&] { (void)closed.pass(); });
  const auto fail = [&] {
    Engine::run(stream, [] { throw std::runtime_error("kernel says no"); });
  };
  if (Engine::overlaps) {
    fail();
    Engine::run(stream, [&] { ++ran; });
    closed.open();
  } else {
    CHECK(thrown_by(fail) == "kernel says no");
  }
  CHECK(thrown_by([&] { stream.synchronize(); }) == "kernel says no");
  CHECK(thrown_by([&] { Engine::run(stream, [&] { ++ran; }); }) == "kernel says no");
  std::vector<std::byte> host(4);
  rondel::device_array<std::byte, typename Engine::device_type> memory(device, other, 4);
  CHECK(thrown_by([&] { stream.upload(memory.span(), host); }) == "kernel says no");
  CHECK(thrown_by([&] { stream.download(host, memory.span()); }) == "kernel says no");
  CHECK(thrown_by([&] { stream.copy(memory.span(), memory.span()); }) == "kernel says no");
  auto after = device.make_event();
  CHECK(thrown_by([&] { stream.record(after); }) == "kernel says no");
  CHECK(thrown_by([&] { stream.wait(before); }) == "kernel says no");
  CHECK(thrown_by([&] { stream.synchronize(); }) == "kernel says no");
  CHECK(ran == 1);

  // What was recorded before the failure has passed without one, and other streams live on.
  CHECK(before.ready());
  before.synchronize();
  other.wait(before);
  Engine::run(other, [&] { ++ran; });
  other.synchronize();
  CHECK(ran == 2);
}

template <class Engine>
void check_failure_travels_by_events() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  auto first = Engine::make_stream(device);
  auto second = Engine::make_stream(device);
  auto third = Engine::make_stream(device);
  auto bystander = Engine::make_stream(device);
  auto from_first = device.make_event();
  auto from_second = device.make_event();
  int ran = 0;
  Engine::run(first, [&] {
    (void)closed.pass();
    throw std::runtime_error("kernel says no");
  });
  first.record(from_first);
  second.wait(from_first);
  Engine::run(second, [&] { ++ran; });
  second.record(from_second);
  third.wait(from_second);
  Engine::run(third, [&] { ++ran; });
  closed.open();
  CHECK(thrown_by([&] { third.synchronize(); }) == "kernel says no");
  CHECK(thrown_by([&] { second.synchronize(); }) == "kernel says no");
  CHECK(thrown_by([&] { first.synchronize(); }) == "kernel says no");
  CHECK(from_first.ready());
  CHECK(thrown_by([&] { from_first.synchronize(); }) == "kernel says no");
  CHECK(thrown_by([&] { from_second.synchronize(); }) == "kernel says no");
  CHECK(ran == 0);
  Engine::run(bystander, [&] { ++ran; });
  bystander.synchronize();
  CHECK(ran == 1);
  // An event that a live stream records again forgets the failure.
  bystander.record(from_first);
  from_first.synchronize();
}

// The whole suite for one engine.
template <class Engine>
void stream_conformance() {
  static_assert(rondel::device<typename Engine::device_type>);
  SUBCASE("order within a stream") { check_order_within_a_stream<Engine>(); }
  SUBCASE("streams hand over by events") { check_streams_hand_over_by_events<Engine>(); }
  SUBCASE("random event graphs") { check_random_event_graphs<Engine>(); }
  SUBCASE("events never recorded") { check_events_never_recorded<Engine>(); }
  SUBCASE("events and streams move") { check_events_and_streams_move<Engine>(); }
  SUBCASE("destruction runs what is queued") { check_destruction_runs_what_is_queued<Engine>(); }
  SUBCASE("copies") { check_copies<Engine>(); }
  SUBCASE("copies of nothing") { check_copies_of_nothing<Engine>(); }
  SUBCASE("copies of unequal sizes") { check_copies_of_unequal_sizes<Engine>(); }
  if constexpr (Engine::overlaps) {
    SUBCASE("idle and ready") { check_idle_and_ready_follow_the_work<Engine>(); }
    SUBCASE("a wait refers to the record before it") {
      check_wait_refers_to_the_record_before_it<Engine>();
    }
    SUBCASE("an event moves to another stream") {
      check_an_event_moves_to_another_stream<Engine>();
    }
    SUBCASE("streams overlap") { check_streams_overlap<Engine>(); }
  }
  if constexpr (Engine::throws) {
    SUBCASE("a kernel that throws") { check_a_kernel_that_throws<Engine>(); }
    if constexpr (Engine::overlaps) {
      SUBCASE("failure travels by events") { check_failure_travels_by_events<Engine>(); }
    }
  }
}

}  // namespace conformance
