// Time of one collective of thread ranks on immediate streams, by bytes of the larger buffer and
// number of ranks: the engine's own forms, and the generic ones over messages.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/device/array.hpp>
#include <rondel/launch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <benchmark/benchmark.h>

namespace {

enum class kind { all_reduce, reduce_scatter, all_gather, all_to_all };

template <class C>
void call(kind what, C& comm, rondel::host_stream& stream, rondel::device_span<float> whole,
          rondel::device_span<float> other) {
  const std::size_t block = whole.size() / static_cast<std::size_t>(comm.size());
  switch (what) {
    case kind::all_reduce:
      return rondel::all_reduce(comm, stream, whole, other);
    case kind::reduce_scatter:
      return rondel::reduce_scatter(comm, stream, whole, other.first(block));
    case kind::all_gather:
      return rondel::all_gather(comm, stream, other.first(block), whole);
    case kind::all_to_all:
      return rondel::all_to_all(comm, stream, whole, other);
  }
}

// Seconds a call, of the slowest rank.
template <class C>
double seconds_of(kind what, C& comm, rondel::host_device& device, std::size_t bytes) {
  using clock = std::chrono::steady_clock;
  auto stream = device.make_stream();
  auto whole = rondel::make_array<float>(device, stream, bytes / sizeof(float));
  auto other = rondel::make_array<float>(device, stream, bytes / sizeof(float));
  for (auto& array : {whole.span(), other.span()}) {
    stream.launch({.name = "fill"}, [array] { std::fill_n(array.data(), array.size(), 1.0F); });
  }
  const auto repeat = [&](int calls) {
    const auto start = clock::now();
    for (int i = 0; i < calls; ++i) call(what, comm, stream, whole.span(), other.span());
    return std::chrono::duration<double>(clock::now() - start).count();
  };
  const int calls =
      static_cast<int>(std::clamp<std::size_t>((std::size_t{64} << 20) / bytes, 3, 2000));
  repeat(calls / 3 + 1);
  return repeat(calls) / calls;
}

void collective(benchmark::State& state, kind what, bool generic) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const rondel::threads engine{.ranks = static_cast<int>(state.range(1))};
  for (auto _ : state) {
    const auto times = rondel::run(engine, [&](auto& rank) {
      if (!generic) return seconds_of(what, rank.world(), rank.device(), bytes);
      rondel::send_recv_only comm(rank.world().duplicate());
      return seconds_of(what, comm, rank.device(), bytes);
    });
    state.SetIterationTime(*std::max_element(times.begin(), times.end()));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void sizes(benchmark::internal::Benchmark* b) {
  for (const int ranks : {2, 4}) {
    for (std::int64_t bytes = 1024; bytes <= 64 << 20; bytes *= 4) b->Args({bytes, ranks});
  }
  b->UseManualTime()->Iterations(5)->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(collective, all_reduce, kind::all_reduce, false)->Apply(sizes);
BENCHMARK_CAPTURE(collective, reduce_scatter, kind::reduce_scatter, false)->Apply(sizes);
BENCHMARK_CAPTURE(collective, all_gather, kind::all_gather, false)->Apply(sizes);
BENCHMARK_CAPTURE(collective, all_to_all, kind::all_to_all, false)->Apply(sizes);
BENCHMARK_CAPTURE(collective, all_reduce_generic, kind::all_reduce, true)->Apply(sizes);

}  // namespace
