#pragma once
// Ranks that are threads with a `cuda_device` each, on the fake runtime.
#include <rondel/comm/cuda_threads.hpp>

#include "engine.hpp"

#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fake_cuda/kernels.hpp>

namespace test {

using cuda_communicator = rondel::thread_communicator<rondel::cuda_device>;

struct cuda_world {
  int ranks = 1;
  bool one_each = true;  // one GPU each, or all on one
  rondel::seconds timeout{60};
};

// Runs `f(communicator)` on every rank's thread; returns what each has thrown, empty if nothing.
// Whoever throws fails the world, as under `run`.
template <class F>
[[nodiscard]] std::vector<std::string> errors_of(const cuda_world& world, const F& f) {
  const auto ranks = static_cast<std::size_t>(world.ranks);
  std::vector<std::string> errors(ranks);
  const auto group = rondel::make_thread_group(world.ranks);
  std::vector<rondel::cuda_device> devices;
  for (int r = 0; r < world.ranks; ++r) {
    devices.emplace_back(rondel::cuda_options{.ordinal = world.one_each ? r : 0, .rank = r});
  }
  std::vector<std::thread> threads;
  for (int r = 0; r < world.ranks; ++r) {
    threads.emplace_back([&, r] {
      const auto i = static_cast<std::size_t>(r);
      try {
        cuda_communicator comm(group, r, devices[i], world.timeout);
        try {
          f(comm);
        } catch (const std::exception& e) {
          comm.abort(e.what());
          throw;
        }
      } catch (const std::exception& e) {
        errors[i] = e.what();
        group->world().fail(r, e.what());
      }
    });
  }
  for (auto& t : threads) t.join();
  return errors;
}

template <class F>
void on_cuda_world(const cuda_world& world, const F& f) {
  for (const std::string& error : errors_of(world, f)) {
    if (!error.empty()) FAIL_CHECK(error);
  }
}

}  // namespace test
