// Worlds over MPI: whose communicator they take, how they end, what ranks hear when one fails.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/comm/fingerprint.hpp>

#include "host_data.hpp"
#include "message_of.hpp"
#include "support.hpp"

#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using test::uploaded;

template <class C, class S>
std::int64_t sum_of(C& comm, S& stream, std::int64_t x) {
  uploaded<std::int64_t> value(comm.device(), stream, {x});
  rondel::all_reduce(comm, stream, value.span());
  return test::download(stream, value.span()).front();
}

// A communicator of the user's with the ranks in reverse order.
struct reversed_comm {
  reversed_comm() { MPI_Comm_split(MPI_COMM_WORLD, 0, -test::mpi_rank(), &comm); }
  reversed_comm(const reversed_comm&) = delete;
  reversed_comm& operator=(const reversed_comm&) = delete;
  ~reversed_comm() { MPI_Comm_free(&comm); }
  MPI_Comm comm = MPI_COMM_NULL;
};

TEST_CASE("a user's communicator is adopted and stays the user's") {
  const reversed_comm user;
  const int ranks = test::mpi_ranks();
  const int mine = ranks - 1 - test::mpi_rank();
  MPI_Errhandler before = MPI_ERRHANDLER_NULL;
  MPI_Comm_get_errhandler(user.comm, &before);
  // A message of the user's that is under way all the time, with a tag that the world may use too.
  int got = -1;
  MPI_Request mail = MPI_REQUEST_NULL;
  MPI_Irecv(&got, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, user.comm, &mail);
  std::uint64_t first_base = 0;
  MPI_Comm first_comm = MPI_COMM_NULL;
  for (int round = 0; round < 3; ++round) {
    const auto world = rondel::make_mpi_world(user.comm, {.timeout = {30}});
    if (round == 0) {
      first_base = world->base();
      first_comm = world->comm();
    }
    // A world that was closed leaves its context to the next one, which takes other numbers.
    CHECK(world->comm() == first_comm);
    CHECK((round == 0 || world->base() > first_base));
    {
      rondel::host_device device;
      rondel::mpi_communicator<> comm(world, device, {30});
      CHECK(comm.rank() == mine);
      auto stream = device.make_stream();
      CHECK(sum_of(comm, stream, mine) == ranks * (ranks - 1) / 2);
      auto part = comm.split(mine % 2, 0);
      CHECK(sum_of(*part, stream, 1) == part->size());
    }
    world->close({30});
  }
  CHECK(got == -1);
  MPI_Barrier(user.comm);
  MPI_Send(&mine, 1, MPI_INT, (mine + 1) % ranks, 4, user.comm);
  MPI_Wait(&mail, MPI_STATUS_IGNORE);
  CHECK(got == (mine + ranks - 1) % ranks);
  MPI_Errhandler after = MPI_ERRHANDLER_NULL;
  MPI_Comm_get_errhandler(user.comm, &after);
  CHECK(before == after);
  MPI_Errhandler_free(&before);
  MPI_Errhandler_free(&after);
  CHECK(!rondel::detail::mpi_is_finalized());
}

TEST_CASE("two worlds at a time on one communicator do not meet") {
  const auto a = rondel::make_mpi_world(MPI_COMM_WORLD, {.timeout = {30}});
  const auto b = rondel::make_mpi_world(MPI_COMM_WORLD, {.timeout = {30}});
  {
    rondel::host_device device;
    rondel::mpi_communicator<> first(a, device, {30}), second(b, device, {30});
    auto stream = device.make_stream();
    // Each rank calls them in an order of its own, on threads of their own.
    std::thread other([&] {
      rondel::host_device mine;
      auto s = mine.make_stream();
      for (int i = 0; i < 50; ++i) {
        uploaded<std::int64_t> x(mine, s, {1});
        rondel::all_reduce(second, s, x.span());
      }
    });
    for (int i = 0; i < 50; ++i) CHECK(sum_of(first, stream, 2) == 2 * first.size());
    other.join();
  }
  a->close({30});
  b->close({30});
}

