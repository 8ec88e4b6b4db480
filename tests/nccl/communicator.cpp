// How NCCL worlds come to be and end, and what is special about them.
#include "worlds.hpp"

#include <array>
#include <barrier>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::cuda_device;
using communicator = rondel::nccl_communicator<>;
using test::contains;
using test::message_of;
using array = test::uploaded<float, cuda_device>;

// An environment variable for a scope.
class variable {
 public:
  variable(const char* name, const char* value) : name_(name) { (void)setenv(name, value, 1); }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() { (void)unsetenv(name_); }

 private:
  const char* name_;
};

// Threads of the test's own, with `f(rank)` on each; what they throw is a failed check.
template <class F>
void on_threads(int ranks, const F& f) {
  std::vector<std::string> errors(static_cast<std::size_t>(ranks));
  {
    std::vector<std::jthread> threads;
    for (int r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        try {
          f(r);
        } catch (const std::exception& e) {
          errors[static_cast<std::size_t>(r)] = e.what();
        }
      });
    }
  }
  for (const auto& e : errors) {
    CAPTURE(e);
    CHECK(e.empty());
  }
}

template <class C>
void sum_of_ranks(C& comm, cuda_device& device, rondel::cuda_stream& stream) {
  array x(device, stream, {static_cast<float>(comm.rank() + 1)});
  rondel::all_reduce(comm, stream, x.span());
  const auto n = static_cast<float>(comm.size());
  const auto sum = test::download(stream, x.span());  // outside of what catches its exceptions
  CHECK(sum == std::vector<float>{n * (n + 1) / 2});
}

// A world of threads that find each other by what `id(rank)` gives.
template <class Id>
void join_by(int ranks, const Id& id) {
  const auto channel = rondel::make_thread_channel(ranks);
  on_threads(ranks, [&](int r) {
    cuda_device device({.ordinal = r, .rank = r});
    communicator comm(device, id(r),
                      {.rank = r, .size = ranks, .timeout = {30}, .channel = channel});
    {
      auto stream = device.make_stream("test");
      sum_of_ranks(comm, device, stream);
    }
    comm.close();
  });
}

static_assert(!std::is_move_constructible_v<rondel::nccl_group>);
static_assert(!std::is_copy_constructible_v<rondel::nccl_group>);
static_assert(!std::is_move_assignable_v<rondel::nccl_group>);

}  // namespace

TEST_CASE("ranks find each other by an id of threads, by one that is sent, by an address") {
  {
    test::nccl_machine machine;
    const auto id = rondel::make_nccl_id();
    join_by(3, [&](int) { return id; });
  }
  {
    test::nccl_machine machine;
    // What a broadcast does for processes.
    std::array<std::byte, sizeof(ncclUniqueId)> wire{};
    const auto first = rondel::share_nccl_id(0, [&](std::span<std::byte> bytes) {
      CHECK(bytes.size() == wire.size());
      std::copy(bytes.begin(), bytes.end(), wire.begin());
    });
    join_by(3, [&](int r) {
      if (r == 0) return first;
      return rondel::share_nccl_id(r, [&](std::span<std::byte> bytes) {
        std::copy(wire.begin(), wire.end(), bytes.begin());
      });
    });
  }
  {
    test::nccl_machine machine;
    for (int worlds = 0; worlds < 2; ++worlds) {  // one after the other at the same address
      join_by(3, [&](int) { return rondel::nccl_id_at("node7", 29500); });
    }
    CHECK(std::getenv("NCCL_COMM_ID") == nullptr);
  }
  {
    test::nccl_machine machine;
    const variable host("MASTER_ADDR", "fe80::1"), port("MASTER_PORT", "29500");
    CHECK(rondel::nccl_id_of_environment(1).address() == "[fe80::1]:29501");
    join_by(2, [&](int) { return rondel::nccl_id_of_environment(); });
    const variable other("NCCL_COMM_ID", "there:1");
    CHECK(rondel::nccl_id_of_environment().address() == "[fe80::1]:29500");
    CHECK(std::getenv("NCCL_COMM_ID") == std::string("there:1"));
  }
}

