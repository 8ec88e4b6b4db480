// What rondel's collectives over MPI take beside raw calls of the same MPI library, in one run in
// which both take turns. Run it by mpirun with ranks kept on cores; the first one prints a table:
// the median of the ratios of neighbouring turns.
// Usage: bench_mpi_overhead [<smallest KiB> [<largest KiB> [<turns>]]]
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/mpi.hpp>

#include "batch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

void check(int code) {
  if (code != MPI_SUCCESS) MPI_Abort(MPI_COMM_WORLD, code);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

struct turn {
  double raw, ours;
};

// Lets `raw` and `ours` take turns, and prints a line.
template <class Raw, class Ours>
void compare(const char* name, std::size_t bytes, int turns, const Raw& raw, const Ours& ours) {
  const auto slowest = [](double mine) {
    double out = 0;
    check(MPI_Allreduce(&mine, &out, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
    return out;
  };
  std::vector<double> raws, all_ours, ratios;
  for (int i = 0; i < turns; ++i) {
    // Who comes first alternates, so that neither always finds the other's cache.
    turn t{};
    if (i % 2 == 0) t.raw = bench::seconds_a_call(slowest, raw);
    t.ours = bench::seconds_a_call(slowest, ours);
    if (i % 2 != 0) t.raw = bench::seconds_a_call(slowest, raw);
    raws.push_back(t.raw);
    all_ours.push_back(t.ours);
    ratios.push_back(t.ours / t.raw);
  }
  int rank = 0;
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  if (rank != 0) return;
  std::printf("%-16s %9zu B  raw %10.2f us  rondel %10.2f us  ratio %.3f\n", name, bytes,
              median(raws) * 1e6, median(all_ours) * 1e6, median(ratios));
  std::fflush(stdout);
}

template <class C>
void compare_all(C& world, rondel::host_device& device, std::size_t bytes, int turns) {
  auto stream = device.make_stream();
  const std::size_t count = bytes / sizeof(float);
  const int n = static_cast<int>(count);
  const int ranks = world.size();
  const int me = world.rank();
  const int block = n / ranks;
  const int next = (me + 1) % ranks, previous = (me + ranks - 1) % ranks;
  auto a = rondel::make_array<float>(device, stream, count);
  auto b = rondel::make_array<float>(device, stream, count);
  std::fill_n(a.span().data(), count, 1.0F);
  std::fill_n(b.span().data(), count, 1.0F);
  float* const x = a.span().data();
  float* const y = b.span().data();
  const auto part = b.span().first(static_cast<std::size_t>(block));
  const MPI_Comm all = MPI_COMM_WORLD;

  compare(
      "send_recv", bytes, turns,
      [&] {
        check(MPI_Sendrecv(x, n, MPI_FLOAT, next, 0, y, n, MPI_FLOAT, previous, 0, all,
                           MPI_STATUS_IGNORE));
      },
      [&] { rondel::send_recv(world, stream, a.span(), next, b.span(), previous); });
  compare(
      "broadcast", bytes, turns, [&] { check(MPI_Bcast(x, n, MPI_FLOAT, 0, all)); },
      [&] { rondel::broadcast(world, stream, a.span(), 0); });
  compare(
      "all_gather", bytes, turns,
      [&] { check(MPI_Allgather(y, block, MPI_FLOAT, x, block, MPI_FLOAT, all)); },
      [&] { rondel::all_gather(world, stream, part, a.span()); });
  compare(
      "all_to_all", bytes, turns,
      [&] { check(MPI_Alltoall(x, block, MPI_FLOAT, y, block, MPI_FLOAT, all)); },
      [&] { rondel::all_to_all(world, stream, a.span(), b.span()); });
  compare(
      "reduce_scatter", bytes, turns,
      [&] { check(MPI_Reduce_scatter_block(x, y, block, MPI_FLOAT, MPI_SUM, all)); },
      [&] { rondel::reduce_scatter(world, stream, a.span(), part); });
  compare(
      "all_reduce", bytes, turns, [&] { check(MPI_Allreduce(x, y, n, MPI_FLOAT, MPI_SUM, all)); },
      [&] { rondel::all_reduce(world, stream, a.span(), b.span()); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int i, std::size_t otherwise) {
    return argc > i ? static_cast<std::size_t>(std::atoll(argv[i])) : otherwise;
  };
  const std::size_t smallest = argument(1, 64) << 10, largest = argument(2, 65536) << 10;
  const int turns = static_cast<int>(argument(3, 5));
  rondel::run(rondel::mpi{}, [&](auto& rank) {
    if (rank.rank() == 0) {
      std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> version{};
      int length = 0;
      check(MPI_Get_library_version(version.data(), &length));
      std::printf("%.40s, %d ranks, %s\n", version.data(), rank.size(),
                  rondel::detail::mpi_level_name(rondel::mpi_environment::thread_level()));
    }
    for (std::size_t bytes = smallest; bytes <= largest; bytes *= 4) {
      compare_all(rank.world(), rank.device(), bytes, turns);
    }
  });
}
