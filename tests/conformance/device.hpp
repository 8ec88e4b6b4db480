#pragma once
// What every model of the concepts `device` and `buffer` must do; for engines see "stream.hpp".
#include <rondel/core/error.hpp>
#include <rondel/device/array.hpp>

#include "stream.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace conformance {

[[nodiscard]] inline bool aligned(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % 64 == 0;
}

template <class Engine>
void check_alignment() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  std::vector<typename Engine::device_type::buffer_type> buffers;
  for (std::size_t size = 1; size < 300; size += 7) {
    buffers.push_back(device.allocate(stream, size));
    CHECK(buffers.back().data() != nullptr);
    CHECK(aligned(buffers.back().data()));
    CHECK(buffers.back().size() == size);
  }
  // No two overlap, not by their last byte either.
  for (const auto& a : buffers) {
    for (const auto& b : buffers) {
      if (&a == &b) continue;
      const auto first = [](const auto& x) { return reinterpret_cast<std::uintptr_t>(x.data()); };
      CHECK((first(a) + a.size() <= first(b) || first(b) + b.size() <= first(a)));
    }
  }
}

template <class Engine>
void check_memory_is_counted() {
  auto device = Engine::make_device(no_limit, 3);
  auto stream = Engine::make_stream(device);
  const auto is = [&](std::uint64_t live, std::uint64_t peak, std::uint64_t allocations) {
    const rondel::memory_usage usage = device.memory();
    CHECK(usage.live == live);
    CHECK(usage.peak == peak);
    CHECK(usage.allocations == allocations);
    CHECK(usage.limit == no_limit);
  };
  CHECK(device.rank() == 3);
  is(0, 0, 0);
  {
    auto a = device.allocate(stream, 100);
    is(100, 100, 1);
    {
      auto b = device.allocate(stream, 28);
      is(128, 128, 2);
    }
    is(100, 128, 2);
    auto none = device.allocate(stream, 0);
    CHECK(none.data() == nullptr);
    CHECK(none.size() == 0);
    is(100, 128, 2);
    auto c = device.allocate(stream, 20);
    is(120, 128, 3);
  }
  is(0, 128, 3);
  auto d = device.allocate(stream, 129);
  is(129, 129, 4);
  rondel::device_array<float, typename Engine::device_type> e(device, stream, 5);
  is(149, 149, 5);
}

template <class Engine>
void check_moves() {
  using buffer = typename Engine::device_type::buffer_type;
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  buffer a = device.allocate(stream, 10);
  const void* const data = a.data();
  buffer b = std::move(a);
  CHECK(b.data() == data);
  CHECK(b.size() == 10);
  CHECK(a.data() == nullptr);  // NOLINT: what a moved-from buffer holds is the point
  CHECK(a.size() == 0);        // NOLINT
  CHECK(device.memory().live == 10);

  buffer c = device.allocate(stream, 7);
  c = std::move(b);  // frees the 7 bytes now, not when `b` dies
  CHECK(device.memory().live == 10);
  CHECK(c.data() == data);
  CHECK(b.size() == 0);  // NOLINT
  a = device.allocate(stream, 3);
  CHECK(device.memory().live == 13);
  a = buffer();
  CHECK(device.memory().live == 10);
  std::swap(a, c);
  CHECK(a.data() == data);
  CHECK(device.memory().live == 10);
  CHECK(device.memory().peak == 17);

  using array = rondel::device_array<double, typename Engine::device_type>;
  array x(device, stream, 4);
  array y = std::move(x);
  CHECK(y.size() == 4);
  CHECK(y.span().size() == 4);
  CHECK(x.size() == 0);     // NOLINT
  CHECK(x.span().empty());  // NOLINT
  CHECK(array().span().empty());
}

template <class Engine>
void check_limit() {
  auto device = Engine::make_device(1000, 5);
  auto stream = Engine::make_stream(device);
  auto kept = device.allocate(stream, 600);
  bool thrown = false;
  try {
    auto more = device.allocate(stream, 401);
  } catch (const rondel::out_of_memory& e) {
    thrown = true;
    CHECK(e.requested() == 401);
    CHECK(e.live() == 600);
    CHECK(e.limit() == 1000);
    CHECK(e.rank() == 5);
  }
  CHECK(thrown);
  CHECK_THROWS_AS((void)device.allocate(stream, SIZE_MAX), rondel::out_of_memory);
  CHECK(device.memory().live == 600);
  CHECK(device.memory().peak == 600);
  CHECK(device.memory().allocations == 1);
  CHECK(device.memory().limit == 1000);
  {
    auto exactly = device.allocate(stream, 400);
    CHECK(device.memory().live == 1000);
    CHECK_THROWS_AS((void)device.allocate(stream, 1), rondel::out_of_memory);
    CHECK(device.allocate(stream, 0).data() == nullptr);
  }
  // The stream and the buffers go on.
  auto again = device.allocate(stream, 400);
  std::vector<std::byte> in(400, std::byte{9}), out(400);
  stream.upload({static_cast<std::byte*>(again.data()), 400}, in);
  stream.download(out, {static_cast<const std::byte*>(again.data()), 400});
  stream.synchronize();
  if (Engine::runs) CHECK(out == in);
  CHECK(device.memory().peak == 1000);
}

