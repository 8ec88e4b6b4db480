// Bugs of wrappers of NCCL that were met elsewhere, planted in plain NCCL code: the fakes must see
// each, or a test that passes on them would show nothing.
#include "worlds.hpp"

#include <algorithm>
#include <array>
#include <barrier>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::cuda_device;
using test::contains;

ncclConfig_t non_blocking() { return rondel::detail::nccl_config(); }

// Polls until the communicator is ready, as everybody must.
ncclResult_t settled(ncclComm_t comm) {
  ncclResult_t state = ncclInProgress;
  while (state == ncclInProgress) {
    REQUIRE(ncclCommGetAsyncError(comm, &state) == ncclSuccess);
    std::this_thread::yield();
  }
  return state;
}

// One of two ranks of plain NCCL.
struct rank {
  int number;
  cuda_device& device;
  rondel::cuda_stream& stream;
  ncclComm_t comm;
  std::barrier<>& both;
};

// Runs `f(rank)` on two threads, then ends the communicators that are left, and returns what the
// fakes have seen.
std::vector<std::string> seen(const std::function<void(rank&)>& f,
                              const fake_nccl::settings& how = {}) {
  test::nccl_machine machine(how, test::lenient);
  ncclUniqueId id;
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  std::barrier both(2);
  std::vector<std::jthread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      cuda_device device({.ordinal = r, .rank = r});
      const rondel::detail::device_guard guard(r);
      auto stream = device.make_stream("test");
      ncclComm_t comm = nullptr;
      ncclConfig_t config = non_blocking();
      (void)ncclCommInitRankConfig(&comm, 2, id, r, &config);
      CHECK(settled(comm) == ncclSuccess);
      rank self{r, device, stream, comm, both};
      f(self);
      both.arrive_and_wait();
      if (self.comm != nullptr) (void)ncclCommAbort(self.comm);
      both.arrive_and_wait();
    });
  }
  threads.clear();
  return machine.all();
}

bool any(const std::vector<std::string>& all, const std::string& part) {
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return contains(one, part); });
}

using array = test::uploaded<float, cuda_device>;

ncclResult_t reduce(rank& r, array& x) {
  return ncclAllReduce(x.span().data(), x.span().data(), x.span().size(), ncclFloat32, ncclSum,
                       r.comm, r.stream.native());
}

}  // namespace

TEST_CASE("control: plain NCCL without a bug") {
  CHECK(seen([](rank& r) {
          array x(r.device, r.stream, {1});
          (void)reduce(r, x);
          CHECK(settled(r.comm) == ncclSuccess);
          CHECK(test::download(r.stream, x.span()) == std::vector<float>{2});
          (void)ncclCommFinalize(r.comm);
          CHECK(settled(r.comm) == ncclSuccess);
          CHECK(ncclCommDestroy(r.comm) == ncclSuccess);
          r.comm = nullptr;
        }).empty());
}

TEST_CASE("1: an exception leaves the group open, and later calls start nothing") {
  const auto all = seen([](rank& r) {
    array x(r.device, r.stream, {1});
    try {
      (void)ncclGroupStart();
      throw std::runtime_error("in between");
    } catch (const std::runtime_error&) {
    }
    CHECK(fake_nccl::open_groups() == 1);
    CHECK(reduce(r, x) == ncclSuccess);
    CHECK(test::download(r.stream, x.span()) == std::vector<float>{1});
  });
  CHECK(any(all, "a thread ended with a group open"));
}

TEST_CASE("2: a group is ended on another thread than it was begun on") {
  const auto all = seen([](rank& r) {
    if (r.number != 0) return;
    (void)ncclGroupStart();
    std::thread([] { (void)ncclGroupEnd(); }).join();
    (void)ncclGroupEnd();
  });
  CHECK(any(all, "ncclGroupEnd without a group"));
}

TEST_CASE("3: one rank destroys a communicator alone") {
  const auto all = seen([](rank& r) {
    if (r.number != 0) return;
    (void)ncclCommDestroy(r.comm);
    r.comm = nullptr;
  });
  CHECK(any(all, "rank 0 destroys a communicator alone"));
}

