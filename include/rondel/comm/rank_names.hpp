#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace rondel::detail {

// What the ranks of a communicator were called in the one that it was split from first.
class rank_names {
 public:
  explicit rank_names(int size) {
    for (int r = 0; r < size; ++r) names_.push_back(r);
  }

  // The names in `part`, a split of this communicator, in which this one's rank `rank` takes
  // part. Collective over `part`.
  template <class C>
  [[nodiscard]] rank_names of_part(int rank, C& part) const {
    rank_names out(part.size());
    const int own = (*this)[rank];
    part.exchange_host(std::as_bytes(std::span(&own, 1)),
                       std::as_writable_bytes(std::span(out.names_)));
    return out;
  }

  [[nodiscard]] int operator[](int rank) const noexcept {
    return names_[static_cast<std::size_t>(rank)];
  }

 private:
  std::vector<int> names_;
};

}  // namespace rondel::detail
