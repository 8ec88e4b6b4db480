// The ledger against the formulas of the algorithms, byte for byte.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/comm/faulty.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "host_data.hpp"
#include "worlds.hpp"

#include <array>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::direction;
using rondel::operation_kind;
using test::uploaded;

// Runs `program(comm, stream, book)` over the fast paths and over messages.
template <class Program>
void on_both(int ranks, const Program& program) {
  test::on_threads({.ranks = ranks, .timeout = {60}}, [&](auto& rank) {
    auto stream = rank.device().make_stream("test");
    rondel::ledger direct, generic;
    rondel::ledger_communicator a(rank.world().duplicate(), direct);
    rondel::ledger_communicator b(rondel::send_recv_only(rank.world().duplicate()), generic);
    program(a, stream, direct, false);
    program(b, stream, generic, true);
  });
}

TEST_CASE("even collectives move (N-1)/N of their bytes, all_reduce twice that") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    on_both(ranks, [&](auto& comm, auto& stream, auto& book, bool) {
      const auto n = static_cast<std::uint64_t>(ranks);
      constexpr std::uint64_t block = 40;
      const std::uint64_t share = (n - 1) * block * sizeof(float);
      uploaded<float> small(comm.device(), stream, std::vector<float>(block));
      uploaded<float> large(comm.device(), stream, std::vector<float>(block * n));
      uploaded<float> other(comm.device(), stream, std::vector<float>(block * n));
      const auto moved = [&](operation_kind kind, std::uint64_t sent, std::uint64_t received) {
        CAPTURE(rondel::to_string(kind));
        CHECK(book.calls(kind) == 1);
        CHECK(book.bytes(kind, direction::sent) == sent);
        CHECK(book.bytes(kind, direction::received) == received);
      };
      rondel::all_reduce(comm, stream, large.span());
      moved(operation_kind::all_reduce, 2 * share, 2 * share);
      rondel::reduce_scatter(comm, stream, large.span(), small.span());
      moved(operation_kind::reduce_scatter, share, share);
      rondel::all_gather(comm, stream, small.span(), large.span());
      moved(operation_kind::all_gather, share, share);
      rondel::all_to_all(comm, stream, large.span(), other.span());
      moved(operation_kind::all_to_all, share, share);
      const bool root = comm.rank() == 0;
      const std::uint64_t own = root ? 0 : block * sizeof(float);
      rondel::gather(comm, stream, small.span(), large.span(), 0);
      moved(operation_kind::gather, own, root ? share : 0);
      rondel::scatter(comm, stream, large.span(), small.span(), 0);
      moved(operation_kind::scatter, root ? share : 0, own);
      rondel::barrier(comm, stream);
      moved(operation_kind::barrier, 0, 0);
    });
  }
}

TEST_CASE("in rank order costs the same bytes") {
  on_both(4, [&](auto& comm, auto& stream, auto& book, bool) {
    uploaded<double> x(comm.device(), stream, std::vector<double>(400));
    rondel::all_reduce(comm, stream, x.span(), rondel::in_rank_order(rondel::sum{}));
    CHECK(book.bytes(operation_kind::all_reduce, direction::sent) == 2 * 3 * 100 * 8);
    CHECK(book.bytes(operation_kind::all_reduce, direction::received) == 2 * 3 * 100 * 8);
  });
}

TEST_CASE("a broadcast delivers its bytes once to each rank") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    const auto sent = rondel::run(rondel::threads{.ranks = ranks, .timeout = {60}}, [](auto& rank) {
      auto stream = rank.device().make_stream("test");
      rondel::ledger book;
      rondel::ledger_communicator comm(rondel::send_recv_only(rank.world().duplicate()), book);
      uploaded<float> x(rank.device(), stream, std::vector<float>(10));
      rondel::broadcast(comm, stream, x.span(), rank.size() - 1);
      const bool root = rank.rank() == rank.size() - 1;
      CHECK(book.bytes(direction::received) == (root ? 0U : 40U));
      return book.bytes(direction::sent);
    });
    CHECK(std::accumulate(sent.begin(), sent.end(), std::uint64_t{0}) ==
          static_cast<std::uint64_t>(ranks - 1) * 40);
  }
}