TEST_CASE("an environment that does not name the master is refused in a sentence") {
  const auto words = [] {
    return message_of<rondel::invalid_argument>([] { (void)rondel::nccl_id_of_environment(); });
  };
  CHECK(contains(words(), "MASTER_ADDR"));
  const variable host("MASTER_ADDR", "node7");
  CHECK(contains(words(), "MASTER_PORT"));
  for (const char* bad : {"", "0", "65536", "12a", "-3", "99999999999999999999"}) {
    CAPTURE(bad);
    const variable port("MASTER_PORT", bad);
    CHECK(contains(words(), "a port from 1 to 65535 expected"));
  }
  CHECK_THROWS_AS((void)rondel::nccl_id_at("", 1), rondel::invalid_argument);
  CHECK_THROWS_AS((void)rondel::nccl_id_at("node7", 0), rondel::invalid_argument);
}

TEST_CASE("a communicator that is closed takes no more calls, and its world goes on") {
  test::nccl_machine machine;
  test::on_nccl({.ranks = 3, .timeout = {30}}, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    auto twin = rank.world().duplicate();
    sum_of_ranks(twin, rank.device(), stream);
    CHECK(twin.native() != nullptr);
    twin.close();
    CHECK(twin.native() == nullptr);
    array x(rank.device(), stream, {1});
    CHECK_THROWS_AS(rondel::all_reduce(twin, stream, x.span()), rondel::invalid_argument);
    CHECK_THROWS_AS((void)twin.split(0, 0), rondel::invalid_argument);
    sum_of_ranks(rank.world(), rank.device(), stream);
    auto part = rank.world().split(rank.rank() % 2, 0);
    sum_of_ranks(*part, rank.device(), stream);
    stream.synchronize();
    rank.world().close();  // the part with it
    CHECK(part->native() == nullptr);
  });
  CHECK(fake_nccl::calls("ncclCommAbort") == 0);
}

TEST_CASE("a world that dies unclosed is aborted, and destroys nothing alone") {
  test::nccl_machine machine;
  const auto id = rondel::make_nccl_id();
  const auto channel = rondel::make_thread_channel(2);
  on_threads(2, [&](int r) {
    cuda_device device({.ordinal = r, .rank = r});
    communicator comm(device, id, {.rank = r, .size = 2, .timeout = {30}, .channel = channel});
    auto stream = device.make_stream("test");
    sum_of_ranks(comm, device, stream);
  });
  CHECK(fake_nccl::calls("ncclCommDestroy") == 0);
  CHECK(fake_nccl::calls("ncclCommAbort") == 2);
}

TEST_CASE("a rank that leaves by an exception neither waits nor destroys") {
  test::nccl_machine machine({}, test::lenient);
  const auto id = rondel::make_nccl_id();
  const auto channel = rondel::make_thread_channel(2);
  std::string words;
  std::vector<std::jthread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      cuda_device device({.ordinal = r, .rank = r});
      try {
        communicator comm(device, id, {.rank = r, .size = 2, .timeout = {30}, .channel = channel});
        auto stream = device.make_stream("test");
        sum_of_ranks(comm, device, stream);
        if (r == 0) throw std::runtime_error("boom");
        sum_of_ranks(comm, device, stream);
      } catch (const rondel::peer_failed& e) {
        words = e.what();
      } catch (const std::runtime_error&) {
      }
    });
  }
  threads.clear();
  CHECK(contains(words, "rank 0 has left the communicator"));
  CHECK(fake_nccl::calls("ncclCommDestroy") == 0);
}

