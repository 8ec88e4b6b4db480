// Threads and processes give the same bits: for each rank, every reduction of every element type.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/reduce_scatter.hpp>

#include "communicator.hpp"
#include "support.hpp"

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

namespace {

// What a rank computes: the bytes of all results, one after the other.
template <class C>
std::vector<std::byte> results_of(C& comm, rondel::host_device& device) {
  auto stream = device.make_stream();
  std::vector<std::byte> out;
  const auto keep = [&](const auto& values) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(values.data());
    out.insert(out.end(), bytes, bytes + values.size() * sizeof(values[0]));
  };
  const auto of = [&]<class T>(std::type_identity<T>, const auto& op) {
    // Whole, in one piece, in several pieces.
    for (const std::size_t count : {std::size_t{5}, std::size_t{20'001}, std::size_t{300'001}}) {
      test::uploaded<T> x(device, stream, conformance::random_values<T>(comm.rank(), count));
      const rondel::balanced_blocks blocks(count, comm.size());
      test::uploaded<T> part(device, stream, std::vector<T>(blocks.size(comm.rank())));
      rondel::reduce_scatter_v(comm, stream, x.span(), part.span(), blocks, op);
      rondel::all_reduce(comm, stream, x.span(), op);
      keep(conformance::download(stream, part.span()));
      keep(conformance::download(stream, x.span()));
    }
  };
  const auto all = [&](const auto& op) {
    of(std::type_identity<double>{}, op);
    of(std::type_identity<float>{}, op);
    of(std::type_identity<rondel::bfloat16>{}, op);
    of(std::type_identity<rondel::float16>{}, op);
    of(std::type_identity<std::int32_t>{}, op);
  };
  all(rondel::sum{});
  all(rondel::mean{});
  all(conformance::keep_first{});
  return out;
}

TEST_CASE("threads and processes give the same bits") {
  const int ranks = test::mpi_ranks();
  const auto expected = rondel::run(rondel::threads{.ranks = ranks, .timeout = {60}},
                                    [](auto& r) { return results_of(r.world(), r.device()); });
  for (const std::size_t limit : {std::size_t{1} << 30, std::size_t{4096}}) {
    const auto got = rondel::run(rondel::mpi{.timeout = {60}, .message_limit = limit},
                                 [](auto& r) { return results_of(r.world(), r.device()); });
    const auto& wanted = expected[static_cast<std::size_t>(test::mpi_rank())];
    REQUIRE(got.size() == wanted.size());
    CHECK(std::memcmp(got.data(), wanted.data(), got.size()) == 0);
  }
}

}  // namespace
