// Every process runs every test case in lock step. The first one prints what doctest says; the
// others only if something failed there. All exit with the same code.
#include <rondel/comm/mpi_api.hpp>

#include "support.hpp"

#include <cstdio>
#include <exception>
#include <sstream>
#include <string>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

int main(int argc, char** argv) {
  const rondel::mpi_environment environment;
  const int rank = test::mpi_rank();
  std::ostringstream said;
  doctest::Context context(argc, argv);
  context.setCout(&said);
  int failed = context.run();
  // A failed world is known to its test, which has left no process behind.
  rondel::detail::mpi_world_has_failed().store(false);
  if (rank == 0 || failed != 0) {
    std::printf("rank %d of %d\n%s\n", rank, test::mpi_ranks(), said.str().c_str());
    std::fflush(stdout);
  }
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  return failed;
}