TEST_CASE("processes learn of a failure by their channel, and without one by the deadline") {
  // Each rank has a channel object of its own, as a process has.
  struct wire {
    std::mutex mutex;
    std::optional<rondel::rank_failure> first;
  };
  class channel_of_a_process final : public rondel::failure_channel {
   public:
    explicit channel_of_a_process(wire& w) : wire_(w) {}
    void announce(int rank, std::string_view reason) noexcept override {
      const std::lock_guard lock(wire_.mutex);
      if (!wire_.first) wire_.first = rondel::rank_failure{rank, std::string(reason)};
    }
    std::optional<rondel::rank_failure> announced() override {
      const std::lock_guard lock(wire_.mutex);
      return wire_.first;
    }

   private:
    wire& wire_;
  };
  for (const bool with_channel : {true, false}) {
    CAPTURE(with_channel);
    test::nccl_machine machine({}, test::lenient);
    const auto id = rondel::make_nccl_id();
    wire shared;
    std::vector<std::string> words(2);
    std::barrier both(2);
    std::vector<std::jthread> threads;
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        cuda_device device({.ordinal = r, .rank = r});
        communicator comm(
            device, id,
            {.rank = r,
             .size = 2,
             .timeout = {with_channel ? 30.0 : 0.3},
             .channel = with_channel ? std::make_shared<channel_of_a_process>(shared) : nullptr});
        auto stream = device.make_stream("test");
        sum_of_ranks(comm, device, stream);
        both.arrive_and_wait();
        if (r == 0) {
          comm.abort("the disk is full");
          std::this_thread::sleep_for(std::chrono::milliseconds(with_channel ? 0 : 500));
          return;
        }
        words[1] =
            with_channel
                ? message_of<rondel::peer_failed>([&] { sum_of_ranks(comm, device, stream); })
                : message_of<rondel::timed_out>([&] { sum_of_ranks(comm, device, stream); });
      });
    }
    threads.clear();
    CAPTURE(words[1]);
    CHECK(contains(words[1], "rank 1 in all_reduce(sum, 1 x f32) #2"));
    CHECK(contains(words[1], with_channel ? "rank 0 failed first: the disk is full"
                                          : "is not known in this process"));
  }
}

TEST_CASE("the user's own communicator is used and left alone") {
  test::nccl_machine machine;
  const auto id = rondel::make_nccl_id();
  on_threads(2, [&](int r) {
    cuda_device device({.ordinal = r, .rank = r});
    const rondel::detail::device_guard guard(r);
    ncclComm_t own = nullptr;
    REQUIRE(ncclCommInitRank(&own, 2, id.native(), r) == ncclSuccess);
    {
      auto stream = device.make_stream("test");
      auto comm = communicator::adopt(device, own);
      CHECK(comm.rank() == r);
      CHECK(comm.size() == 2);
      sum_of_ranks(comm, device, stream);
      auto twin = comm.duplicate();
      sum_of_ranks(twin, device, stream);
      if (r == 0) {
        cuda_device other({.ordinal = 3});
        CHECK_THROWS_AS((void)communicator::adopt(other, own), rondel::invalid_argument);
      }
      comm.close();
    }
    CHECK(ncclCommFinalize(own) == ncclSuccess);
    CHECK(ncclCommDestroy(own) == ncclSuccess);
  });
  CHECK(fake_nccl::calls("ncclCommDestroy") == 4);  // and the twins
}

TEST_CASE("what the loaded library lacks is not called, and done all the same") {
  for (const int version : {NCCL_VERSION(2, 27, 3), NCCL_VERSION(2, 28, 9)}) {
    test::nccl_machine machine({.version = version});
    test::on_nccl({.ranks = 3, .timeout = {30}}, [](auto& rank) {
      auto stream = rank.device().make_stream("test");
      conformance::moves_of<float>(rank.world(), stream);
    });
    const bool has = version >= NCCL_VERSION(2, 28, 3);
    CHECK((fake_nccl::calls("ncclAlltoAll") > 0) == has);
    CHECK((fake_nccl::calls("ncclGather") > 0) == has);
    CHECK((fake_nccl::calls("ncclScatter") > 0) == has);
  }
  test::nccl_machine machine({.version = 2804});
  const auto words =
      message_of<rondel::error>([] { rondel::run(rondel::nccl{.ranks = 1}, [](auto&) {}); });
  CHECK(contains(words, "the NCCL library is version 2.8.4, 2.18.1 or newer expected"));
}

