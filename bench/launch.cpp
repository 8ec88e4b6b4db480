// What a launch costs on a host stream, and what a timeline adds when it is absent, stopped or
// recording. The kernel is as small as kernels get, so that the difference shows.
#include <rondel/device/host.hpp>
#include <rondel/trace/timeline.hpp>

#include <cstddef>

#include <benchmark/benchmark.h>

namespace {

enum recorder_state : int { absent, stopped, recording };

void launch(benchmark::State& state, rondel::stream_mode mode, recorder_state recorder) {
  rondel::timeline timeline(std::size_t{1} << 16);
  if (recorder != recording) timeline.stop();
  rondel::host_device device({.recorder = recorder == absent ? nullptr : &timeline});
  auto stream = device.make_stream("bench", mode);
  int counter = 0;
  constexpr int batch = 1000;
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) {
      stream.launch({.name = "count", .flops = 1},
                    [&counter] { benchmark::DoNotOptimize(++counter); });
    }
    stream.synchronize();
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

BENCHMARK_CAPTURE(launch, immediate_no_timeline, rondel::stream_mode::immediate, absent);
BENCHMARK_CAPTURE(launch, immediate_stopped, rondel::stream_mode::immediate, stopped);
BENCHMARK_CAPTURE(launch, immediate_recording, rondel::stream_mode::immediate, recording);
BENCHMARK_CAPTURE(launch, worker_no_timeline, rondel::stream_mode::worker, absent)->UseRealTime();
BENCHMARK_CAPTURE(launch, worker_stopped, rondel::stream_mode::worker, stopped)->UseRealTime();

}  // namespace
