// y = A x with A(i, j) = |i - j| and x = (1, 2, 3, 4) on four ranks. Rank i owns row i of A and
// element i of x; the other elements come to it round the ring of ranks.
#include <rondel/rondel.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <span>

int main() {
  const rondel::threads engine{.ranks = 4, .streams = rondel::stream_mode::worker};
  rondel::run(engine, [](auto& rank) {
    rondel::ledger moved;
    rondel::ledger_communicator world(rank.world().duplicate(), moved);
    auto& device = rank.device();
    auto compute = device.make_stream("compute"), link = device.make_stream("link");

    const int i = rank.rank();
    const auto array = [&](std::size_t n) {
      return rondel::make_array<double>(device, compute, n);
    };
    auto x = array(1), spare = array(1), sum = array(1), y = array(4);
    compute.launch({.name = "fill"}, [i, x = x.span(), y_i = sum.span()] {
      *x.data() = i + 1;
      *y_i.data() = 0;
    });
    rondel::ring_pass(world, compute, link, std::array{x.span(), spare.span()},
                      [&](auto x_j, int j, int) {
                        compute.launch({.name = "A x", .flops = 2}, [i, j, x_j, y_i = sum.span()] {
                          *y_i.data() += std::abs(i - j) * *x_j.data();
                        });
                      });
    rondel::all_gather(world, compute, sum.span(), y.span());

    std::array<double, 4> result{};
    rondel::download(compute, std::span(result), y.span());
    compute.synchronize();
    if (i != 0) return;
    std::printf("y = (%g, %g, %g, %g)\n\n", result[0], result[1], result[2], result[3]);
    std::printf("%s", rondel::to_table(moved, "what rank 0 moved").c_str());
  });
}
