#pragma once
// A program with every operation in it, for sweeps over its steps.
#include "program.hpp"

namespace programs {

[[nodiscard]] inline program every_operation(int ranks, form f, rondel::stream_mode mode) {
  program p{.ranks = ranks, .mode = mode, .streams = 2, .forms = {f}};
  const auto add = [&](step s) {
    s.seed = 1000 + p.steps.size();
    p.steps.push_back(s);
  };
  using enum operation_kind;
  const dtype i32 = dtype::i32;
  add({.kind = all_reduce, .type = dtype::f32, .count = 200});
  add({.kind = send_recv, .type = i32, .count = 50, .chained = true});
  add({.kind = barrier});
  add({.kind = broadcast, .type = i32, .count = 40, .root = 1, .chained = true});
  add({.kind = reduce_scatter, .type = i32, .count = 30, .in_place = true});
  add({.kind = all_gather, .type = i32, .count = 20, .chained = true});
  add({.kind = exchange_host, .count = 8});
  add({.kind = gather, .type = i32, .count = 10, .root = 0});
  add({.kind = ring_pass, .other = 1, .type = i32, .count = 25, .chained = true});
  step rows{.kind = operation_kind::split};
  for (int r = 0; r < ranks; ++r) {
    rows.colors.push_back(r % 2);
    rows.keys.push_back(-r);
  }
  add(rows);
  add({.kind = scatter, .type = i32, .count = 12, .root = 1, .in_place = true});
  add({.kind = all_reduce, .slot = 1, .type = i32, .count = 33, .chained = true});
  add({.kind = all_gather, .type = i32, .blocks = cut::uneven, .count = 14});
  add({.kind = all_to_all, .stream = 1, .type = i32, .count = 9});
  add({.kind = reduce_scatter, .type = dtype::f32, .blocks = cut::uneven, .count = 16});
  add({.kind = send_recv, .what = special::one_message, .type = i32, .count = 11});
  add({.kind = all_to_all, .type = i32, .blocks = cut::uneven, .count = 10});
  add({.kind = broadcast, .slot = 1, .type = i32, .count = 17, .root = 1});
  add({.kind = gather, .type = i32, .blocks = cut::uneven, .count = 10, .root = 1});
  add({.kind = scatter, .type = i32, .blocks = cut::uneven, .count = 10, .root = 0});
  add({.kind = ring_pass, .type = i32, .blocks = cut::uneven, .count = 10, .backward = true});
  add({.kind = all_reduce,
       .type = dtype::f32,
       .op = f == form::fast || f == form::generic ? combiner::ordered_sum : combiner::sum,
       .count = 21});
  return p;
}

}  // namespace programs
