#pragma once
// NCCL worlds over the fakes, and what they must leave behind.
#include <rondel/nccl.hpp>

#include "../cuda/engine.hpp"
#include "communicator.hpp"
#include "message_of.hpp"
#include "sanitized.hpp"

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fake_cuda/fake_cuda.hpp>
#include <fake_cuda/kernels.hpp>
#include <fake_nccl/fake_nccl.hpp>

namespace test {

// After a failure a stream may be destroyed while it drains.
struct lenient_tag {};
inline constexpr lenient_tag lenient;

// The machine and the library for one test. In the end nobody has misused either, and nothing is
// left.
class nccl_machine {
 public:
  explicit nccl_machine(const fake_nccl::settings& how = {}, int devices = 4)
      : machine_({.devices = devices, .seed = how.seed}) {
    fake_nccl::reset(how);
  }
  nccl_machine(const fake_nccl::settings& how, lenient_tag)
      : machine_({.devices = 4, .seed = how.seed, .strict_destroy = false}) {
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

[[nodiscard]] inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What a rank's program ended with: the kind of its exception, and its words.
struct outcome {
  std::string kind = "ended";
  std::string text;
};

template <class F>
outcome outcome_of(F&& f) {
  try {
    f();
    return {};
  } catch (const rondel::peer_failed& e) {
    return {"peer_failed", e.what()};
  } catch (const rondel::timed_out& e) {
    return {"timed_out", e.what()};
  } catch (const rondel::mismatched_operation& e) {
    return {"mismatched_operation", e.what()};
  } catch (const rondel::communication_error& e) {
    return {"communication_error", e.what()};
  }
}

// For `outcomes`: the program gets the world's own communicator, which faults of the library
// strike.
inline constexpr struct world_tag {
} world;

// Runs `program(rank, communicator, stream)`; other exceptions than those of communication leave
// the rank. `wrap` makes the communicator of a duplicate.
template <class Wrap, class Program>
std::vector<outcome> outcomes(const rondel::nccl& engine, const Wrap& wrap,
                              const Program& program) {
  std::vector<outcome> out(static_cast<std::size_t>(engine.ranks));
  const auto run = [&](auto& rank, auto& comm) {
    auto stream = rank.device().make_stream("test");
    program(rank.rank(), comm, stream);
    stream.synchronize();
  };
  try {
    rondel::run(engine, [&](auto& rank) {
      outcome& own = out[static_cast<std::size_t>(rank.rank())];
      own = {"left", ""};
      own = outcome_of([&] {
        if constexpr (std::is_same_v<Wrap, world_tag>) {
          run(rank, rank.world());
        } else {
          auto comm = wrap(rank.world().duplicate());
          run(rank, comm);
        }
      });
    });
  } catch (const std::exception&) {
    // What the ranks that left saw is in `out`.
  }
  return out;
}

}  // namespace test
