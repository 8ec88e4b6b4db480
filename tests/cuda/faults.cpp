// Thread ranks on CUDA when something fails: who is told what, and that memory is not taken back
// while a peer's stream may use it, which the fake runtime reports.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/send_recv.hpp>

#include "sanitized.hpp"
#include "stream.hpp"
#include "worlds.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using test::cuda_communicator;
using array = rondel::device_array<float, rondel::cuda_device>;

// Every operation once. `before(i)` is called before operation `i`, the last of which is 9.
template <class Before>
void program(cuda_communicator& comm, const Before& before) {
  const int size = comm.size();
  const auto ranks = static_cast<std::size_t>(size);
  // The stream reads and writes these until it dies.
  const std::vector<float> ones(64 * ranks, 1.0F);
  std::vector<float> sum(64);
  auto stream = comm.device().make_stream("test");
  array x(comm.device(), stream, 64), y(comm.device(), stream, 64 * ranks);
  array z(comm.device(), stream, 64 * ranks);
  rondel::upload(stream, y.span(), std::span<const float>(ones));
  rondel::upload(stream, x.span(), std::span<const float>(ones).first(64));
  const std::function<void()> operations[] = {
      [&] { rondel::broadcast(comm, stream, x.span(), size - 1); },
      [&] { rondel::all_reduce(comm, stream, x.span()); },
      [&] { rondel::all_gather(comm, stream, x.span(), y.span()); },
      [&] { rondel::reduce_scatter(comm, stream, y.span(), x.span()); },
      [&] { rondel::all_to_all(comm, stream, y.span(), z.span()); },
      [&] { rondel::gather(comm, stream, x.span(), y.span(), 0); },
      [&] { rondel::scatter(comm, stream, z.span(), x.span(), 0); },
      [&] {
        rondel::send_recv(comm, stream, x.span(), (comm.rank() + 1) % size, y.span().first(64),
                          (comm.rank() + size - 1) % size);
      },
      [&] { rondel::barrier(comm, stream); },
      [&] { rondel::all_reduce(comm, stream, x.span(), rondel::max{}); },
  };
  for (int i = 0; i < 10; ++i) {
    before(i);
    operations[i]();
  }
  rondel::download(stream, std::span(sum), x.span());
  stream.synchronize();
}

void run_cleanly(const test::cuda_world& world) {
  test::on_cuda_world(world, [](cuda_communicator& comm) { program(comm, [](int) {}); });
}

[[nodiscard]] bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

[[nodiscard]] fake_cuda::options machine_for(const test::cuda_world& world, unsigned seed) {
  return {.devices = world.one_each ? world.ranks : 1, .seed = seed, .strict_destroy = false};
}

}  // namespace

TEST_CASE("a rank that throws before any operation") {
  for (const int ranks : {2, 3}) {
    for (const bool one_each : {true, false}) {
      for (int step = 0; step < 10; ++step) {
        const test::cuda_world world{.ranks = ranks, .one_each = one_each};
        CAPTURE(ranks);
        CAPTURE(one_each);
        CAPTURE(step);
        fake_cuda::runtime machine(machine_for(world, static_cast<unsigned>(step)));
        const auto errors = test::errors_of(world, [&](cuda_communicator& comm) {
          program(comm, [&](int i) {
            if (i == step && comm.rank() == 1) throw std::runtime_error("rank 1 gives up");
          });
        });
        CHECK(errors[1] == "rank 1 gives up");
        for (std::size_t r = 0; r < errors.size(); ++r) {
          // Of a message the third rank may be none.
          if (r == 1 || (errors[r].empty() && step == 7)) continue;
          CHECK(has(errors[r], "rank 1 failed first: rank 1 gives up"));
        }
        for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
        run_cleanly(world);
        for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
      }
    }
  }
}

TEST_CASE("ranks that call different operations") {
  const test::cuda_world world{.ranks = 3};
  fake_cuda::runtime machine(machine_for(world, 5));
  const auto errors = test::errors_of(world, [&](cuda_communicator& comm) {
    auto stream = comm.device().make_stream("test");
    array x(comm.device(), stream, 30);
    if (comm.rank() == 2) {
      rondel::all_reduce(comm, stream, x.span().first(29));
    } else {
      rondel::all_reduce(comm, stream, x.span());
    }
  });
  for (const auto& error : errors) {
    CHECK(has(error, "30 x f32"));
    CHECK(has(error, "29 x f32"));
  }
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}