template <class Engine>
void check_arrays_that_overflow() {
  auto device = Engine::make_device(no_limit, -1);
  auto stream = Engine::make_stream(device);
  using array = rondel::device_array<double, typename Engine::device_type>;
  CHECK_THROWS_AS(array(device, stream, SIZE_MAX / 8 + 1), rondel::invalid_argument);
  CHECK_THROWS_AS(array(device, stream, SIZE_MAX), rondel::invalid_argument);
  CHECK(device.memory().allocations == 0);
}

// A buffer object may die while work on its memory is still queued: what a sanitizer checks.
template <class Engine>
void check_memory_is_freed_in_stream_order() {
  auto device = Engine::make_device(no_limit, -1);
  gate closed;
  auto stream = Engine::make_stream(device);
  if (Engine::overlaps) Engine::run(stream, [&] { (void)closed.pass(); });
  int wrong = 0;
  for (int i = 0; i < 200; ++i) {
    auto buffer = device.allocate(stream, 1000);
    Engine::run(stream,
                [data = buffer.data(), i] { std::memset(memory_of<Engine>(data), i, 1000); });
    Engine::run(stream, [data = buffer.data(), i, &wrong] {
      for (int k = 0; k < 1000; ++k) {
        if (static_cast<const unsigned char*>(memory_of<Engine>(data))[k] != i) ++wrong;
      }
    });
  }
  CHECK(device.memory().live == 0);  // counted as issued
  CHECK(device.memory().peak == 1000);
  closed.open();
  stream.synchronize();
  CHECK(wrong == 0);
}

template <class Engine>
void check_buffers_outlive_the_device() {
  using device_type = typename Engine::device_type;
  std::optional<device_type> device(Engine::make_device(no_limit, -1));
  auto stream = Engine::make_stream(*device);
  auto buffer = device->allocate(stream, 64);
  auto event = device->make_event();
  device.reset();
  Engine::run(stream, [data = buffer.data()] { std::memset(memory_of<Engine>(data), 1, 64); });
  stream.record(event);
  event.synchronize();
  stream.synchronize();
  CHECK(buffer.size() == 64);
}

template <class Engine>
void check_work_is_counted() {
  auto device = Engine::make_device(no_limit, -1);
  auto a = Engine::make_stream(device);
  auto b = Engine::make_stream(device);
  a.launch({.name = "x", .flops = 10, .bytes_read = 4, .bytes_written = 2}, [](auto&&...) {});
  b.launch({.name = "y", .flops = 0.5, .bytes_read = 1, .bytes_written = 1}, [](auto&&...) {});
  std::vector<std::byte> host(8);
  rondel::device_array<std::byte, typename Engine::device_type> memory(device, a, 8);
  a.upload(memory.span(), host);
  a.download(host, memory.span());
  a.copy({}, {});  // nothing moves, nothing counts
  a.synchronize();
  b.synchronize();
  CHECK(device.work_done() ==
        rondel::work_total{.launches = 4, .flops = 10.5, .bytes_read = 21, .bytes_written = 19});
}

// The whole suite for one engine.
template <class Engine>
void device_conformance() {
  static_assert(rondel::device<typename Engine::device_type>);
  SUBCASE("alignment") { check_alignment<Engine>(); }
  SUBCASE("memory is counted") { check_memory_is_counted<Engine>(); }
  SUBCASE("moves") { check_moves<Engine>(); }
  SUBCASE("limit") { check_limit<Engine>(); }
  SUBCASE("arrays that overflow") { check_arrays_that_overflow<Engine>(); }
  SUBCASE("freed in stream order") { check_memory_is_freed_in_stream_order<Engine>(); }
  SUBCASE("buffers outlive the device") { check_buffers_outlive_the_device<Engine>(); }
  SUBCASE("work is counted") { check_work_is_counted<Engine>(); }
}

}  // namespace conformance
