#include <rondel/comm/faulty.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/trace/ledger.hpp>

#include "worlds.hpp"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

// `wrap(world, book)` makes the communicator under test.
template <class Wrap>
void run_essentials(int most, const Wrap& wrap) {
  for (int ranks = 2; ranks <= most; ++ranks) {
    test::nccl_machine machine({.seed = static_cast<unsigned>(ranks)});
    std::atomic<int> arrivals{0};
    test::on_nccl({.ranks = ranks, .timeout = {60}}, [&](auto& rank) {
      rondel::ledger book;
      auto comm = wrap(rank.world().duplicate(), book);
      auto stream = rank.device().make_stream("test");
      conformance::essentials(comm, stream, arrivals);
    });
  }
}

}  // namespace

TEST_CASE("ledger over nccl: the essentials") {
  run_essentials(3, [](auto world, auto& book) {
    return rondel::ledger_communicator(std::move(world), book);
  });
}

TEST_CASE("fingerprint over nccl: the essentials") {
  run_essentials(
      3, [](auto world, auto&) { return rondel::fingerprint_communicator(std::move(world)); });
}

TEST_CASE("all wrappers over nccl's messages: the essentials") {
  run_essentials(3, [](auto world, auto& book) {
    return rondel::ledger_communicator(
        rondel::fingerprint_communicator(rondel::faulty_communicator(
            rondel::send_recv_only(std::move(world)), {.jitter = {1e-4}, .seed = 5})),
        book);
  });
}

TEST_CASE("the checked mode names both sides of calls that differ") {
  test::nccl_machine machine({}, test::lenient);
  const auto all = test::outcomes(
      {.ranks = 3, .timeout = {30}},
      [](auto comm) { return rondel::fingerprint_communicator(std::move(comm)); },
      [](int rank, auto& comm, auto& stream) {
        test::uploaded<float, rondel::cuda_device> x(comm.device(), stream, {1, 2});
        if (rank == 1) {
          rondel::all_reduce(comm, stream, x.span(), rondel::max{});
        } else {
          rondel::all_reduce(comm, stream, x.span());
        }
      });
  for (const auto& o : all) {
    CAPTURE(o.text);
    CHECK(o.kind == "mismatched_operation");
    CHECK(test::contains(o.text, "all_reduce(sum, 2 x f32)"));
    CHECK(test::contains(o.text, "all_reduce(max, 2 x f32)"));
  }
}

TEST_CASE("the ledger of nccl's own collectives has the formulas") {
  test::nccl_machine machine;
  test::on_nccl({.ranks = 4, .timeout = {30}}, [](auto& rank) {
    rondel::ledger book;
    rondel::ledger_communicator comm(rank.world().duplicate(), book);
    auto stream = rank.device().make_stream("test");
    test::uploaded<float, rondel::cuda_device> x(rank.device(), stream, std::vector<float>(400)),
        y(rank.device(), stream, std::vector<float>(400));
    rondel::all_reduce(comm, stream, x.span());
    CHECK(book.bytes(rondel::direction::sent) == 2 * 1600 * 3 / 4);
    rondel::all_to_all(comm, stream, x.span(), y.span());
    CHECK(book.bytes(rondel::direction::received) == 2 * 1600 * 3 / 4 + 1600 * 3 / 4);
    stream.synchronize();
  });
}
