#include <rondel/rondel.hpp>

#include <iostream>
#include <span>

// Two ranks add their numbers up; fails unless every rank has the sum.
int main() {
  const auto sums = rondel::run(rondel::threads{.ranks = 2}, [](auto& rank) {
    auto stream = rank.device().make_stream();
    auto x = rondel::make_array<float>(rank.device(), stream, 1);
    float value = static_cast<float>(rank.rank() + 1);
    rondel::upload(stream, x.span(), std::span(&value, 1));
    rondel::all_reduce(rank.world(), stream, x.span());
    rondel::download(stream, std::span(&value, 1), x.span());
    stream.synchronize();
    return value;
  });
  std::cout << "rondel " << RONDEL_VERSION_MAJOR << '.' << RONDEL_VERSION_MINOR << '.'
            << RONDEL_VERSION_PATCH << ": " << sums[0] << ", " << sums[1] << '\n';
  return sums[0] == 3 && sums[1] == 3 ? 0 : 1;
}
