// What the ranks of an NCCL world see when one of them fails, leaves, is late or calls something
// else, or NCCL itself fails: each ends in time, with words, and nothing is left over.
#include <rondel/comm/faulty.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "worlds.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using test::contains;
using test::outcome;
using test::outcomes;

template <class C, class S>
void reductions(C& comm, S& stream, int count) {
  test::uploaded<float, rondel::cuda_device> x(comm.device(), stream, std::vector<float>(100, 1));
  for (int i = 0; i < count; ++i) rondel::all_reduce(comm, stream, x.span());
  stream.synchronize();
}

constexpr auto plain = [](auto comm) { return comm; };
constexpr auto generic = [](auto comm) { return rondel::send_recv_only(std::move(comm)); };

void check_others(const std::vector<outcome>& all, std::size_t failing, const std::string& kind,
                  const std::vector<std::string>& parts) {
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (r == failing) continue;
    CAPTURE(r);
    CAPTURE(all[r].text);
    CHECK(all[r].kind == kind);
    for (const auto& part : parts) {
      CAPTURE(part);
      CHECK(contains(all[r].text, part));
    }
  }
}

}  // namespace

TEST_CASE("a rank that throws wakes the others, who name it, its words and their operation") {
  const auto program = [](int rank, auto& comm, auto& stream) {
    reductions(comm, stream, 2);
    if (rank == 1) throw std::runtime_error("the disk is full");
    reductions(comm, stream, 5);
  };
  const auto check = [&](const auto& wrap, unsigned seed) {
    test::nccl_machine machine({.seed = seed}, test::lenient);
    const auto start = std::chrono::steady_clock::now();
    const auto all = outcomes({.ranks = 4, .timeout = {60}}, wrap, program);
    CHECK(all[1].kind == "left");
    check_others(all, 1, "peer_failed", {"rank 1 failed first", "the disk is full", "all_reduce"});
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  };
  for (const unsigned seed : {1U, 2U, 3U}) {
    check(plain, seed);
    check(generic, seed);
  }
}

TEST_CASE("run rethrows the exception of the rank that failed first") {
  test::nccl_machine machine({}, test::lenient);
  CHECK_THROWS_WITH_AS(rondel::run(rondel::nccl{.ranks = 3, .timeout = {60}},
                                   [](auto& rank) {
                                     auto stream = rank.device().make_stream("test");
                                     if (rank.rank() == 2) throw std::runtime_error("boom");
                                     rondel::barrier(rank.world(), stream);
                                     stream.synchronize();
                                   }),
                       "boom", std::runtime_error);
}

TEST_CASE("a rank that returns early is named as having left, one that does its part is not") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    test::nccl_machine machine({.seed = seed}, test::lenient);
    const auto all = outcomes(
        {.ranks = 3, .timeout = {60}}, plain,
        [](int rank, auto& comm, auto& stream) { reductions(comm, stream, rank == 2 ? 3 : 5); });
    CHECK(all[2].kind == "ended");
    check_others(all, 2, "peer_failed", {"rank 2", "left the communicator", "all_reduce"});
  }
  // Others may be late, and those that are done with a broadcast or a message gone by then.
  test::nccl_machine machine;
  test::on_nccl({.ranks = 3, .timeout = {60}}, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    test::uploaded<float, rondel::cuda_device> x(rank.device(), stream, {1, 2});
    rondel::broadcast(rank.world(), stream, x.span(), 2);
    if (rank.rank() == 2) return;
    if (rank.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    test::uploaded<float, rondel::cuda_device> y(rank.device(), stream, {0, 0});
    rondel::send_recv(rank.world(), stream, x.span(), 1 - rank.rank(), y.span(), 1 - rank.rank());
    stream.synchronize();
  });
}

TEST_CASE("a rank that stays away is named as missing when the deadline passes") {
  for (const unsigned seed : {1U, 2U}) {
    test::nccl_machine machine({.seed = seed}, test::lenient);
    const auto dying = [](auto comm) {
      return rondel::faulty_communicator(
          std::move(comm), {.action = rondel::fault_action::die, .rank = 1, .operation = 3});
    };
    const auto all = outcomes({.ranks = 3, .timeout = {0.3}}, dying,
                              [](int, auto& comm, auto& stream) { reductions(comm, stream, 5); });
    CHECK(all[1].kind == "left");
    int timeouts = 0;
    for (const std::size_t r : {std::size_t{0}, std::size_t{2}}) {
      CAPTURE(all[r].text);
      timeouts += all[r].kind == "timed_out" ? 1 : 0;
      CHECK((all[r].kind == "timed_out" || all[r].kind == "peer_failed"));
      CHECK(contains(all[r].text, "rank 1 is missing"));
      CHECK(contains(all[r].text, "all_reduce(sum, 100 x f32) #4"));
    }
    CHECK(timeouts >= 1);
  }
}