TEST_CASE("3: a communicator is used after its end, or left behind") {
  const auto all = seen([](rank& r) {
    const ncclComm_t comm = r.comm;
    r.both.arrive_and_wait();
    if (r.number == 1) return;
    (void)ncclCommAbort(comm);
    ncclResult_t state = ncclSuccess;
    CHECK(ncclCommGetAsyncError(comm, &state) != ncclSuccess);
    r.comm = nullptr;
  });
  CHECK(any(all, "ncclCommGetAsyncError of a communicator after its end"));
  CHECK(any(seen([](rank& r) { r.comm = nullptr; }), "rank 1 of 2 is still there"));
}

TEST_CASE("5: a call before the one before it is done, and a stream used too early") {
  const auto all = seen([](rank& r) {
    array x(r.device, r.stream, {1});
    (void)reduce(r, x);
    CHECK(reduce(r, x) == ncclInvalidArgument);
    (void)settled(r.comm);
    r.stream.synchronize();
  });
  CHECK(any(all, "ncclAllReduce before the call before it was done"));
  int early = 0;
  for (unsigned seed = 0; seed < 4; ++seed) {
    (void)seen(
        [&](rank& r) {
          array x(r.device, r.stream, {1});
          (void)reduce(r, x);
          std::vector<float> out(1);
          r.stream.download(std::as_writable_bytes(std::span(out)), rondel::as_bytes(x.span()));
          (void)settled(r.comm);
          r.stream.synchronize();
          r.both.arrive_and_wait();
          if (r.number == 0) early += out[0] == 1 ? 1 : 0;
        },
        {.seed = seed});
  }
  CHECK(early == 4);
}

TEST_CASE("6: the device is not set: of an abort, and of an initialisation") {
  const auto all = seen([](rank& r) {
    if (r.number != 1) return;
    const rondel::detail::device_guard wrong(0);
    (void)ncclCommAbort(r.comm);
    r.comm = nullptr;
  });
  CHECK(any(all, "an abort with device 0 current of a communicator on device 1"));

  test::nccl_machine machine({}, test::lenient);
  ncclUniqueId id;
  (void)ncclGetUniqueId(&id);
  std::vector<std::jthread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      ncclComm_t comm = nullptr;
      ncclConfig_t config = non_blocking();
      (void)ncclCommInitRankConfig(&comm, 2, id, r, &config);
      CHECK(settled(comm) == ncclInvalidUsage);
      CHECK(contains(ncclGetLastError(comm), "Duplicate GPU"));
      (void)ncclCommAbort(comm);
    });
  }
}

TEST_CASE("7: a reduction of bytes, and an empty message") {
  const auto all = seen([](rank& r) {
    array x(r.device, r.stream, {1});
    (void)ncclAllReduce(x.span().data(), x.span().data(), x.span().size_bytes(), ncclUint8, ncclSum,
                        r.comm, r.stream.native());
    (void)settled(r.comm);
    CHECK(test::download(r.stream, x.span()) != std::vector<float>{2});
    (void)ncclSend(x.span().data(), 0, ncclUint8, 1 - r.number, r.comm, r.stream.native());
  });
  CHECK(any(all, "an empty message"));
}

TEST_CASE("8: a buffer is freed before the stream of the operation is done") {
  const auto all = seen([](rank& r) {
    auto home = r.device.make_stream("home");
    {
      array x(r.device, home, {1});
      (void)reduce(r, x);
      (void)settled(r.comm);
      // It is done in fact, but nothing that this rank has called says so.
      while (fake_nccl::runs() < 2) std::this_thread::yield();
    }
    r.stream.synchronize();
    home.synchronize();
  });
  CHECK(any(all, "may still use the memory"));
}

