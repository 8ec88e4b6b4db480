#include <rondel/core/operation.hpp>

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::dtype;
using rondel::operation;
using rondel::operation_kind;

constexpr operation base = {.kind = operation_kind::all_reduce,
                            .type = dtype::f32,
                            .reduction = "sum",
                            .root = -1,
                            .count = 1024,
                            .layout = 0};

}  // namespace

TEST_CASE("operations match when everything that ranks agree on does") {
  CHECK(matches(base, base));
  const std::string name = "sum";  // the text counts, not where it lies
  operation same = base;
  same.reduction = name.c_str();
  CHECK(matches(base, same));

  std::vector<operation> different(7, base);
  different[0].kind = operation_kind::reduce_scatter;
  different[1].type = dtype::i32;
  different[2].reduction = "max";
  different[3].root = 0;
  different[4].count = 1025;
  different[5].layout = 1;
  different[6].in_rank_order = true;
  for (const operation& other : different) {
    CAPTURE(to_string(other));
    CHECK_FALSE(matches(base, other));
    CHECK_FALSE(matches(other, base));
    CHECK(matches(other, other));
  }
}

TEST_CASE("operations for a reader") {
  CHECK(to_string(base) == "all_reduce(sum, 1024 x f32)");
  operation ordered = base;
  ordered.in_rank_order = true;
  CHECK(to_string(ordered) == "all_reduce(sum in rank order, 1024 x f32)");
  CHECK(to_string(operation{
            .kind = operation_kind::broadcast, .type = dtype::bf16, .root = 2, .count = 7}) ==
        "broadcast(root 2, 7 x bf16)");
  CHECK(to_string(operation{.kind = operation_kind::all_gather, .type = dtype::u8}) ==
        "all_gather(0 x u8)");
  CHECK(to_string(
            operation{.kind = operation_kind::all_to_all, .type = dtype::f64, .layout = 0x12345}) ==
        "all_to_all(f64, uneven)");
  CHECK(to_string(operation{.kind = operation_kind::barrier}) == "barrier");
  CHECK(to_string(operation{.kind = operation_kind::send_recv, .count = 3}) == "send_recv");
  CHECK(to_string(operation{}) == "none");
}

TEST_CASE("every kind has a name of its own") {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(operation_kind::exchange_host); ++i) {
    names.emplace_back(to_string(static_cast<operation_kind>(i)));
  }
  CHECK(names.front() == "none");
  CHECK(names.back() == "exchange_host");
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(names[i] != names[j]);
  }
}

TEST_CASE("messages between two ranks are no collective") {
  CHECK(is_collective(operation_kind::all_reduce));
  CHECK(is_collective(operation_kind::barrier));
  CHECK(is_collective(operation_kind::split));
  CHECK_FALSE(is_collective(operation_kind::send_recv));
  CHECK_FALSE(is_collective(operation_kind::ring_pass));
  CHECK_FALSE(is_collective(operation_kind::none));
}
