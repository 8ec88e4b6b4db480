#pragma once
#include <rondel/launch.hpp>

#include <string>
#include <utility>

#include <doctest/doctest.h>

namespace test {

// Runs `f(rank)` on threads and reports what comes out as a failed check, on this thread.
template <class F>
void on_threads(const rondel::threads& engine, F&& f) {
  CAPTURE(engine.ranks);
  const bool worker = engine.streams == rondel::stream_mode::worker;
  CAPTURE(worker);
  try {
    rondel::run(engine, std::forward<F>(f));
  } catch (const std::exception& e) {
    FAIL_CHECK(std::string(e.what()));
  }
}

// Runs `f(communicator, stream)` for 1 to `most` ranks, on immediate and on worker streams; the
// communicator is what `wrap` makes of the world.
template <class Wrap, class F>
void on_worlds(int most, const Wrap& wrap, const F& f) {
  for (int ranks = 1; ranks <= most; ++ranks) {
    for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
      on_threads({.ranks = ranks, .streams = mode, .timeout = {60}}, [&](auto& rank) {
        auto comm = wrap(rank.world().duplicate());
        auto stream = rank.device().make_stream("test");
        f(comm, stream);
        stream.synchronize();
      });
    }
  }
}

}  // namespace test
