#include "device.hpp"
#include "engine.hpp"
#include "stream.hpp"

#include <doctest/doctest.h>

namespace {

template <unsigned Seed>
struct machine {
  static constexpr unsigned seed = Seed;
};

// The suite ends in a machine on which nothing was misused and nothing is left.
template <class Suite>
void on_machine(unsigned seed, const Suite& suite) {
  fake_cuda::runtime machine({.seed = seed});
  suite();
  for (const auto& problem : machine.finish()) FAIL_CHECK(problem);
}

}  // namespace

TEST_CASE_TEMPLATE("streams", Machine, machine<0>, machine<1>, machine<2>, machine<3>) {
  on_machine(Machine::seed, [] { conformance::stream_conformance<test::cuda_engine>(); });
}

TEST_CASE_TEMPLATE("devices", Machine, machine<0>, machine<1>, machine<2>, machine<3>) {
  on_machine(Machine::seed, [] { conformance::device_conformance<test::cuda_engine>(); });
}