TEST_CASE("splits and duplicates by the hundred") {
  test::on_mpi({.timeout = {30}}, [](auto& rank) {
    auto stream = rank.device().make_stream();
    std::mt19937 random(7);  // the same on all ranks
    std::vector<rondel::mpi_communicator<>> kept;
    for (int i = 0; i < 200; ++i) {
      const int colors = 1 + static_cast<int>(random() % 3);
      const bool nested = !kept.empty() && random() % 2 == 0;
      auto& from = nested ? kept[0] : rank.world();
      auto part = from.split(from.rank() % colors, static_cast<int>(random() % 2) * -from.rank());
      CHECK(sum_of(*part, stream, 1) == part->size());
      const bool keep = random() % 4 == 0;
      if (keep && colors == 1) kept.push_back(std::move(*part));
      if (kept.size() > 5) kept.erase(kept.begin());
      CHECK(sum_of(rank.world(), stream, 1) == rank.size());
    }
  });
}

TEST_CASE("what cannot make a world is refused in a sentence") {
  using rondel::invalid_argument;
  const auto refused = [](MPI_Comm comm, const rondel::mpi_options& options) {
    return test::message_of<invalid_argument>([&] { (void)rondel::make_mpi_world(comm, options); });
  };
  CHECK(refused(MPI_COMM_NULL, {}).find("MPI_COMM_NULL") != std::string::npos);
  CHECK(refused(MPI_COMM_WORLD, {.message_limit = 63}).find("64 to 2147483647") !=
        std::string::npos);
  CHECK(refused(MPI_COMM_WORLD, {.message_limit = std::size_t{1} << 31}).find("2147483648 B") !=
        std::string::npos);
  if (test::mpi_ranks() < 2) return;
  const std::size_t limit = test::mpi_rank() == 0 ? 1000 : 2000;
  CHECK(refused(MPI_COMM_WORLD, {.timeout = {10}, .message_limit = limit})
            .find("the ranks' message limits differ") != std::string::npos);
  MPI_Comm half = MPI_COMM_NULL, between = MPI_COMM_NULL;
  const bool low = test::mpi_rank() == 0;
  MPI_Comm_split(MPI_COMM_WORLD, low ? 0 : 1, 0, &half);
  MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, low ? 1 : 0, 5, &between);
  CHECK(refused(between, {}).find("intercommunicator") != std::string::npos);
  MPI_Comm_free(&between);
  MPI_Comm_free(&half);
}

TEST_CASE("group numbers that are used up are named") {
  test::on_mpi({.timeout = {10}}, [](auto&) {});
  const auto world = rondel::make_mpi_world(MPI_COMM_WORLD, {.timeout = {10}});
  CHECK(test::message_of<rondel::communication_error>([&] {
          (void)world->tag(std::uint64_t{1} << 40, 0);
        }).find("communicators on one MPI_Comm") != std::string::npos);
  world->close({10});
}

// Runs `f(rank)`, which must fail on every rank, and returns this rank's words.
template <class Error, class F>
std::string failure_of(const rondel::mpi& engine, const F& f) {
  const std::string text = test::message_of<Error>([&] { rondel::run(engine, f); });
  MPI_Barrier(MPI_COMM_WORLD);  // nobody goes on while a peer still fails
  return text;
}
bool has(const std::string& text, const std::string& part) {
  CAPTURE(text);
  CAPTURE(part);
  return text.find(part) != std::string::npos;
}

TEST_CASE("a rank that throws wakes the others with its words") {
  if (test::mpi_ranks() < 2) return;
  const int me = test::mpi_rank();
  const auto program = [](auto& rank) {
    auto stream = rank.device().make_stream();
    (void)sum_of(rank.world(), stream, 1);
    if (rank.rank() == 1) throw rondel::io_error("the disk is gone");
    (void)sum_of(rank.world(), stream, 1);
    (void)sum_of(rank.world(), stream, 1);
  };
  for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
    const rondel::mpi engine{.streams = mode, .timeout = {20}};
    if (me == 1) {
      CHECK(has(failure_of<rondel::io_error>(engine, program), "the disk is gone"));
    } else {
      const std::string text = failure_of<rondel::peer_failed>(engine, program);
      CHECK(has(text, "rank 1 failed first: the disk is gone"));
      CHECK(has(text, "the last calls of rank"));
    }
  }
}

