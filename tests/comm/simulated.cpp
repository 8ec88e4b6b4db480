// One program on threads and on simulated devices: nothing but the data may differ.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/device/array.hpp>
#include <rondel/launch.hpp>
#include <rondel/trace/ledger_table.hpp>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

struct account {
  rondel::memory_usage memory;
  rondel::work_total work;
  rondel::ledger book;
};

template <class Wrap>
auto program(const Wrap& wrap) {
  return [&wrap](auto& rank) {
    using device_type = typename std::remove_reference_t<decltype(rank)>::device_type;
    account out;
    {
      rondel::ledger_communicator comm(wrap(rank.world().duplicate()), out.book);
      auto stream = rank.device().make_stream("compute");
      auto link = rank.device().make_stream("link");
      rondel::device_array<float, device_type> x(rank.device(), stream, 1003);
      rondel::device_array<float, device_type> y(rank.device(), stream,
                                                 1003 * static_cast<std::size_t>(rank.size()));
      std::vector<float> host(1003, 1.0F);
      stream.upload(rondel::as_writable_bytes(x.span()), std::as_bytes(std::span(host)));
      stream.launch({.name = "scale", .flops = 1003, .bytes_read = 4012, .bytes_written = 4012},
                    [span = x.span()] {
                      for (std::size_t i = 0; i < span.size(); ++i) span.data()[i] *= 2;
                    });
      rondel::all_reduce(comm, stream, x.span(), rondel::in_rank_order(rondel::mean{}));
      rondel::all_reduce(comm, stream, x.span(), rondel::max{});
      rondel::all_gather(comm, stream, x.span(), y.span());
      rondel::barrier(comm, stream);
      auto half = comm.split(rank.rank() % 2, 0);
      rondel::all_reduce(*half, stream, x.span());
      rondel::device_array<float, device_type> z(rank.device(), stream, 1003);
      rondel::ring_pass(comm, stream, link, std::array{x.span(), z.span()},
                        [&](rondel::device_span<const float> block, int, int) {
                          stream.launch({.name = "look", .bytes_read = block.size_bytes()}, [] {});
                        });
      stream.download(std::as_writable_bytes(std::span(host)), rondel::as_bytes(x.span()));
      stream.synchronize();
      link.synchronize();
    }
    out.memory = rank.device().memory();
    out.work = rank.device().work_done();
    return out;
  };
}

template <class Wrap>
void check_equal(const Wrap& wrap) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    CAPTURE(ranks);
    const auto real = rondel::run(rondel::threads{.ranks = ranks, .timeout = {60}}, program(wrap));
    const auto simulated =
        rondel::run(rondel::simulated{.ranks = ranks, .timeout = {60}}, program(wrap));
    for (std::size_t r = 0; r < real.size(); ++r) {
      CAPTURE(r);
      CHECK(simulated[r].memory.peak == real[r].memory.peak);
      CHECK(simulated[r].memory.live == 0);
      CHECK(real[r].memory.live == 0);
      CHECK(simulated[r].memory.allocations == real[r].memory.allocations);
      CHECK(simulated[r].work == real[r].work);
      CHECK(simulated[r].book == real[r].book);
      CHECK(to_table(simulated[r].book) == to_table(real[r].book));
    }
  }
}

TEST_CASE("memory, work and ledger are those of the real run") {
  SUBCASE("by the meeting") {
    check_equal([](auto comm) { return comm; });
  }
  SUBCASE("by messages") {
    check_equal([](auto comm) { return rondel::send_recv_only(std::move(comm)); });
  }
}

TEST_CASE("a thousand gigabytes fit where nothing backs them, up to the limit") {
  const rondel::simulated engine{.ranks = 2, .memory_limit = 80ULL << 30, .timeout = {60}};
  rondel::run(engine, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    auto most = rank.device().allocate(stream, 79ULL << 30);
    CHECK(rank.device().memory().live == 79ULL << 30);
    CHECK_THROWS_AS((void)rank.device().allocate(stream, 2ULL << 30), rondel::out_of_memory);
  });
}

}  // namespace
