#include <rondel/collective/all_reduce.hpp>
#include <rondel/comm/faulty.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "host_data.hpp"
#include "worlds.hpp"

#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace {

// All ranks' results of a sum of random floats, without a fixed order, under delays of `seed`.
std::vector<std::vector<std::byte>> sums(bool generic, std::uint64_t seed,
                                         rondel::stream_mode mode) {
  return rondel::run(rondel::threads{.ranks = 4, .streams = mode, .timeout = {60}},
                     [&](auto& rank) {
                       const auto total = [&](auto comm) {
                         auto stream = rank.device().make_stream("test");
                         std::mt19937 random(static_cast<unsigned>(rank.rank()));
                         std::vector<float> values(3001);
                         for (float& x : values) x = std::normal_distribution<float>(0, 1)(random);
                         test::uploaded<float> x(rank.device(), stream, values);
                         for (int i = 0; i < 5; ++i) rondel::all_reduce(comm, stream, x.span());
                         return test::bits(test::download(stream, x.span()));
                       };
                       const rondel::fault_plan delays{.jitter = {3e-4}, .seed = seed};
                       if (generic) {
                         return total(rondel::faulty_communicator(
                             rondel::send_recv_only(rank.world().duplicate()), delays));
                       }
                       return total(rondel::faulty_communicator(rank.world().duplicate(), delays));
                     });
}

TEST_CASE("without a fixed order, runs of one engine still agree bit for bit") {
  for (const bool generic : {false, true}) {
    const auto first = sums(generic, 1, rondel::stream_mode::immediate);
    for (std::size_t r = 1; r < first.size(); ++r) CHECK(first[r] == first[0]);
    for (std::uint64_t seed = 2; seed < 6; ++seed) {
      CHECK(sums(generic, seed, rondel::stream_mode::immediate) == first);
      CHECK(sums(generic, seed, rondel::stream_mode::worker) == first);
    }
  }
}

TEST_CASE("the ring sums in another order than the meeting, or the test above shows nothing") {
  CHECK(sums(true, 1, rondel::stream_mode::immediate) !=
        sums(false, 1, rondel::stream_mode::immediate));
}

}  // namespace