TEST_CASE("two ranks that send alone are found by the deadline") {
  test::nccl_machine machine({}, test::lenient);
  const auto all =
      outcomes({.ranks = 2, .timeout = {0.2}}, plain, [](int rank, auto& comm, auto& stream) {
        test::uploaded<float, rondel::cuda_device> x(comm.device(), stream, {1, 2, 3});
        rondel::send(comm, stream, x.span(), 1 - rank);
        rondel::recv(comm, stream, x.span(), 1 - rank);
        stream.synchronize();
      });
  for (const auto& o : all) {
    CAPTURE(o.text);
    CHECK((o.kind == "timed_out" || o.kind == "peer_failed"));
    CHECK(contains(o.text, "send_recv #1"));
  }
}

TEST_CASE("an error of NCCL names the call and NCCL's words, on the rank that has it") {
  for (const auto kind : {fake_nccl::fault::call_error, fake_nccl::fault::async_error}) {
    for (std::uint64_t operation = 1; operation < 5; ++operation) {
      CAPTURE(operation);
      test::nccl_machine machine({.seed = static_cast<unsigned>(operation),
                                  .kind = kind,
                                  .rank = 1,
                                  .operation = operation,
                                  .result = ncclRemoteError},
                                 test::lenient);
      const auto all = outcomes({.ranks = 3, .timeout = {30}}, test::world,
                                [](int, auto& comm, auto& stream) { reductions(comm, stream, 6); });
      CAPTURE(all[1].text);
      CHECK(all[1].kind == "communication_error");
      CHECK(contains(all[1].text, "remote process exited"));
      CHECK(contains(all[1].text, "rank 1 in all_reduce(sum, 100 x f32) #"));
      check_others(all, 1, "peer_failed", {"rank 1 failed first", "remote process exited"});
    }
  }
}

TEST_CASE("an operation that all have called and that does not end is found by the deadline") {
  test::nccl_machine machine({.kind = fake_nccl::fault::stall, .rank = 0, .operation = 1},
                             test::lenient);
  const auto all = outcomes({.ranks = 2, .timeout = {0.2}}, test::world,
                            [](int, auto& comm, auto& stream) { reductions(comm, stream, 2); });
  int timeouts = 0;
  for (const auto& o : all) {
    CAPTURE(o.text);
    timeouts += o.kind == "timed_out" ? 1 : 0;
    CHECK(contains(o.text, "all ranks have called it, and it does not end"));
  }
  CHECK(timeouts >= 1);
}

TEST_CASE("an abort that does not return keeps nobody") {
  test::nccl_machine machine({.kind = fake_nccl::fault::abort_stall, .rank = 0}, test::lenient);
  const auto start = std::chrono::steady_clock::now();
  const auto all =
      outcomes({.ranks = 2, .timeout = {60}}, plain, [](int rank, auto& comm, auto& stream) {
        if (rank == 1) throw std::runtime_error("boom");
        reductions(comm, stream, 1);
      });
  CHECK(all[0].kind == "peer_failed");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(15));
  fake_nccl::release();
  // What the abort left on its own thread goes when that ends.
  const auto calls = [&](const char* name) { return machine.cuda().calls()[name]; };
  while (calls("cudaStreamDestroy") != calls("cudaStreamCreateWithFlags") ||
         calls("cudaEventDestroy") != calls("cudaEventCreateWithFlags")) {
    std::this_thread::yield();
  }
}

TEST_CASE("who waits for a stream behind that of a communicator is woken too") {
  test::nccl_machine machine({}, test::lenient);
  const auto all =
      outcomes({.ranks = 2, .timeout = {60}}, plain, [](int rank, auto& comm, auto& stream) {
        auto compute = comm.device().make_stream("compute");
        auto done = comm.device().make_event();
        test::uploaded<float, rondel::cuda_device> x(comm.device(), stream, {1});
        rondel::barrier(comm, stream);
        stream.synchronize();
        if (rank == 1) {
          std::this_thread::sleep_for(
              std::chrono::milliseconds(50));  // the other one waits by then
          throw std::runtime_error("boom");
        }
        rondel::all_reduce(comm, stream, x.span());
        stream.record(done);
        compute.wait(done);
        compute.synchronize();
      });
  CHECK(all[0].kind == "peer_failed");
}

TEST_CASE("what an aborted operation leaves behind is no result, whenever it is asked for") {
  test::nccl_machine machine({}, test::lenient);
  const auto all =
      outcomes({.ranks = 2, .timeout = {60}}, plain, [](int rank, auto& comm, auto& stream) {
        test::uploaded<float, rondel::cuda_device> x(comm.device(), stream, {1});
        rondel::all_reduce(comm, stream, x.span());
        stream.synchronize();
        if (rank == 1) throw std::runtime_error("boom");
        rondel::all_reduce(comm, stream, x.span());
        comm.abort("enough");
        while (!stream.idle()) std::this_thread::yield();
        CHECK_THROWS_AS(stream.synchronize(), rondel::peer_failed);
        CHECK_THROWS_AS(rondel::all_reduce(comm, stream, x.span()), rondel::peer_failed);
        CHECK_THROWS_AS((void)comm.duplicate(), rondel::peer_failed);
      });
  CHECK(all[0].kind == "peer_failed");  // of the stream, at the end of its program
  CHECK(contains(all[0].text, "failed first: "));
}

