// The communicator as its users see it, on immediate and on worker streams.
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

#include "ranks.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using model::check_found;
using model::check_holds;
using model::drop;
using model::require;
using model::run_ranks;
using model::weaken;
using rondel::device_span;
using communicator = rondel::thread_communicator<rondel::host_device>;

constexpr std::uint64_t many = 100'000;

// What `host_exchange` of one int gives.
std::vector<int> gather(communicator& comm, int mine) {
  std::vector<int> all(static_cast<std::size_t>(comm.size()));
  comm.exchange_host(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  return all;
}

// Ranks 0 and 2 become one communicator, rank 1 another one.
void split_and_exchange() {
  const auto group = model::make_group(3);
  run_ranks(3, [&](int rank) {
    rondel::host_device device;
    communicator world(group, rank, device, model::for_ever);
    communicator part = *world.split(rank % 2, -rank);
    require(gather(part, rank) == (rank == 1 ? std::vector{1} : std::vector{2, 0}), "wrong ranks");
  });
}

// Two collectives and a message on two worker streams each, with no order but that of the calls,
// while the hosts exchange something else.
void streams_and_hosts() {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    rondel::host_device device({.streams = rondel::stream_mode::worker, .rank = rank});
    communicator world(group, rank, device, model::for_ever);
    auto first = device.make_stream();
    auto second = device.make_stream();
    std::array<int, 2> x{rank + 1, 10}, y{};
    const rondel::operation op{.kind = rondel::operation_kind::all_reduce};
    world.begin(first, op);
    world.all_reduce(first, device_span<const int>(x.data(), 2), device_span<int>(y.data(), 2),
                     rondel::sum{});
    world.end();
    world.begin(second, op);
    world.barrier(second);
    world.end();
    require(gather(world, rank) == std::vector{0, 1}, "wrong bytes");
    first.synchronize();
    second.synchronize();
    require(y == std::array{3, 20}, "wrong sum");
  });
}

// The stream of rank 1 has failed before it comes to the barrier that rank 0 waits in.
void failed_stream() {
  const auto group = model::make_group(2);
  struct listener_type final : rondel::stream_listener {
    explicit listener_type(rondel::detail::thread_world& w) : world(w) {}
    void unwinding() noexcept override {}
    void failed(const std::exception_ptr&) noexcept override {
      world.note_stream_failure(1, "as told");
    }
    rondel::detail::thread_world& world;
  } listener(group->world());
  run_ranks(2, [&](int rank) {
    rondel::host_device device({.streams = rondel::stream_mode::worker,
                                .rank = rank,
                                .listener = rank == 1 ? &listener : nullptr});
    communicator world(group, rank, device, model::for_ever);
    auto stream = device.make_stream();
    std::string end;
    try {
      if (rank == 1) stream.launch({}, [] { throw std::runtime_error("as told"); });
      world.begin(stream, {.kind = rondel::operation_kind::barrier});
      world.barrier(stream);
      world.end();
      stream.synchronize();
    } catch (const std::exception& e) {
      end = e.what();
      if (rank == 1) world.abort(end);
    }
    require(end.find("as told") != std::string::npos,
            "rank " + std::to_string(rank) + " does not know why: " + end);
  });
}

// Rank 1 loses its communicator in one of three ways. What rank 0 is told tells them apart.
enum class end_of_rank { leaves, unwinds, vanishes };

void ends(end_of_rank how) {
  const auto group = model::make_group(2);
  run_ranks(2, [&](int rank) {
    std::string end;
    try {
      rondel::host_device device;
      const bool short_of_time = rank == 0 && how == end_of_rank::vanishes;
      communicator world(group, rank, device,
                         short_of_time ? rondel::seconds{0.001} : model::for_ever);
      require(gather(world, rank) == std::vector{0, 1}, "wrong bytes");
      if (rank == 1) {
        if (how == end_of_rank::vanishes) world.vanish();
        if (how != end_of_rank::unwinds) return;
        throw std::runtime_error("as told");
      }
      (void)gather(world, rank);
    } catch (const std::exception& e) {
      end = e.what();
      if (rank == 1) group->world().fail(1, end);
    }
    if (rank == 1) return;
    const char* const expected = how == end_of_rank::leaves    ? "rank 1 has left the communicator"
                                 : how == end_of_rank::unwinds ? "rank 1 failed first: as told"
                                                               : "rank 1 is missing";
    require(end.find(expected) != std::string::npos, end);
  });
}

TEST_CASE("ends of a rank") {
  const model::settings idle{.timed_waits = model::naps::idle};
  check_holds("a rank leaves its communicator", many, {}, [] { ends(end_of_rank::leaves); });
  check_holds("an exception takes a communicator", many, idle, [] { ends(end_of_rank::unwinds); });
  check_holds("a rank vanishes with its communicator", many, idle,
              [] { ends(end_of_rank::vanishes); });
}
TEST_CASE("split and duplicate") {
  check_holds("split of 3 ranks, and an exchange", many, {}, split_and_exchange);
}
TEST_CASE("streams of a communicator") {
  check_holds("2 ranks, 2 streams each, and their hosts", many, {}, streams_and_hosts);
  check_holds("a stream that fails before its call", many, {}, failed_stream);
}

// What the checker finds where the code is weaker than it is.
TEST_CASE("planted faults of communicators") {
  check_found("2 ranks, 2 streams each, and their hosts", {},
              {{weaken("served.store(", std::memory_order_relaxed), "deadlock"},
               {weaken("served.store(", std::memory_order_release), "deadlock"},
               {weaken("served.load(", std::memory_order_acquire), "deadlock"},
               {weaken("served.load(", std::memory_order_relaxed), "deadlock"}},
              streams_and_hosts);
  check_found("an exception takes a communicator", {.timed_waits = model::naps::idle},
              {{drop("unwound.store("), "has left"}}, [] { ends(end_of_rank::unwinds); });
  check_found("a rank vanishes with its communicator", {.timed_waits = model::naps::idle},
              {{drop("silent.store("), "has left"}}, [] { ends(end_of_rank::vanishes); });
}

}  // namespace