TEST_CASE("a rank that stays away is named, with what the others wait in") {
  const int ranks = test::mpi_ranks();
  if (ranks < 2) return;
  const int me = test::mpi_rank();
  const auto program = [&](auto& rank) {
    auto stream = rank.device().make_stream();
    (void)sum_of(rank.world(), stream, 1);
    if (rank.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    rondel::barrier(rank.world(), stream);
  };
  const auto start = std::chrono::steady_clock::now();
  // Of several that wait, one ends first, and its words come to the others.
  const std::string text = [&] {
    try {
      rondel::run(rondel::mpi{.timeout = {0.5}}, program);
    } catch (const rondel::timed_out& e) {
      return std::string(e.what());
    } catch (const rondel::peer_failed& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  }();
  const double took =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(has(text, "in barrier #2 waited 0.5"));
  CHECK(has(text, "rank 0 is missing"));
  CHECK(has(text, "rank 0: it does not answer"));
  if (ranks > 2 && me != 0) CHECK(has(text, "it waits in barrier #2"));
  CHECK(took < 20);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_CASE("a rank that waits elsewhere says so") {
  if (test::mpi_ranks() != 2) return;
  const auto program = [](auto& rank) {
    auto stream = rank.device().make_stream();
    auto twin = rank.world().duplicate();
    if (rank.rank() == 0) rondel::barrier(rank.world(), stream);
    rondel::barrier(twin, stream);
  };
  const auto any = [&] {
    try {
      rondel::run(rondel::mpi{.timeout = {0.4}}, program);
    } catch (const rondel::communication_error& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  const std::string text = any();
  CHECK((has(text, "it waits in barrier #1 of communicator 1") ||
         has(text, "rank 0: it waits in barrier #2") || has(text, "rank 0: it waits in barrier")));
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_CASE("a rank that leaves is named at once") {
  if (test::mpi_ranks() < 2) return;
  const auto program = [](auto& rank) {
    auto stream = rank.device().make_stream();
    auto twin = rank.world().duplicate();
    {
      const auto gone = std::move(twin);
      if (rank.rank() == 0) return;
      twin = rank.world().duplicate();
    }
  };
  const auto start = std::chrono::steady_clock::now();
  const std::string text = failure_of<rondel::peer_failed>({.timeout = {60}}, program);
  CHECK(has(text, test::mpi_rank() == 0 ? "rank 0 failed first: it has left the communicator"
                                        : "has left the communicator"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
}

TEST_CASE("messages of unequal sizes are told by their receiver") {
  if (test::mpi_ranks() < 2) return;
  for (const std::size_t sent : {std::size_t{3}, std::size_t{5}}) {
    const auto program = [&](auto& rank) {
      auto stream = rank.device().make_stream();
      uploaded<std::int32_t> x(rank.device(), stream, std::vector<std::int32_t>(8));
      if (rank.rank() == 0) rondel::send(rank.world(), stream, x.span().first(sent), 1);
      if (rank.rank() == 1) rondel::recv(rank.world(), stream, x.span().first(4), 0);
      rondel::barrier(rank.world(), stream);
    };
    if (test::mpi_rank() == 1) {
      const std::string text = failure_of<rondel::mismatched_operation>({.timeout = {20}}, program);
      CHECK(has(text, sent == 3 ? "rank 0 sends 12 B where 16 B are expected"
                                : "rank 0 sends more where 16 B are expected"));
    } else {
      CHECK(
          has(failure_of<rondel::peer_failed>({.timeout = {20}}, program), "rank 1 failed first"));
    }
  }
}

TEST_CASE("the checked mode tells every rank of another call") {
  if (test::mpi_ranks() < 2) return;
  const auto fails = [](const auto& call) {
    const auto program = [&](auto& rank) {
      auto stream = rank.device().make_stream();
      auto checked = rondel::fingerprint_communicator(rank.world().duplicate());
      uploaded<float> x(rank.device(), stream, std::vector<float>(64));
      rondel::all_reduce(checked, stream, x.span());
      call(checked, stream, x.span());
    };
    // The first to see it tells the others, who may hear of it before they see it.
    try {
      rondel::run(rondel::mpi{.timeout = {20}}, program);
    } catch (const rondel::mismatched_operation& e) {
      return std::string(e.what());
    } catch (const rondel::peer_failed& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  const std::string operations = fails([](auto& comm, auto& stream, auto x) {
    if (comm.rank() == 0) {
      rondel::broadcast(comm, stream, x, 0);
    } else {
      rondel::all_reduce(comm, stream, x);
    }
  });
  CHECK(has(operations, "calls broadcast(root 0, 64 x f32)"));
  CHECK(has(operations, "calls all_reduce(sum, 64 x f32)"));
  MPI_Barrier(MPI_COMM_WORLD);
  const std::string sizes = fails([](auto& comm, auto& stream, auto x) {
    rondel::all_reduce(comm, stream, x.first(comm.rank() == 0 ? 32 : 64));
  });
  CHECK(has(sizes, "32 x f32"));
  CHECK(has(sizes, "64 x f32"));
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