TEST_CASE("several ranks on one GPU: 2.30 and its variables, which the error names") {
  const rondel::nccl engine{.ranks = 2, .devices = {0, 0}, .timeout = {30}};
  {
    test::nccl_machine machine({}, test::lenient);
    const auto words = message_of<rondel::error>([&] { rondel::run(engine, [](auto&) {}); });
    CAPTURE(words);
    CHECK(contains(words, "Duplicate GPU detected : rank 0 and rank 1"));
    CHECK(contains(words, "NCCL_MULTI_RANK_GPU_ENABLE=1"));
    CHECK(contains(words, "NCCL_NVLS_ENABLE=0"));
    CHECK(contains(words, "2.28.9"));
  }
  test::nccl_machine machine({.version = NCCL_VERSION(2, 30, 7)});
  const variable enable("NCCL_MULTI_RANK_GPU_ENABLE", "1");
  std::atomic<int> arrivals{0};
  test::on_nccl(engine, [&](auto& rank) {
    auto stream = rank.device().make_stream("test");
    conformance::essentials(rank.world(), stream, arrivals);
  });
}

TEST_CASE("ranks and devices that do not go together are refused") {
  test::nccl_machine machine;
  const auto refused = [](const rondel::nccl& engine) {
    return message_of<rondel::invalid_argument>([&] { rondel::run(engine, [](auto&) {}); });
  };
  CHECK(contains(refused({.ranks = 0}), "at least 1 expected"));
  CHECK(contains(refused({.ranks = 2, .devices = {0}}), "1 devices for 2 ranks"));
  CHECK(contains(refused({.ranks = 5, .timeout = {30}}), "there is no CUDA device 4"));
  cuda_device device;
  const auto id = rondel::make_nccl_id();
  CHECK_THROWS_AS(communicator(device, id, {.rank = 2, .size = 2}), rondel::invalid_argument);
  CHECK_THROWS_AS(
      communicator(device, id, {.rank = 0, .size = 2, .channel = rondel::make_thread_channel(3)}),
      rondel::invalid_argument);
}

TEST_CASE("a group ends with its scope, and starts nothing that an exception left half done") {
  test::nccl_machine machine({}, test::lenient);
  std::barrier both(2);
  const auto all = test::outcomes(
      {.ranks = 2, .timeout = {30}}, test::world, [&](int, auto& comm, auto& stream) {
        array x(comm.device(), stream, {1});
        stream.synchronize();
        const auto raw = [&](ncclComm_t c) {
          return ncclAllReduce(x.span().data(), x.span().data(), 1, ncclFloat32, ncclSum, c,
                               stream.native());
        };
        auto spoilt = comm.duplicate();
        try {
          rondel::nccl_group group;
          group.add(raw(spoilt.native()));
          throw std::runtime_error("in between");
        } catch (const std::runtime_error&) {
        }
        CHECK(fake_nccl::open_groups() == 0);
        // The one that was in it says so; others are not concerned.
        ncclResult_t state = ncclSuccess;
        CHECK(ncclCommGetAsyncError(spoilt.native(), &state) == ncclSuccess);
        CHECK(state == ncclInvalidArgument);
        rondel::all_reduce(comm, stream, x.span());
        CHECK(test::download(stream, x.span()) == std::vector<float>{2});
        {
          rondel::nccl_group outer;
          const rondel::nccl_group inner;
          CHECK(fake_nccl::open_groups() == 2);
        }
        CHECK(fake_nccl::open_groups() == 0);
        {
          rondel::nccl_group group;
          std::thread([&] { CHECK(group.end() == ncclInvalidUsage); }).join();
          CHECK(fake_nccl::open_groups() == 1);
          group.add(ncclSystemError);
          group.add(ncclInternalError);
          CHECK(group.end() == ncclSystemError);
          CHECK(group.end() == ncclSystemError);
        }
        CHECK(fake_nccl::open_groups() == 0);
        both.arrive_and_wait();
        comm.abort("done");  // the spoilt one cannot be closed
      });
  for (const auto& o : all) CHECK((o.kind == "ended" || o.kind == "peer_failed"));
}

