#pragma once
// NCCL worlds over the fakes, and what they must leave behind.
#include <rondel/nccl.hpp>

#include "../cuda/engine.hpp"
#include "communicator.hpp"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fake_cuda/fake_cuda.hpp>
#include <fake_cuda/kernels.hpp>
#include <fake_nccl/fake_nccl.hpp>

namespace test {

// The machine and the library for one test. In the end nobody has misused either, and nothing is
// left, unless the test asks for that.
class nccl_machine {
 public:
  explicit nccl_machine(const fake_nccl::settings& how = {}, int devices = 4)
      : machine_({.devices = devices, .seed = how.seed}) {
    fake_nccl::reset(how);
  }
  nccl_machine(const nccl_machine&) = delete;
  nccl_machine& operator=(const nccl_machine&) = delete;
  ~nccl_machine() {
    for (const auto& words : all()) FAIL_CHECK(words);
  }

  // Everything that was wrong so far, after which it is forgotten.
  [[nodiscard]] std::vector<std::string> all() {
    std::vector<std::string> out = fake_nccl::misuse();
    for (auto& one : fake_nccl::leaks()) out.push_back(std::move(one));
    for (auto& one : machine_.finish()) out.push_back(std::move(one));
    fake_nccl::reset();
    return out;
  }
  [[nodiscard]] fake_cuda::runtime& cuda() noexcept { return machine_; }

 private:
  fake_cuda::runtime machine_;
};

// Runs `f(rank)` and reports what comes out as a failed check.
template <class F>
void on_nccl(const rondel::nccl& engine, F&& f) {
  CAPTURE(engine.ranks);
  try {
    rondel::run(engine, std::forward<F>(f));
  } catch (const std::exception& e) {
    FAIL_CHECK(std::string(e.what()));
  }
}

}  // namespace test
