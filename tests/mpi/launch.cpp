// That a program under this launcher finds it, and joins the other processes.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/mpi.hpp>

#include "host_data.hpp"
#include "message_of.hpp"
#include "support.hpp"

#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

namespace {

TEST_CASE("the launcher is found in the real environment, and its processes join") {
  const rondel::launch_environment found = rondel::detect_launcher();
  CHECK(found.rank == test::mpi_rank());
  CHECK(found.size == test::mpi_ranks());
  CHECK(found.local_rank == test::mpi_rank());
  CHECK(found.local_size == test::mpi_ranks());
  const auto program = [](auto& rank) {
    auto stream = rank.device().make_stream();
    test::uploaded<std::int64_t> x(rank.device(), stream, {rank.rank()});
    rondel::all_reduce(rank.world(), stream, x.span());
    return test::download(stream, x.span()).front();
  };
  const int ranks = test::mpi_ranks();
  const rondel::engines<rondel::threads, rondel::mpi> built;
  CHECK(rondel::launch(built, {}, program) == std::vector<std::int64_t>{ranks * (ranks - 1) / 2});
  CHECK(rondel::launch(built, {.ranks = ranks}, program).size() == 1);
  CHECK(rondel::launch(built, {.engine = "threads", .ranks = 3}, program) ==
        std::vector<std::int64_t>{3, 3, 3});
  CHECK(test::message_of<rondel::invalid_argument>([&] {
          rondel::launch(built, {.ranks = ranks + 1}, program);
        }).find("processes") != std::string::npos);
}

}  // namespace
