#include "generate.hpp"

#include "rank_run.hpp"

#include <algorithm>
#include <random>

namespace programs {
namespace {

class generator {
 public:
  explicit generator(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] program make() {
    program_.ranks = static_cast<int>(pick({1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6}));
    program_.mode = chance(50) ? rondel::stream_mode::worker : rondel::stream_mode::immediate;
    program_.streams = static_cast<int>(pick({1, 1, 2, 2, 3}));
    program_.forms.clear();
    for (auto left = 1 + below(3); left > 0; --left) {
      program_.forms.push_back(static_cast<form>(pick({0, 0, 1, 1, 2, 3})));
    }
    form_of_slot_ = program_.forms;
    const bool hasty = chance(50);
    for (auto left = 3 + below(25); left > 0; --left) {
      step s = draw();
      if (!hasty && chance(25)) s.jitter = 3e-4;
      program_.steps.push_back(s);
    }
    // All ranks need all others to the end, so that a fault is everybody's.
    program_.steps.push_back({.kind = operation_kind::barrier});
    if (program_.ranks > 1 && chance(30)) {
      program_.what = static_cast<fault>(1 + below(3));
      program_.faulty_rank = static_cast<int>(below(static_cast<std::uint64_t>(program_.ranks)));
      program_.faulty_step = below(program_.steps.size());
      if (program_.what == fault::vanishes) program_.timeout = 0.15;
    }
    return program_;
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  bool chance(std::uint64_t percent) { return below(100) < percent; }
  std::uint64_t pick(std::initializer_list<std::uint64_t> from) {
    return from.begin()[below(from.size())];
  }

  std::size_t draw_count() {
    const auto d = below(100);
    if (d < 8) return 0;
    if (d < 35) return 1 + below(8);
    if (d < 75) return 1 + below(500);
    if (d < 95) return 1 + below(10000);
    if (large_ > 0) return 1 + below(1000);
    ++large_;
    return 1 + below(120000) / static_cast<std::size_t>(program_.ranks);
  }

  step draw() {
    step s;
    const auto slots = form_of_slot_.size();
    s.slot = static_cast<int>(chance(50) ? below(slots)
                                         : slots - 1 - below(std::min<std::size_t>(slots, 2)));
    s.stream = static_cast<int>(below(static_cast<std::uint64_t>(program_.streams)));
    s.other = static_cast<int>(below(static_cast<std::uint64_t>(program_.streams)));
    s.seed = random_();
    s.count = draw_count();
    s.root = static_cast<int>(below(6));
    s.in_place = chance(40);
    s.blocks = static_cast<cut>(below(3));
    s.backward = chance(50);
    s.home = chance(50);
    const form f = form_of_slot_[static_cast<std::size_t>(s.slot)];
    const auto d = below(100);
    if (d < 6 && slots < 8) {
      split(s);
    } else if (d < 10 && program_.streams > 1) {
      s.what = s.stream == s.other ? special::idle : special::join;
    } else if (d < 15) {
      s.kind = operation_kind::barrier;
    } else if (d < 18) {
      s.kind = operation_kind::exchange_host;
      s.count = 1 + s.count % 100;
    } else if (d < 50) {
      s.kind = chance(60) ? operation_kind::all_reduce : operation_kind::reduce_scatter;
      do {
        s.type = static_cast<dtype>(below(7));
        s.op = static_cast<combiner>(below(8));
      } while (!reduces(f, s.type, s.op));
    } else if (d < 65) {
      s.kind = operation_kind::send_recv;
      s.what = static_cast<special>(below(3));
      draw_type(s, [&] { return sends(f, s.type); });
    } else {
      static constexpr operation_kind kinds[] = {
          operation_kind::broadcast,  operation_kind::gather,     operation_kind::scatter,
          operation_kind::all_gather, operation_kind::all_to_all, operation_kind::ring_pass};
      s.kind = kinds[below(6)];
      if (s.kind == operation_kind::all_to_all && s.blocks == cut::balanced) s.blocks = cut::even;
      draw_type(s, [&] { return moves(f, s.type); });
    }
    s.chained = s.type == dtype::i32 && chance(60);
    return s;
  }

  template <class Fits>
  void draw_type(step& s, const Fits& fits) {
    do {
      s.type = chance(30) ? dtype::i32 : static_cast<dtype>(below(7));
    } while (!fits());
  }

  void split(step& s) {
    s.kind = operation_kind::split;
    if (chance(30)) s.what = special::duplicate;
    const auto colors = 1 + below(3);
    for (int r = 0; r < program_.ranks; ++r) {
      s.colors.push_back(chance(10) ? -1 : static_cast<int>(below(colors)));
      s.keys.push_back(static_cast<int>(below(4)));
    }
    form_of_slot_.push_back(form_of_slot_[static_cast<std::size_t>(s.slot)]);
  }

  std::mt19937_64 random_;
  program program_;
  std::vector<form> form_of_slot_;
  int large_ = 0;
};

}  // namespace

program generate(std::uint64_t seed) { return generator(seed).make(); }

}  // namespace programs