TEST_CASE("a rank that stays away") {
  const test::cuda_world world{.ranks = 2, .timeout = {0.1}};
  fake_cuda::runtime machine(machine_for(world, 6));
  std::atomic<bool> told{false};
  const auto errors = test::errors_of(world, [&](cuda_communicator& comm) {
    auto stream = comm.device().make_stream("test");
    array x(comm.device(), stream, 30);
    if (comm.rank() == 1) {
      while (!told) std::this_thread::yield();
      return;
    }
    try {
      rondel::all_reduce(comm, stream, x.span());
    } catch (const rondel::timed_out&) {
      told = true;
      throw;
    }
    told = true;
  });
  CHECK(has(errors[0], "rank 1 is missing"));
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}

TEST_CASE("a device that dies under a rank") {
  for (const bool one_each : {true, false}) {
    const test::cuda_world world{.ranks = 3, .one_each = one_each};
    CAPTURE(one_each);
    fake_cuda::runtime machine(machine_for(world, 7));
    const auto errors = test::errors_of(world, [&](cuda_communicator& comm) {
      auto stream = comm.device().make_stream("test");
      array x(comm.device(), stream, 300);
      for (int i = 0; i < 100'000; ++i) {
        if (i == 3 && comm.rank() == 1) {
          stream.launch(
              {}, [](cudaStream_t s) { fake_cuda::fail_in_stream(s, cudaErrorLaunchFailure); });
        }
        rondel::all_reduce(comm, stream, x.span());
      }
    });
    CHECK(has(errors[1], "cudaErrorLaunchFailure"));
    for (const auto& error : errors) CHECK_FALSE(error.empty());
    for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
  }
}

TEST_CASE("no host waits for a GPU") {
  const test::cuda_world world{.ranks = 3};
  fake_cuda::runtime machine(machine_for(world, 8));
  conformance::gate closed;
  std::atomic<int> returned{0};
  test::on_cuda_world(world, [&](cuda_communicator& comm) {
    const std::vector<float> mine(1000, static_cast<float>(comm.rank() + 1));
    auto stream = comm.device().make_stream("test");
    array x(comm.device(), stream, 1000), y(comm.device(), stream, 3000);
    rondel::upload(stream, x.span(), std::span<const float>(mine));
    if (comm.rank() == 0) {
      test::host_work<rondel::cuda_stream>::run(stream, [&] { CHECK(closed.pass()); });
    }
    rondel::all_reduce(comm, stream, x.span());
    rondel::all_gather(comm, stream, x.span(), y.span());
    rondel::send_recv(comm, stream, x.span(), (comm.rank() + 1) % 3, y.span().first(1000),
                      (comm.rank() + 2) % 3);
    CHECK_FALSE(stream.idle());
    if (returned.fetch_add(1) == 2) closed.open();  // all three have queued everything
    CHECK(test::download(stream, y.span()) == std::vector<float>(3000, 6.0F));
  });
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}

// Every call of the runtime fails once while ranks talk: some rank gets a clear error and the
// others hear of it, or a destructor goes on. Nobody hangs, and nothing is left or misused.
TEST_CASE("every call of the runtime fails once") {
  int cases = 0, silent = 0;
  for (const bool one_each : {true, false}) {
    const test::cuda_world world{.ranks = 2, .one_each = one_each, .timeout = {20}};
    std::map<std::string, int> calls;
    {
      fake_cuda::runtime machine(machine_for(world, 1));
      run_cleanly(world);
      calls = machine.calls();
      for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
    }
    for (const auto& one : calls) {
      const std::string& call = one.first;  // a binding cannot be captured
      const int count = one.second;
      const int every = std::max(1, count / (test::sanitized ? 4 : 12));
      for (int nth = 1; nth <= count; nth += every) {
        CAPTURE(one_each);
        CAPTURE(call);
        CAPTURE(nth);
        fake_cuda::runtime machine(machine_for(world, static_cast<unsigned>(nth)));
        machine.fail(call, nth, cudaErrorLaunchFailure);
        std::vector<std::string> errors;
        try {
          errors =
              test::errors_of(world, [](cuda_communicator& comm) { program(comm, [](int) {}); });
        } catch (const std::exception& e) {  // while the devices were made
          errors = {e.what()};
        }
        ++cases;
        const bool failed =
            std::any_of(errors.begin(), errors.end(), [](const auto& e) { return !e.empty(); });
        if (!failed) ++silent;
        for (const auto& error : errors) {
          CAPTURE(error);
          if (!error.empty()) CHECK(has(error, "cudaErrorLaunchFailure"));
          CHECK_FALSE(has(error, " waited "));  // until the deadline
        }
        for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
      }
    }
  }
  MESSAGE(cases << " calls failed, " << silent << " of them in silence");
  CHECK(cases > 100);
}