TEST_CASE("counts that N does not divide: the exact bytes of each algorithm") {
  constexpr int ranks = 3;
  on_both(ranks, [&](auto& comm, auto& stream, auto& book, bool generic) {
    const rondel::balanced_blocks blocks(10, ranks);  // 4, 3, 3
    const int r = comm.rank();
    const auto size = [&](int i) { return blocks.size((i + ranks) % ranks) * sizeof(double); };
    uploaded<double> x(comm.device(), stream, std::vector<double>(10));
    rondel::all_reduce(comm, stream, x.span());
    // The ring sends every block but its own, then every block but the next rank's. The
    // meeting sends each peer that peer's block, and each peer its own.
    const std::uint64_t expected =
        generic ? 2 * 80 - size(r) - size(r + 1) : (80 - size(r)) + 2 * size(r);
    CHECK(book.bytes(operation_kind::all_reduce, direction::sent) == expected);
  });
}

TEST_CASE("peers and messages: the ring speaks to its neighbours, the meeting to all") {
  on_both(4, [&](auto& comm, auto& stream, auto& book, bool generic) {
    uploaded<float> x(comm.device(), stream, std::vector<float>(8));
    rondel::all_reduce(comm, stream, x.span());
    const int next = (comm.rank() + 1) % 4;
    const int across = (comm.rank() + 2) % 4;
    const auto sent_to = [&](int peer) {
      return book.bytes(operation_kind::all_reduce, peer, direction::sent);
    };
    CHECK(book.messages(operation_kind::all_reduce, direction::sent) == 6);
    CHECK(sent_to(next) == (generic ? 48U : 16U));
    CHECK(sent_to(across) == (generic ? 0U : 16U));
    CHECK(sent_to(comm.rank()) == 0);
  });
}

TEST_CASE("a ring pass sends N-1 blocks, and one more to come home") {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    test::on_threads({.ranks = ranks, .timeout = {60}}, [&](auto& rank) {
      rondel::ledger book;
      rondel::ledger_communicator comm(rank.world().duplicate(), book);
      auto stream = rank.device().make_stream("compute");
      auto link = rank.device().make_stream("link");
      uploaded<float> a(rank.device(), stream, std::vector<float>(6));
      uploaded<float> b(rank.device(), stream, std::vector<float>(6));
      const auto look = [](rondel::device_span<const float>, int, int) {};
      const std::array buffers{a.span(), b.span()};
      rondel::ring_pass(comm, stream, link, buffers, look);
      const auto passes = static_cast<std::uint64_t>(ranks - 1);
      CHECK(book.bytes(operation_kind::ring_pass, direction::sent) == passes * 24);
      CHECK(book.calls(operation_kind::ring_pass) == passes);
      book.clear();
      rondel::ring_pass(comm, stream, link, buffers, look, {.return_home = true});
      const std::uint64_t home = ranks == 1 ? 0 : passes + 1;
      CHECK(book.bytes(operation_kind::ring_pass, direction::sent) == home * 24);
      CHECK(book.bytes(operation_kind::ring_pass, direction::received) == home * 24);
    });
  }
}

TEST_CASE("a split names its peers as the first communicator did") {
  test::on_threads({.ranks = 4, .timeout = {60}}, [](auto& rank) {
    rondel::ledger book;
    rondel::ledger_communicator comm(rank.world().duplicate(), book);
    auto stream = rank.device().make_stream("test");
    auto half = comm.split(rank.rank() % 2, -rank.rank());
    auto again = half->duplicate();
    uploaded<float> x(rank.device(), stream, std::vector<float>(8));
    rondel::all_reduce(again, stream, x.span());
    const int peer = (rank.rank() + 2) % 4;
    CHECK(book.bytes(operation_kind::all_reduce, peer, direction::sent) == 32);
    CHECK(book.bytes(direction::sent) == 32);
  });
}

