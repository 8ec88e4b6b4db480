#include <rondel/comm/blocks.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

namespace {

// What the concept promises of every model: no gaps, in order, all covered.
template <rondel::block_sizes Blocks>
void check_blocks(const Blocks& blocks, const std::vector<std::size_t>& sizes) {
  REQUIRE(blocks.ranks() == static_cast<int>(sizes.size()));
  std::size_t at = 0;
  for (int i = 0; i < blocks.ranks(); ++i) {
    CAPTURE(i);
    CHECK(blocks.offset(i) == at);
    CHECK(blocks.size(i) == sizes[static_cast<std::size_t>(i)]);
    at += blocks.size(i);
  }
  CHECK(blocks.offset(blocks.ranks()) == at);
  CHECK(blocks.total() == at);
}

}  // namespace

TEST_CASE("even blocks") {
  check_blocks(rondel::even_blocks(5, 3), {5, 5, 5});
  check_blocks(rondel::even_blocks(7, 1), {7});
  check_blocks(rondel::even_blocks(0, 4), {0, 0, 0, 0});
  CHECK(rondel::even_blocks(5, 3).layout() == 0);
}

TEST_CASE("balanced blocks") {
  check_blocks(rondel::balanced_blocks(10, 4), {3, 3, 2, 2});
  check_blocks(rondel::balanced_blocks(8, 4), {2, 2, 2, 2});
  check_blocks(rondel::balanced_blocks(2, 5), {1, 1, 0, 0, 0});
  check_blocks(rondel::balanced_blocks(0, 3), {0, 0, 0});
  check_blocks(rondel::balanced_blocks(6, 1), {6});
  CHECK(rondel::balanced_blocks(10, 4).layout() == 0);
}

TEST_CASE("balanced blocks of every small size") {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (std::size_t total = 0; total <= 40; ++total) {
      CAPTURE(ranks);
      CAPTURE(total);
      const rondel::balanced_blocks blocks(total, ranks);
      std::size_t at = 0;
      for (int i = 0; i < ranks; ++i) {
        CHECK(blocks.offset(i) == at);
        CHECK(blocks.size(0) - blocks.size(i) <= 1);
        at += blocks.size(i);
      }
      CHECK(at == total);
    }
  }
}

TEST_CASE("uneven blocks") {
  const std::vector<std::size_t> sizes = {3, 0, 5, 0};
  check_blocks(rondel::uneven_blocks(sizes), sizes);
  check_blocks(rondel::uneven_blocks(std::vector<std::size_t>{0, 0}), {0, 0});
  check_blocks(rondel::uneven_blocks(std::vector<std::size_t>{}), {});
  const rondel::uneven_blocks first(sizes);
  const rondel::uneven_blocks copy = first;  // NOLINT: copies share and must stay valid
  check_blocks(copy, sizes);
}

TEST_CASE("uneven blocks that overflow") {
  using sizes = std::vector<std::size_t>;
  CHECK_THROWS_AS(rondel::uneven_blocks(sizes{SIZE_MAX, 1}), rondel::invalid_argument);
  CHECK_THROWS_AS(rondel::uneven_blocks(sizes{SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1}),
                  rondel::invalid_argument);
  CHECK(rondel::uneven_blocks(sizes{SIZE_MAX, 0}).total() == SIZE_MAX);
}

TEST_CASE("the layout tells uneven blocks apart") {
  using sizes = std::vector<std::size_t>;
  const auto layout = [](const sizes& s) { return rondel::uneven_blocks(s).layout(); };
  CHECK(layout({1, 2, 3}) == layout({1, 2, 3}));
  CHECK(layout({}) != 0);
  std::vector<std::uint64_t> seen;
  for (std::size_t a = 0; a < 8; ++a) {
    for (std::size_t b = 0; b < 8; ++b) {
      for (std::size_t c = 0; c < 8; ++c) {
        const std::uint64_t mine = layout({a, b, c});
        CHECK(mine != 0);
        for (const std::uint64_t other : seen) {
          if (mine == other) FAIL_CHECK("two layouts with the same hash");
        }
        seen.push_back(mine);
      }
    }
  }
}