TEST_CASE("an error that NCCL leaves in the CUDA runtime is blamed on nobody") {
  for (std::uint64_t operation = 0; operation < 4; ++operation) {
    test::nccl_machine machine({.kind = fake_nccl::fault::dirty_error, .operation = operation});
    test::on_nccl({.ranks = 2, .timeout = {30}}, [](auto& rank) {
      auto stream = rank.device().make_stream("test");
      for (int i = 0; i < 3; ++i) sum_of_ranks(rank.world(), rank.device(), stream);
    });
  }
}

TEST_CASE("a step with collectives is captured once and launched often, among other operations") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    test::nccl_machine machine({.seed = seed});
    test::on_nccl({.ranks = 3, .timeout = {30}}, [](auto& rank) {
      auto& device = rank.device();
      auto stream = device.make_stream("test");
      auto other = device.make_stream("other");
      auto part = rank.world().split(0, rank.rank());
      array x(device, stream, {1}), y(device, stream, {1});
      rondel::all_reduce(rank.world(), other, y.span());
      {
        rondel::nccl_step step(rank.world(), stream, [&](auto& s) {
          rondel::all_reduce(rank.world(), s, x.span());
          rondel::all_reduce(*part, s, x.span(), rondel::max{});
        });
        CHECK(test::download(stream, x.span()) == std::vector<float>{1});  // nothing ran
        for (float expected = 3; expected < 1000; expected *= 3) {
          step.launch(stream);
          rondel::all_reduce(rank.world(), other, y.span());
          CHECK(test::download(stream, x.span()) == std::vector<float>{expected});
        }
        other.synchronize();
        CHECK_THROWS_AS(rank.world().close(), rondel::invalid_argument);
        CHECK_THROWS_AS(part->close(), rondel::invalid_argument);
      }
      part->close();
    });
  }
}

TEST_CASE("a step whose capture fails leaves the stream as it was") {
  test::nccl_machine machine;
  test::on_nccl({.ranks = 1, .timeout = {30}}, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    CHECK_THROWS_WITH_AS(
        rondel::nccl_step(rank.world(), stream, [](auto&) { throw std::runtime_error("no step"); }),
        "no step", std::runtime_error);
    sum_of_ranks(rank.world(), rank.device(), stream);
  });
}

TEST_CASE("a world that fails destroys its graphs before NCCL would wait for them") {
  test::nccl_machine machine({}, test::lenient);
  const auto all =
      test::outcomes({.ranks = 2, .timeout = {30}}, test::world, [](int r, auto& comm, auto& s) {
        array x(comm.device(), s, {1});
        rondel::nccl_step step(comm, s, [&](auto& on) { rondel::all_reduce(comm, on, x.span()); });
        step.launch(s);
        s.synchronize();
        if (r == 1) {
          comm.abort("enough");
        } else {
          step.launch(s);
          s.synchronize();
        }
        CHECK_THROWS_AS(step.launch(s), rondel::peer_failed);
      });
  CHECK(all[0].kind == "peer_failed");
  CAPTURE(all[0].text);
  CHECK(contains(all[0].text, "rank 0 in "));
}

TEST_CASE("the last calls of all ranks come with the error") {
  test::nccl_machine machine({}, test::lenient);
  const auto words = message_of<rondel::timed_out>([] {
    rondel::run(rondel::nccl{.ranks = 3, .timeout = {0.2}}, [](auto& rank) {
      auto stream = rank.device().make_stream("test");
      sum_of_ranks(rank.world(), rank.device(), stream);
      if (rank.rank() == 1) {
        rondel::barrier(rank.world(), stream);
      } else {
        sum_of_ranks(rank.world(), rank.device(), stream);
      }
      stream.synchronize();
    });
  });
  CAPTURE(words);
  CHECK(contains(words, "rank 1 is the first to diverge"));
  CHECK(contains(words, "barrier #2"));
  (void)machine.all();  // the library has seen it too
}