TEST_CASE("what all ranks send is what all ranks receive") {
  const auto totals = rondel::run(rondel::threads{.ranks = 4, .timeout = {60}}, [](auto& rank) {
    rondel::ledger book;
    rondel::ledger_communicator comm(rank.world().duplicate(), book);
    auto stream = rank.device().make_stream("test");
    uploaded<float> x(rank.device(), stream, std::vector<float>(1001));
    uploaded<float> y(rank.device(), stream, std::vector<float>(1001 * 4));
    rondel::all_reduce(comm, stream, x.span());
    rondel::all_gather(comm, stream, x.span(), y.span());
    rondel::broadcast(comm, stream, x.span(), 2);
    rondel::gather(comm, stream, x.span(), y.span(), 1);
    rondel::send_recv(comm, stream, x.span().first(77), (rank.rank() + 1) % 4,
                      x.span().subspan(100, 77), (rank.rank() + 3) % 4);
    return std::pair(book.bytes(direction::sent), book.bytes(direction::received));
  });
  std::uint64_t sent = 0, received = 0;
  for (const auto& [s, r] : totals) {
    sent += s;
    received += r;
  }
  CHECK(sent == received);
  CHECK(sent > 0);
}

TEST_CASE("what does not move is not counted") {
  test::on_threads({.ranks = 2, .timeout = {60}}, [](auto& rank) {
    rondel::ledger book;
    rondel::ledger_communicator comm(
        rondel::faulty_communicator(
            rank.world().duplicate(),
            {.action = rondel::fault_action::drop, .rank = 0, .operation = 1}),
        book);
    auto stream = rank.device().make_stream("test");
    uploaded<float> x(rank.device(), stream, {1, 2});
    rondel::barrier(comm, stream);
    {
      auto batch = comm.batch(stream);
      batch.send(1 - rank.rank(), rondel::as_bytes(x.span()));
    }
    CHECK(book.bytes(direction::sent) == 0);
    CHECK(book.messages(direction::sent) == 0);
    // Rank 0 stays away from this one, so nobody may wait for it.
    if (rank.rank() == 0) {
      rondel::all_reduce(comm, stream, x.span());
      CHECK(book.calls(operation_kind::all_reduce) == 1);
      CHECK(book.bytes(direction::sent) == 0);
    }
  });
}

TEST_CASE("the work of a collective is what its kernel reads, writes and adds") {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    test::on_threads({.ranks = ranks, .timeout = {60}}, [&](auto& rank) {
      auto stream = rank.device().make_stream("test");
      const auto n = static_cast<std::uint64_t>(ranks);
      for (const std::uint64_t block : {10U, 1000U}) {
        uploaded<float> part(rank.device(), stream, std::vector<float>(block));
        uploaded<float> whole(rank.device(), stream, std::vector<float>(block * n));
        const auto work_of = [&](const auto& call) {
          const auto before = rank.device().work_done();
          call();
          const auto after = rank.device().work_done();
          return rondel::work_total{after.launches - before.launches, after.flops - before.flops,
                                    after.bytes_read - before.bytes_read,
                                    after.bytes_written - before.bytes_written};
        };
        const double sums = static_cast<double>((n - 1) * block);
        const auto bytes = block * n * sizeof(float);
        // Every rank reduces all of a small input, and its share of a larger one.
        const std::uint64_t shares = block == 10 ? n : 1;
        CHECK(work_of([&] { rondel::all_reduce(rank.world(), stream, whole.span()); }) ==
              rondel::work_total{1, sums * static_cast<double>(shares), bytes * shares, bytes});
        CHECK(work_of([&] {
                rondel::reduce_scatter(rank.world(), stream, whole.span(), part.span());
              }) == rondel::work_total{1, sums, bytes, block * sizeof(float)});
        CHECK(work_of([&] {
                rondel::all_gather(rank.world(), stream, part.span(), whole.span());
              }) == rondel::work_total{1, 0, bytes, bytes});
      }
    });
  }
}

}  // namespace
