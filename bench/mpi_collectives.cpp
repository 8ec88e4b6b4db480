// The collectives of an MPI library, timed as bench_collectives times rondel's: run it by mpirun.
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include "batch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <mpi.h>

namespace {

using bench::collective;

// All processes run the benchmarks, the first one reports them.
class silent_reporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

void check(int code) {
  if (code != MPI_SUCCESS) MPI_Abort(MPI_COMM_WORLD, code);
}

void call(collective what, float* whole, float* other, int count, int ranks) {
  const int block = count / ranks;
  switch (what) {
    case collective::all_reduce:
      return check(MPI_Allreduce(whole, other, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
    case collective::reduce_scatter:
      return check(
          MPI_Reduce_scatter_block(whole, other, block, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
    case collective::all_gather:
      return check(MPI_Allgather(other, block, MPI_FLOAT, whole, block, MPI_FLOAT, MPI_COMM_WORLD));
    case collective::all_to_all:
      return check(MPI_Alltoall(whole, block, MPI_FLOAT, other, block, MPI_FLOAT, MPI_COMM_WORLD));
  }
}

void time(benchmark::State& state, collective what) {
  const auto count = static_cast<std::size_t>(state.range(0)) / sizeof(float);
  // Memory as rondel's ranks have it, so that both sides copy from and to the same kind of pages.
  rondel::host_device device;
  auto stream = device.make_stream();
  auto whole = rondel::make_array<float>(device, stream, count);
  auto other = rondel::make_array<float>(device, stream, count);
  std::fill_n(whole.span().data(), count, 1.0F);
  std::fill_n(other.span().data(), count, 1.0F);
  const auto slowest = [](double mine) {
    double out = 0;
    check(MPI_Allreduce(&mine, &out, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
    return out;
  };
  for (auto _ : state) {
    state.SetIterationTime(bench::seconds_a_call(slowest, [&] {
      call(what, whole.span().data(), other.span().data(), static_cast<int>(count),
           static_cast<int>(state.range(1)));
    }));
  }
  state.SetBytesProcessed(state.range(0));
}

}  // namespace

int main(int argc, char** argv) {
  check(MPI_Init(&argc, &argv));
  int rank = 0;
  int ranks = 0;
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  check(MPI_Comm_size(MPI_COMM_WORLD, &ranks));
  for (const auto& [name, what] : {std::pair{"all_reduce/mpi", collective::all_reduce},
                                   {"reduce_scatter/mpi", collective::reduce_scatter},
                                   {"all_gather/mpi", collective::all_gather},
                                   {"all_to_all/mpi", collective::all_to_all}}) {
    auto* const b = benchmark::RegisterBenchmark(
        name, [what = what](benchmark::State& state) { time(state, what); });
    bench::sizes(b, ranks);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  silent_reporter silent;
  benchmark::RunSpecifiedBenchmarks(rank == 0 ? nullptr : &silent);
  check(MPI_Finalize());
}
