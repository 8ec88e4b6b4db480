// Time of one collective of thread ranks, by bytes of the larger buffer and number of ranks: the
// engine's own form, and for all_reduce what the ring over messages, the wrappers and worker
// streams make of it; beside them what memory allows: as many bytes read and written by as many
// threads that need not wait for each other.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/comm/stream_copy.hpp>
#include <rondel/core/text.hpp>
#include <rondel/device/array.hpp>
#include <rondel/launch.hpp>

#include "batch.hpp"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace {

using bench::collective;

enum class form { threads, ring, ledger, fingerprint, worker, memory, streamed_memory };

// Keeps a rank on a core of its own while it is timed, as mpirun keeps its processes; where there
// are more ranks than cores, neither does.
class pinned {
 public:
#if defined(__linux__)
  pinned(int rank, int ranks) {
    if (static_cast<unsigned>(ranks) > std::thread::hardware_concurrency()) return;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(static_cast<std::size_t>(rank), &own);
    changed_ = pthread_getaffinity_np(pthread_self(), sizeof before_, &before_) == 0 &&
               pthread_setaffinity_np(pthread_self(), sizeof own, &own) == 0;
  }
  ~pinned() {
    if (changed_) pthread_setaffinity_np(pthread_self(), sizeof before_, &before_);
  }
#else
  pinned(int, int) {}
#endif
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;

#if defined(__linux__)
 private:
  cpu_set_t before_{};
  bool changed_ = false;
#endif
};

struct buffers {
  rondel::device_span<float> whole, other;
};

template <class C>
void call(collective what, C& comm, rondel::host_stream& stream, const buffers& b) {
  const std::size_t block = b.whole.size() / static_cast<std::size_t>(comm.size());
  switch (what) {
    case collective::all_reduce:
      return rondel::all_reduce(comm, stream, b.whole, b.other);
    case collective::reduce_scatter:
      return rondel::reduce_scatter(comm, stream, b.whole, b.other.first(block));
    case collective::all_gather:
      return rondel::all_gather(comm, stream, b.other.first(block), b.whole);
    case collective::all_to_all:
      return rondel::all_to_all(comm, stream, b.whole, b.other);
  }
}

// Reads and writes the bytes that a rank must for `what`, all in memory of its own.
void move_alone(collective what, int ranks, bool streaming, const buffers& b) {
  if (what != collective::reduce_scatter) {
    rondel::detail::copy_bytes(b.other.data(), b.whole.data(), b.whole.size_bytes(), streaming);
    rondel::detail::finish_streaming(streaming);
    return;
  }
  const std::size_t block = b.whole.size() / static_cast<std::size_t>(ranks);
  for (std::size_t i = 0; i < block; ++i) b.other.data()[i] = b.whole.data()[i];
  for (std::size_t r = 1; r < static_cast<std::size_t>(ranks); ++r) {
    for (std::size_t i = 0; i < block; ++i) b.other.data()[i] += b.whole.data()[r * block + i];
  }
}

template <class Rank>
double seconds_of(collective what, form how, Rank& rank, std::size_t bytes) {
  // Before a worker stream starts its thread, which shares the rank's core.
  const pinned here(rank.rank(), rank.size());
  auto stream = rank.device().make_stream();
  auto whole = rondel::make_array<float>(rank.device(), stream, bytes / sizeof(float));
  auto other = rondel::make_array<float>(rank.device(), stream, bytes / sizeof(float));
  const buffers b{whole.span(), other.span()};
  for (const auto& array : {b.whole, b.other}) {
    stream.launch({.name = "fill"}, [array] { std::fill_n(array.data(), array.size(), 1.0F); });
  }
  stream.synchronize();
  auto& world = rank.world();
  std::vector<double> all(static_cast<std::size_t>(rank.size()));
  const auto slowest = [&](double mine) {
    stream.synchronize();
    world.exchange_host(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
    return *std::max_element(all.begin(), all.end());
  };
  const auto time = [&](auto& comm) {
    return bench::seconds_a_call(slowest, [&] { call(what, comm, stream, b); });
  };
  switch (how) {
    case form::threads:
      return time(world);
    case form::ring: {
      rondel::send_recv_only comm(world.duplicate());
      return time(comm);
    }
    case form::ledger: {
      rondel::ledger book;
      rondel::ledger_communicator comm(world.duplicate(), book);
      return time(comm);
    }
    case form::fingerprint: {
      rondel::fingerprint_communicator comm(world.duplicate());
      return time(comm);
    }
    case form::worker:
      return bench::seconds_a_call(slowest, [&] {
        call(what, world, stream, b);
        stream.synchronize();
      });
    case form::memory:
    case form::streamed_memory:
      return bench::seconds_a_call(slowest, [&] {
        move_alone(what, rank.size(), how == form::streamed_memory, b);
        benchmark::ClobberMemory();
      });
  }
  return 0;
}

void time(benchmark::State& state, collective what, form how) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const rondel::threads engine{.ranks = static_cast<int>(state.range(1)),
                               .streams = how == form::worker ? rondel::stream_mode::worker
                                                              : rondel::stream_mode::immediate};
  for (auto _ : state) {
    const auto seconds =
        rondel::run(engine, [&](auto& rank) { return seconds_of(what, how, rank, bytes); });
    state.SetIterationTime(*std::max_element(seconds.begin(), seconds.end()));
  }
  state.SetBytesProcessed(state.range(0));
}

void add(collective what, const char* name, std::initializer_list<form> forms) {
  for (const form how : forms) {
    const char* const form_name = [&] {
      switch (how) {
        case form::threads:
          return "threads";
        case form::ring:
          return "ring";
        case form::ledger:
          return "ledger";
        case form::fingerprint:
          return "fingerprint";
        case form::worker:
          return "worker";
        case form::memory:
          return "memory";
        case form::streamed_memory:
          return "streamed_memory";
      }
      return "";
    }();
    auto* const b =
        benchmark::RegisterBenchmark(rondel::concat(name, "/", form_name).c_str(),
                                     [=](benchmark::State& state) { time(state, what, how); });
    for (const int ranks : {2, 4}) bench::sizes(b, ranks);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using enum form;
  add(collective::all_reduce, "all_reduce",
      {threads, ring, ledger, fingerprint, worker, memory, streamed_memory});
  add(collective::reduce_scatter, "reduce_scatter", {threads, memory});
  add(collective::all_gather, "all_gather", {threads, memory, streamed_memory});
  add(collective::all_to_all, "all_to_all", {threads, memory, streamed_memory});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