TEST_CASE("a rank that fails before the world is joined is named by the others") {
  fake_nccl::settings how{.kind = fake_nccl::fault::init_stall, .rank = 1};
  test::nccl_machine machine(how, test::lenient);
  CHECK_THROWS_AS(rondel::run(rondel::nccl{.ranks = 2, .timeout = {0.2}}, [](auto&) {}),
                  rondel::timed_out);
  try {
    rondel::run(rondel::nccl{.ranks = 2, .devices = {0, 99}, .timeout = {30}}, [](auto&) {});
    FAIL_CHECK("device 99 is there");
  } catch (const rondel::invalid_argument& e) {
    CHECK(contains(e.what(), "there is no CUDA device 99"));
  }
}

TEST_CASE("a stream that has failed fails the world at the next call") {
  test::nccl_machine machine({}, test::lenient);
  const auto all =
      outcomes({.ranks = 2, .timeout = {30}}, plain, [](int rank, auto& comm, auto& stream) {
        if (rank == 1) {
          try {
            stream.launch({.name = "user"}, [](cudaStream_t) { throw std::runtime_error("user"); });
          } catch (const std::runtime_error&) {
          }
        }
        reductions(comm, stream, 1);
      });
  CHECK(all[1].kind == "left");
  CHECK(contains(all[0].text, "user"));
  CHECK(all[0].kind == "peer_failed");
}

TEST_CASE("each rank at each call: throws, leaves, stays away") {
  // A program with every native form, generic forms, messages and a split.
  const auto program = [](int, auto& comm, auto& stream) {
    using array = test::uploaded<float, rondel::cuda_device>;
    const auto n = static_cast<std::size_t>(comm.size());
    array x(comm.device(), stream, std::vector<float>(4 * n, 1)),
        y(comm.device(), stream, std::vector<float>(4 * n, 2));
    rondel::all_reduce(comm, stream, x.span());
    rondel::all_reduce(comm, stream, x.span(), rondel::mean{});
    rondel::broadcast(comm, stream, x.span(), 0);
    rondel::reduce_scatter(comm, stream, x.span(), y.span().first(4));
    rondel::all_gather(comm, stream, x.span().first(4), y.span());
    rondel::all_to_all(comm, stream, x.span(), y.span());
    rondel::gather(comm, stream, x.span().first(4), y.span(), 1);
    rondel::scatter(comm, stream, x.span(), y.span().first(4), 1);
    rondel::barrier(comm, stream);
    rondel::send_recv(comm, stream, x.span(), (comm.rank() + 1) % comm.size(), y.span(),
                      (comm.rank() + comm.size() - 1) % comm.size());
    auto part = comm.split(comm.rank() % 2, 0);
    rondel::all_reduce(*part, stream, x.span(), rondel::max{});
    stream.synchronize();
  };
  constexpr int calls = 11;
  for (const auto action : {rondel::fault_action::fail, rondel::fault_action::die}) {
    for (int failing = 0; failing < 3; ++failing) {
      for (int at = 0; at < calls; ++at) {
        if (test::sanitized && (at + failing) % 3 != 0) continue;
        CAPTURE(failing);
        CAPTURE(at);
        const bool dies = action == rondel::fault_action::die;
        CAPTURE(dies);
        test::nccl_machine machine({.seed = static_cast<unsigned>(at * 3 + failing)},
                                   test::lenient);
        const double deadline = dies ? 0.15 : 30;
        const auto wrap = [&](auto comm) {
          return rondel::faulty_communicator(
              std::move(comm),
              {.action = action, .rank = failing, .operation = static_cast<std::uint64_t>(at)});
        };
        const auto start = std::chrono::steady_clock::now();
        const auto all = outcomes({.ranks = 3, .timeout = {deadline}}, wrap, program);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        CHECK(took.count() < 10);
        CHECK(all[static_cast<std::size_t>(failing)].kind == "left");
        for (std::size_t r = 0; r < 3; ++r) {
          if (r == static_cast<std::size_t>(failing)) continue;
          CAPTURE(all[r].text);
          // In the last call the two halves part.
          const bool apart = at == calls - 1 && static_cast<int>(r) % 2 != failing % 2;
          CHECK((all[r].kind == "peer_failed" || all[r].kind == "timed_out" ||
                 (apart && all[r].kind == "ended")));
          if (all[r].kind == "ended") continue;
          CHECK(contains(all[r].text, "rank " + std::to_string(r) + " in "));
          CHECK(contains(all[r].text, "rank " + std::to_string(failing)));
        }
      }
    }
  }
}
