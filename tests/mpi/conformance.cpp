// The conformance suite over the processes of an MPI job, and that no message limit shows.
#include <rondel/comm/faulty.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "communicator.hpp"
#include "support.hpp"

#include <utility>

#include <doctest/doctest.h>

namespace {

constexpr auto plain = [](auto comm) { return comm; };

// `wrap(world, book)` makes the communicator under test.
template <class Wrap>
void run_essentials(const rondel::mpi& engine, const Wrap& wrap) {
  for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
    test::shared_counter arrivals;
    rondel::mpi moded = engine;
    moded.streams = mode;
    test::on_mpi(moded, [&](auto& rank) {
      rondel::ledger book;
      auto comm = wrap(rank.world().duplicate(), book);
      auto stream = rank.device().make_stream("test");
      conformance::essentials(comm, stream, arrivals.get());
      stream.synchronize();
    });
  }
}

TEST_CASE("mpi: reductions") {
  test::on_mpi_worlds({.timeout = {60}}, plain,
                      [](auto& comm, auto& s) { conformance::reductions(comm, s); });
}

TEST_CASE("mpi: movements") {
  test::on_mpi_worlds({.timeout = {60}}, plain,
                      [](auto& comm, auto& s) { conformance::movements(comm, s); });
}

TEST_CASE("mpi: messages, rings, splits, streams, arguments") {
  run_essentials({.timeout = {60}}, [](auto world, auto&) { return world; });
}

TEST_CASE("mpi: the essentials in messages of 1000 bytes") {
  run_essentials({.timeout = {60}, .message_limit = 1000}, [](auto world, auto&) { return world; });
}

TEST_CASE("mpi: the essentials over messages alone") {
  run_essentials({.timeout = {60}},
                 [](auto world, auto&) { return rondel::send_recv_only(std::move(world)); });
}

TEST_CASE("mpi: ledger and checked mode over it: the essentials") {
  run_essentials({.timeout = {60}}, [](auto world, auto& book) {
    return rondel::ledger_communicator(rondel::fingerprint_communicator(std::move(world)), book);
  });
}

TEST_CASE("mpi: random delays: the essentials") {
  run_essentials({.timeout = {60}}, [](auto world, auto&) {
    return rondel::faulty_communicator(std::move(world), {.jitter = {1e-4}, .seed = 11});
  });
}

}  // namespace
