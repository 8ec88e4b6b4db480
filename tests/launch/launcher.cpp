// Who has started this process, by the variables that each launcher really sets.
#include <rondel/launcher.hpp>

#include "message_of.hpp"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::launcher;
using variables = std::map<std::string, std::string>;

rondel::launch_environment detect(const variables& v) {
  return rondel::detect_launcher([&](const char* name) -> const char* {
    const auto at = v.find(name);
    return at == v.end() ? nullptr : at->second.c_str();
  });
}
std::string refusal(const variables& v) {
  return test::message_of<rondel::invalid_argument>([&] { (void)detect(v); });
}
variables with(variables v, const variables& changes) {
  for (const auto& [name, value] : changes) v[name] = value;
  return v;
}

const variables torchrun = {{"RANK", "5"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "4"},
                            {"GROUP_RANK", "1"},
                            {"ROLE_RANK", "5"},
                            {"ROLE_WORLD_SIZE", "8"},
                            {"MASTER_ADDR", "node0"},
                            {"MASTER_PORT", "29500"},
                            {"TORCHELASTIC_RESTART_COUNT", "0"},
                            {"TORCHELASTIC_RUN_ID", "none"}};
const variables open_mpi = {
    {"OMPI_COMM_WORLD_RANK", "2"},       {"OMPI_COMM_WORLD_SIZE", "4"},
    {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
    {"OMPI_COMM_WORLD_NODE_RANK", "0"},  {"PMIX_RANK", "2"},
    {"PMIX_NAMESPACE", "123456789"}};
const variables hydra = {{"PMI_RANK", "1"},
                         {"PMI_SIZE", "2"},
                         {"MPI_LOCALRANKID", "1"},
                         {"MPI_LOCALNRANKS", "2"},
                         {"PMI_FD", "9"}};
const variables srun = {{"SLURM_PROCID", "3"},
                        {"SLURM_NTASKS", "6"},
                        {"SLURM_LOCALID", "1"},
                        {"SLURM_NTASKS_PER_NODE", "2"},
                        {"SLURM_JOB_ID", "77"},
                        {"SLURM_STEP_ID", "0"},
                        {"SLURM_STEP_NODELIST", "node[0-2]"}};
// The shell of an allocation: sizes, but no step.
const variables salloc = {{"SLURM_JOB_ID", "77"},
                          {"SLURM_NTASKS", "6"},
                          {"SLURM_PROCID", "0"},
                          {"SLURM_NTASKS_PER_NODE", "2"},
                          {"SLURM_JOB_NODELIST", "node[0-2]"}};

void check(const variables& v, const std::vector<launcher>& who, int rank, int size, int local_rank,
           int local_size) {
  const auto e = detect(v);
  CHECK(e.launchers == who);
  CHECK(e.rank == rank);
  CHECK(e.size == size);
  CHECK(e.local_rank == local_rank);
  CHECK(e.local_size == local_size);
}

TEST_CASE("each launcher is known by its variables") {
  check({}, {}, 0, 1, 0, 1);
  check(torchrun, {launcher::torchrun}, 5, 8, 1, 4);
  check(open_mpi, {launcher::open_mpi}, 2, 4, 0, 2);
  check(hydra, {launcher::mpich}, 1, 2, 1, 2);
  check({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}, {launcher::mpich}, 1, 2, -1, 0);
  check(srun, {launcher::slurm}, 3, 6, 1, 2);
  variables bare = srun;
  bare.erase("SLURM_NTASKS_PER_NODE");
  check(bare, {launcher::slurm}, 3, 6, 1, 0);
  check(salloc, {}, 0, 1, 0, 1);
  check({{"PATH", "/bin"}, {"MASTER_ADDR", "node0"}, {"LOCAL_RANK", "1"}}, {}, 0, 1, 0, 1);
}

TEST_CASE("two launchers of one mind are one") {
  check(with(open_mpi,
             {{"RANK", "2"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "0"}, {"LOCAL_WORLD_SIZE", "2"}}),
        {launcher::torchrun, launcher::open_mpi}, 2, 4, 0, 2);
  // srun with PMI-2.
  check(with(srun, {{"PMI_RANK", "3"}, {"PMI_SIZE", "6"}}), {launcher::mpich, launcher::slurm}, 3,
        6, 1, 2);
}

TEST_CASE("srun may start another launcher on each node") {
  check(with(torchrun, with(srun, {{"SLURM_NTASKS", "2"}, {"SLURM_PROCID", "1"}})),
        {launcher::torchrun}, 5, 8, 1, 4);
  check(with(open_mpi, with(srun, {{"SLURM_NTASKS", "2"}, {"SLURM_PROCID", "1"}})),
        {launcher::open_mpi}, 2, 4, 0, 2);
  // An mpirun in the shell of an allocation.
  check(with(open_mpi, salloc), {launcher::open_mpi}, 2, 4, 0, 2);
}

TEST_CASE("launchers that disagree are refused with both sides") {
  CHECK(refusal(with(torchrun, open_mpi)) ==
        "two launchers disagree: RANK is 5 of 8 (WORLD_SIZE), and OMPI_COMM_WORLD_RANK is 2 of 4 "
        "(OMPI_COMM_WORLD_SIZE)");
  CHECK(refusal(with(torchrun, with(srun, {{"SLURM_NTASKS", "8"}}))) ==
        "two launchers disagree: RANK is 5 of 8 (WORLD_SIZE), and SLURM_PROCID is 3 of 8 "
        "(SLURM_NTASKS)");
  CHECK(refusal(with(open_mpi, hydra)).find("two launchers disagree") == 0);
}

TEST_CASE("values that cannot be are refused with their variable") {
  CHECK(refusal(with(torchrun, {{"RANK", "8"}})) ==
        "the environment variable RANK is 8, less than the 8 of WORLD_SIZE expected");
  CHECK(refusal(with(torchrun, {{"LOCAL_RANK", "4"}})) ==
        "the environment variable LOCAL_RANK is 4, less than the 4 of LOCAL_WORLD_SIZE expected");
  CHECK(refusal(with(torchrun, {{"LOCAL_WORLD_SIZE", "9"}})) ==
        "the environment variable LOCAL_WORLD_SIZE is 9, more than the 8 of WORLD_SIZE");
  for (const char* bad : {"", "-1", "1x", " 1", "1 ", "+1", "0x1", "2147483648",
                          "99999999999999999999", "one", "1.0"}) {
    CAPTURE(bad);
    CHECK(refusal(with(open_mpi, {{"OMPI_COMM_WORLD_RANK", bad}})) ==
          "the environment variable OMPI_COMM_WORLD_RANK is '" + std::string(bad) +
              "', a whole number from 0 to 2147483647 expected");
  }
  CHECK(refusal(with(hydra, {{"PMI_SIZE", "0"}})).find("a whole number from 1") !=
        std::string::npos);
  CHECK(refusal(with(srun, {{"SLURM_LOCALID", "2"}})).find("SLURM_LOCALID is 2") !=
        std::string::npos);
  CHECK(refusal({{"RANK", "0"}}) ==
        "the environment variable RANK is set, as by torchrun, but WORLD_SIZE is not");
  CHECK(refusal({{"OMPI_COMM_WORLD_SIZE", "2"}}) ==
        "the environment variable OMPI_COMM_WORLD_SIZE is set, as by Open MPI's mpirun, but "
        "OMPI_COMM_WORLD_RANK is not");
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}}) ==
        "the environment variable RANK is set, as by torchrun, but LOCAL_WORLD_SIZE is not");
}

TEST_CASE("the local rank chooses the device") {
  CHECK(rondel::device_of(detect(torchrun), 4) == 1);
  CHECK(rondel::device_of(detect({}), 1) == 0);
  CHECK(rondel::device_of(detect({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}), 1) == 0);
  const auto refused = [](const variables& v, int devices) {
    return test::message_of<rondel::invalid_argument>(
        [&] { (void)rondel::device_of(detect(v), devices); });
  };
  CHECK(refused(torchrun, 1) == "local rank 1 of rank 5 is beyond the 1 device of this machine");
  CHECK(refused({}, 0) == "local rank 0 of rank 0 is beyond the 0 devices of this machine");
  CHECK(refused({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}, 2) ==
        "rank 1 has no local rank to choose one of 2 devices by");
}

}  // namespace
