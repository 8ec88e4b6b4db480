// Which engine runs: by what started the process, or by name.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/launch_engines.hpp>

#include "host_data.hpp"
#include "message_of.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::launcher;

bool serves_mpi(launcher l) { return l == launcher::open_mpi || l == launcher::mpich; }
bool serves_torchrun(launcher l) { return l == launcher::torchrun; }
bool serves_none(launcher) { return false; }

const std::array<rondel::engine_facts, 3> all = {
    {{"threads", true, serves_none}, {"mpi", false, serves_mpi}, {"nccl", false, serves_torchrun}}};

rondel::launch_environment started_by(std::vector<launcher> who, int size) {
  return {.launchers = std::move(who), .rank = 0, .size = size};
}
std::string chosen(const rondel::launch_environment& e, const rondel::launch_options& o = {}) {
  return all[rondel::choose_engine(all, e, o)].name;
}
std::string refusal(std::span<const rondel::engine_facts> built,
                    const rondel::launch_environment& e, const rondel::launch_options& o = {}) {
  return test::message_of<rondel::invalid_argument>(
      [&] { (void)rondel::choose_engine(built, e, o); });
}

TEST_CASE("the environment chooses the engine") {
  CHECK(chosen({}) == "threads");
  CHECK(chosen(started_by({launcher::open_mpi}, 4)) == "mpi");
  CHECK(chosen(started_by({launcher::mpich}, 1)) == "mpi");
  CHECK(chosen(started_by({launcher::torchrun}, 2)) == "nccl");
  // Both are served; the program's order holds.
  CHECK(chosen(started_by({launcher::torchrun, launcher::open_mpi}, 2)) == "mpi");
  // Nobody here joins srun's processes, but one needs nobody.
  CHECK(chosen(started_by({launcher::slurm}, 1)) == "threads");
}

TEST_CASE("a name overrides it") {
  CHECK(chosen(started_by({launcher::open_mpi}, 4), {.engine = "threads"}) == "threads");
  CHECK(chosen({}, {.engine = "mpi"}) == "mpi");
  CHECK(chosen({}, {.ranks = 7}) == "threads");
  CHECK(chosen(started_by({launcher::open_mpi}, 4), {.ranks = 4}) == "mpi");
}

TEST_CASE("what cannot be is refused in a sentence") {
  const std::span threads_only(all.data(), 1);
  CHECK(refusal(threads_only, {}, {.engine = "mpi"}) ==
        "engine 'mpi' is not built into this program, which has: threads");
  CHECK(refusal(threads_only, started_by({launcher::open_mpi}, 4)) ==
        "this is process 0 of 4 that Open MPI's mpirun has started, and no engine of this program "
        "joins them: it has threads");
  CHECK(refusal(all, started_by({launcher::slurm}, 2)).find("that srun has started") !=
        std::string::npos);
  CHECK(refusal(all, started_by({launcher::mpich}, 2), {.ranks = 3}) ==
        "3 ranks of engine mpi were asked for, and 2 processes are running");
  CHECK(refusal(all, {}, {.engine = "mpi", .ranks = 3}) ==
        "3 ranks of engine mpi were asked for, and 1 process is running: start it by mpirun, srun "
        "or torchrun");
}

TEST_CASE("launch runs the program on the engine") {
  const auto program = [](auto& rank) {
    auto stream = rank.device().make_stream();
    test::uploaded<std::int64_t> x(rank.device(), stream, {rank.rank() + 1});
    rondel::all_reduce(rank.world(), stream, x.span());
    return test::download(stream, x.span()).front();
  };
  const rondel::engines built(rondel::threads{.ranks = 2});
  CHECK(rondel::launch(built, {}, program) == std::vector<std::int64_t>{3, 3});
  CHECK(rondel::launch(built, {.ranks = 3}, program) == std::vector<std::int64_t>{6, 6, 6});
  int calls = 0;
  rondel::launch(rondel::engines<rondel::threads, rondel::simulated>{}, {.engine = "sim"},
                 [&](auto& rank) { calls += rank.size(); });
  CHECK(calls == 1);
}

}  // namespace
