#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>

// What the comparisons of collectives share, so that all of them are timed in one way: sizes are
// those of the larger buffer of a call, and a figure is the seconds a call takes on the slowest
// rank, in a batch that lasts about 20 ms.
namespace bench {

enum class collective : std::uint8_t { all_reduce, reduce_scatter, all_gather, all_to_all };

inline constexpr std::size_t largest_bytes = std::size_t{64} << 20;

inline void sizes(benchmark::internal::Benchmark* b, int ranks) {
  for (std::size_t bytes = 1024; bytes <= largest_bytes; bytes *= 4) {
    b->Args({static_cast<std::int64_t>(bytes), ranks});
  }
  // One batch a run: whoever compares programs lets them take turns, and takes the median.
  b->UseManualTime()->Iterations(1)->Unit(benchmark::kMicrosecond);
}

// Seconds one of the `call`s takes. All ranks must be here; `slowest(x)` is the largest `x` of
// all ranks, and lets none go before all have come.
template <class Slowest, class Call>
double seconds_a_call(const Slowest& slowest, const Call& call) {
  constexpr double batch = 0.02;
  const auto repeat = [&](int calls) {
    using clock = std::chrono::steady_clock;
    (void)slowest(0);
    const auto start = clock::now();
    for (int i = 0; i < calls; ++i) call();
    return slowest(std::chrono::duration<double>(clock::now() - start).count()) / calls;
  };
  const auto calls = [](double seconds, double one) {
    return static_cast<int>(std::clamp(std::ceil(seconds / one), 1.0, 200'000.0));
  };
  const double cold = repeat(1);
  const double warm = repeat(calls(batch / 5, cold));
  return repeat(calls(batch, warm));
}

}  // namespace bench
