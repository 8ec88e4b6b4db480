// The code blocks of docs/mpi.md and of the README about launching, run by the processes of an MPI
// job.
#include <rondel/comm/fingerprint.hpp>
#include <rondel/mpi.hpp>
#include <rondel/rondel.hpp>

#include <cstdio>
#include <cstdlib>
#include <span>

namespace {

void check(bool right, const char* what) {
  if (right) return;
  std::printf("wrong: %s\n", what);
  std::abort();
}

//! [launch]
// One source for threads and processes; what started the program chooses.
double mean_of_ranks(const rondel::launch_options& options) {
  const rondel::engines<rondel::threads, rondel::mpi> engines;
  return rondel::launch(engines, options,
                        [](auto& rank) {
                          auto stream = rank.device().make_stream();
                          auto x = rondel::make_array<double>(rank.device(), stream, 1);
                          stream.launch({.name = "fill"},
                                        [x = x.span(), r = rank.rank()] { x.data()[0] = r; });
                          rondel::all_reduce(rank.world(), stream, x.span(), rondel::mean{});
                          double mean = 0;
                          rondel::download(stream, std::span(&mean, 1), x.span());
                          stream.synchronize();
                          return mean;
                        })
      .front();
}
//! [launch]

void adopt(MPI_Comm comm) {
  //! [adopt]
  // `comm` is the user's; the world has a duplicate of it, so messages of both never meet.
  const auto world = rondel::make_mpi_world(comm, {.timeout = {30}});
  {
    rondel::host_device device;
    rondel::mpi_communicator<> ranks(world, device, {30});
    auto stream = device.make_stream();
    rondel::barrier(ranks, stream);
  }
  world->close({30});  // collective; the next world on `comm` uses the duplicate again
  //! [adopt]
}

}  // namespace

int main() {
  //! [run]
  const rondel::mpi_environment environment;  // MPI, unless somebody has initialised it
  const int ranks = rondel::run(rondel::mpi{.timeout = {30}}, [](auto& rank) {
    auto stream = rank.device().make_stream();
    rondel::fingerprint_communicator checked(rank.world().duplicate());  // the checked mode
    rondel::barrier(checked, stream);
    return rank.size();
  });
  //! [run]
  int expected = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &expected);
  check(ranks == expected, "ranks");
  check(mean_of_ranks({}) == (expected - 1) / 2.0, "mean of processes");
  check(mean_of_ranks({.engine = "threads", .ranks = 3}) == 1, "mean of threads");
  adopt(MPI_COMM_WORLD);
}
