#include "communicator.hpp"

#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/launch.hpp>

#include "sanitized.hpp"
#include "stream.hpp"
#include "worlds.hpp"

#include <atomic>
#include <chrono>
#include <thread>

namespace {

// `f(communicator, stream)` on 1 to 4 ranks, with a GPU each and all on one.
template <class F>
void on_machines(unsigned seed, bool peer_access, const F& f) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    for (const bool one_each : {true, false}) {
      if (test::sanitized && (ranks < 2 || ranks > 3 || one_each != (ranks == 2))) continue;
      CAPTURE(ranks);
      CAPTURE(one_each);
      fake_cuda::runtime machine(
          {.devices = one_each ? ranks : 1, .seed = seed, .peer_access = peer_access});
      test::on_cuda_world({.ranks = ranks, .one_each = one_each},
                          [&](test::cuda_communicator& comm) {
                            auto stream = comm.device().make_stream("test");
                            f(comm, stream);
                            stream.synchronize();
                          });
      for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
    }
  }
}

TEST_CASE("threads on CUDA: reductions") {
  // On the fake the arithmetic of all types is the host's, which its own tests go through.
  on_machines(1, true, [](auto& comm, auto& s) {
    conformance::reductions_of<float, rondel::bfloat16, std::uint8_t>(comm, s);
  });
}

TEST_CASE("threads on CUDA: movements") {
  on_machines(2, true,
              [](auto& comm, auto& s) { conformance::moves_of<rondel::bfloat16>(comm, s); });
}

TEST_CASE("threads on CUDA: messages, rings, splits, streams, arguments") {
  for (const bool peer_access : {true, false}) {
    std::atomic<int> arrivals{0};
    on_machines(3, peer_access, [&](auto& comm, auto& s) {
      arrivals = 0;
      rondel::barrier(comm, s);
      s.synchronize();
      conformance::essentials(comm, s, arrivals);
    });
  }
}

// What one stream's operation waits for, the next operation of the communicator waits for as well,
// though it be on another stream.
TEST_CASE("threads on CUDA: operations keep their order across streams") {
  fake_cuda::runtime machine({.devices = 2, .seed = 4});
  conformance::gate closed;
  std::atomic<bool> passed{false};
  std::atomic<int> queued{0};
  test::on_cuda_world({.ranks = 2}, [&](test::cuda_communicator& comm) {
    using work = test::host_work<rondel::cuda_stream>;
    auto first = comm.device().make_stream("first");
    auto second = comm.device().make_stream("second");
    if (comm.rank() == 0) work::run(first, [&] { passed = closed.pass(); });
    rondel::barrier(comm, first);
    rondel::barrier(comm, second);
    work::run(second, [&] { CHECK(passed); });
    if (queued.fetch_add(1) == 1) {
      // Long enough for what does not wait to run.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      closed.open();
    }
    second.synchronize();
    first.synchronize();
  });
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}

// The engine's own form, and the ring of messages, under `run` and in the wrappers: equal bits,
// equal bytes.
TEST_CASE("threads on CUDA: wrappers and the generic forms") {
  fake_cuda::runtime machine({.devices = 2, .seed = 5});
  rondel::run(rondel::cuda_threads{.ranks = 3, .timeout = {60}}, [](auto& rank) {
    rondel::ledger direct, generic;
    rondel::ledger_communicator a(rondel::fingerprint_communicator(rank.world().duplicate()),
                                  direct);
    rondel::ledger_communicator b(rondel::send_recv_only(rank.world().duplicate()), generic);
    auto stream = rank.device().make_stream("test");
    const auto in = conformance::random_values<float>(rank.rank(), 300);
    test::uploaded<float, rondel::cuda_device> x(rank.device(), stream, in),
        y(rank.device(), stream, in);
    rondel::all_reduce(a, stream, x.span());
    rondel::all_reduce(b, stream, y.span(), rondel::in_rank_order(rondel::sum{}));
    CHECK(test::bits(test::download(stream, x.span())) ==
          test::bits(test::download(stream, y.span())));
    for (const auto* book : {&direct, &generic}) {
      CHECK(book->bytes(rondel::direction::sent) == 2 * 2 * 100 * sizeof(float));
      CHECK(book->bytes(rondel::direction::received) == 2 * 2 * 100 * sizeof(float));
    }
  });
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}

}  // namespace