TEST_CASE("9: NCCL leaves an error in the CUDA runtime, which the next kernel is blamed for") {
  int blamed = 0;
  (void)seen(
      [&](rank& r) {
        array x(r.device, r.stream, {1});
        (void)cudaGetLastError();
        (void)reduce(r, x);
        CHECK(settled(r.comm) == ncclSuccess);
        if (r.number == 0) blamed = cudaPeekAtLastError() != cudaSuccess ? 1 : 0;
        r.stream.synchronize();
      },
      {.lateness = 2000, .kind = fake_nccl::fault::dirty_error});
  CHECK(blamed == 1);
}

TEST_CASE("10: a rank that never comes keeps the others in their initialisation") {
  test::nccl_machine machine;
  ncclUniqueId id;
  (void)ncclGetUniqueId(&id);
  ncclComm_t comm = nullptr;
  ncclConfig_t config = non_blocking();
  CHECK(ncclCommInitRankConfig(&comm, 2, id, 0, &config) == ncclInProgress);
  for (int i = 0; i < 1000; ++i) {
    ncclResult_t state = ncclSuccess;
    (void)ncclCommGetAsyncError(comm, &state);
    CHECK(state == ncclInProgress);
  }
  (void)ncclCommAbort(comm);
}

TEST_CASE("the order of calls differs between ranks") {
  const auto all = seen([](rank& r) {
    array x(r.device, r.stream, {1, 2, 3, 4}), y(r.device, r.stream, {1, 2, 3, 4});
    for (int i = 0; i < 2; ++i) {
      if (i == r.number) {
        (void)reduce(r, x);
      } else {
        (void)ncclBroadcast(y.span().data(), y.span().data(), 4, ncclFloat32, 0, r.comm,
                            r.stream.native());
      }
      (void)settled(r.comm);
    }
    r.both.arrive_and_wait();
    while (fake_nccl::misuse().empty()) std::this_thread::yield();
  });
  CHECK(any(all, "ranks disagree: "));
}

TEST_CASE("two streams use one communicator without events between them") {
  bool found = false;
  for (unsigned seed = 0; seed < 20 && !found; ++seed) {
    const auto all = seen(
        [](rank& r) {
          auto other = r.device.make_stream("other");
          array x(r.device, r.stream, {1}), y(r.device, other, {1});
          for (int i = 0; i < 20; ++i) {
            (void)reduce(r, x);
            (void)settled(r.comm);
            (void)ncclAllReduce(y.span().data(), y.span().data(), 1, ncclFloat32, ncclSum, r.comm,
                                other.native());
            (void)settled(r.comm);
          }
          r.stream.synchronize();
          other.synchronize();
        },
        {.seed = seed, .lateness = 200});
    found = any(all, "out of the order of the calls") || any(all, "unordered by events");
  }
  CHECK(found);
}

TEST_CASE("a split while the parent is at work") {
  const auto all = seen([](rank& r) {
    array x(r.device, r.stream, {1});
    (void)reduce(r, x);
    (void)settled(r.comm);
    if (r.number == 0) (void)reduce(r, x);  // the other rank will not come before the split
    (void)settled(r.comm);
    ncclComm_t part = nullptr;
    ncclConfig_t config = non_blocking();
    (void)ncclCommSplit(r.comm, 0, 0, &part, &config);
    (void)settled(r.comm);
    if (r.number == 1) (void)reduce(r, x);
    (void)settled(r.comm);
    r.stream.synchronize();
    (void)ncclCommAbort(part);
  });
  CHECK(any(all, "a split while operations of its parent are queued"));
}

TEST_CASE("a communicator ends while a graph has its operations") {
  const auto all = seen([](rank& r) {
    array x(r.device, r.stream, {1});
    (void)reduce(r, x);
    (void)settled(r.comm);
    r.stream.synchronize();
    REQUIRE(cudaStreamBeginCapture(r.stream.native(), cudaStreamCaptureModeThreadLocal) ==
            cudaSuccess);
    (void)reduce(r, x);
    (void)settled(r.comm);
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(r.stream.native(), &graph) == cudaSuccess);
    r.both.arrive_and_wait();
    (void)ncclCommAbort(r.comm);
    r.comm = nullptr;
    (void)cudaGraphDestroy(graph);
  });
  CHECK(any(all, "while a graph has its operations"));
}
