#include "model.hpp"

#include <rondel/core/reduction.hpp>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

namespace programs {
namespace {

template <class T>
inline constexpr bool is_16_bit_float =
    std::same_as<T, rondel::bfloat16> || std::same_as<T, rondel::float16>;

// A value of a reduction. Without a fixed order, sums of floats must be exact in any; with one,
// they must depend on it.
template <class T>
T value(const step& s, int rank, std::size_t i) {
  const std::uint64_t bits = mixed(s.seed, static_cast<std::uint64_t>(rank) + 1, i);
  if constexpr (std::integral<T>) {
    return static_cast<T>(bits);
  } else {
    const bool any_order = s.op == combiner::sum || s.op == combiner::mean;
    const float x = any_order ? static_cast<float>(bits % 11)
                              : (static_cast<float>(bits % 20001) - 10000.0F) / 64.0F;
    if constexpr (is_16_bit_float<T>) {
      return T(x);
    } else {
      return static_cast<T>(x);
    }
  }
}

// Any bits: what only moves keeps them.
template <class T>
T letter(const step& s, int rank, std::size_t i) {
  const std::uint64_t bits = mixed(s.seed, static_cast<std::uint64_t>(rank) + 1, i);
  T out;
  std::memcpy(static_cast<void*>(&out), &bits, sizeof(T));
  return out;
}

// The reduction of one element of all ranks, `x` in rank order.
template <class T>
T reduced(combiner op, const std::vector<T>& x) {
  const auto fold = [&]<class A>(std::type_identity<A>, const auto& combine) {
    A out = static_cast<A>(x[0]);
    for (std::size_t r = 1; r < x.size(); ++r) out = combine(out, static_cast<A>(x[r]));
    return out;
  };
  const auto round = [](auto a) {
    if constexpr (is_16_bit_float<T>) {
      return T(static_cast<float>(a));
    } else {
      return static_cast<T>(a);
    }
  };
  using wide = std::conditional_t<is_16_bit_float<T>, float, T>;
  const auto add = [](auto a, auto b) {
    if constexpr (std::integral<decltype(a)>) {
      return static_cast<decltype(a)>(static_cast<std::uint64_t>(a) +
                                      static_cast<std::uint64_t>(b));
    } else {
      return a + b;
    }
  };
  const auto smaller = [](auto a, auto b) { return b < a ? b : a; };
  const std::type_identity<wide> in_wide{};
  switch (op) {
    case combiner::sum:
    case combiner::ordered_sum:
      return round(fold(in_wide, add));
    case combiner::mean:
    case combiner::ordered_mean:
      if constexpr (std::integral<T>) {
        return static_cast<T>(static_cast<std::int64_t>(fold(in_wide, add)) /
                              static_cast<std::int64_t>(x.size()));
      } else {
        return round(fold(in_wide, add) / static_cast<wide>(x.size()));
      }
    case combiner::max:
      return round(fold(in_wide, [](auto a, auto b) { return a < b ? b : a; }));
    case combiner::min:
    case combiner::user_min:
      return round(fold(in_wide, smaller));
    default:
      return x[0];
  }
}

std::vector<std::size_t> offsets_of(const std::vector<std::size_t>& sizes) {
  std::vector<std::size_t> out(sizes.size() + 1, 0);
  std::partial_sum(sizes.begin(), sizes.end(), out.begin() + 1);
  return out;
}

// The results of all ranks of one communicator, from their inputs.
template <class T>
std::vector<std::vector<T>> results_of(const step& s, const std::vector<std::vector<T>>& in) {
  const auto n = in.size();
  const auto size = static_cast<int>(n);
  const auto root = static_cast<std::size_t>(root_of(s, size));
  const auto blocks = blocks_of(s, size);
  const auto at = offsets_of(blocks);
  std::vector<std::vector<T>> out(n);
  const auto all_of = [&](const std::vector<std::vector<T>>& parts) {
    std::vector<T> whole;
    for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
    return whole;
  };
  const auto reduce = [&](std::size_t first, std::size_t last) {
    std::vector<T> result;
    std::vector<T> column(n);
    for (std::size_t i = first; i < last; ++i) {
      for (std::size_t r = 0; r < n; ++r) column[r] = in[r][i];
      result.push_back(reduced(s.op, column));
    }
    return result;
  };
  switch (s.kind) {
    case operation_kind::broadcast:
      for (auto& x : out) x = in[root];
      break;
    case operation_kind::gather:
      out[root] = all_of(in);
      break;
    case operation_kind::scatter:
      for (std::size_t r = 0; r < n; ++r) {
        out[r].assign(in[root].begin() + static_cast<std::ptrdiff_t>(at[r]),
                      in[root].begin() + static_cast<std::ptrdiff_t>(at[r + 1]));
      }
      if (s.in_place) out[root] = in[root];
      break;
    case operation_kind::all_gather:
      for (auto& x : out) x = all_of(in);
      break;
    case operation_kind::reduce_scatter:
      for (std::size_t r = 0; r < n; ++r) {
        const auto own = reduce(at[r], at[r + 1]);
        out[r] = own;
        if (!s.in_place) continue;
        out[r] = in[r];
        std::copy(own.begin(), own.end(), out[r].begin() + static_cast<std::ptrdiff_t>(at[r]));
      }
      break;
    case operation_kind::all_reduce: {
      const auto whole = reduce(0, in[0].size());
      for (auto& x : out) x = whole;
      break;
    }
    case operation_kind::all_to_all: {
      std::vector<std::size_t> read(n, 0);
      for (int from = 0; from < size; ++from) {
        for (int to = 0; to < size; ++to) {
          const auto& source = in[static_cast<std::size_t>(from)];
          auto& position = read[static_cast<std::size_t>(from)];
          const std::size_t end = position + exchanged(s, from, to);
          auto& target = out[static_cast<std::size_t>(to)];
          for (; position < end; ++position) target.push_back(source[position]);
        }
      }
      break;
    }
    case operation_kind::send_recv: {
      std::vector<std::size_t> read(n, 0);
      for (const message& m : messages_of(s, size)) {
        const auto& source = in[static_cast<std::size_t>(m.from)];
        auto& position = read[static_cast<std::size_t>(m.from)];
        const std::size_t end = position + m.size;
        auto& target = out[static_cast<std::size_t>(m.to)];
        for (; position < end; ++position) target.push_back(source[position]);
      }
      break;
    }
    case operation_kind::ring_pass:
      for (int r = 0; r < size; ++r) {
        const int way = s.backward ? 1 : -1;
        auto& seen = out[static_cast<std::size_t>(r)];
        int owner = r;
        for (int i = 0; i < size; ++i, owner = (owner + way + size) % size) {
          const auto& block = in[static_cast<std::size_t>(owner)];
          seen.insert(seen.end(), block.begin(), block.end());
        }
        owner = s.home ? r : (r + way * (size - 1) + size * size) % size;
        const auto& last = in[static_cast<std::size_t>(owner)];
        seen.insert(seen.end(), last.begin(), last.end());
      }
      break;
    default:
      break;
  }
  return out;
}

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& x) {
  const auto bytes = std::as_bytes(std::span(x));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::vector<std::vector<members>> slots_after(const program& p, std::size_t steps) {
  const auto n = static_cast<std::size_t>(p.ranks);
  members world(n);
  std::iota(world.begin(), world.end(), 0);
  std::vector<std::vector<members>> slots(p.forms.size(), std::vector<members>(n, world));
  for (std::size_t i = 0; i < steps; ++i) {
    const step& s = p.steps[i];
    if (s.kind != operation_kind::split) continue;
    const auto& parent = slots[static_cast<std::size_t>(s.slot)];
    std::vector<members> made(n);
    for (std::size_t r = 0; r < n; ++r) {
      if (s.what == special::duplicate) made[r] = parent[r];
      if (s.what == special::duplicate || parent[r].empty() || s.colors[r] < 0) continue;
      for (const int m : parent[r]) {
        if (s.colors[static_cast<std::size_t>(m)] == s.colors[r]) made[r].push_back(m);
      }
      std::stable_sort(made[r].begin(), made[r].end(), [&](int a, int b) {
        return s.keys[static_cast<std::size_t>(a)] < s.keys[static_cast<std::size_t>(b)];
      });
    }
    slots.push_back(std::move(made));
  }
  return slots;
}

std::vector<std::size_t> blocks_of(const step& s, int size) {
  const auto n = static_cast<std::size_t>(size);
  std::vector<std::size_t> out(n, s.count);
  for (std::size_t r = 0; r < n; ++r) {
    if (s.blocks == cut::balanced) out[r] = s.count / n + (r < s.count % n ? 1 : 0);
    if (s.blocks == cut::uneven) out[r] = s.count * (mixed(s.seed, 7, r) % 4) / 2;
  }
  return out;
}

std::size_t exchanged(const step& s, int from, int to) {
  if (s.blocks != cut::uneven) return s.count;
  return s.count *
         (mixed(s.seed, static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(to)) % 4) / 2;
}

std::vector<message> messages_of(const step& s, int size) {
  const auto n = static_cast<std::uint64_t>(size);
  const auto length = [&](std::uint64_t i) { return s.count * (mixed(s.seed, 3, i) % 3) / 2; };
  std::vector<message> out;
  if (s.what == special::one_message) {
    if (size == 1) return out;
    const auto from = mixed(s.seed, 1) % n;
    const auto to = (from + 1 + mixed(s.seed, 2) % (n - 1)) % n;
    out.push_back({static_cast<int>(from), static_cast<int>(to), s.count});
  } else if (s.what == special::batch) {
    for (std::uint64_t i = 0; i <= mixed(s.seed, 4) % 30; ++i) {
      out.push_back({static_cast<int>(mixed(s.seed, 5, i) % n),
                     static_cast<int>(mixed(s.seed, 6, i) % n), length(i)});
    }
  } else {
    const auto shift = s.seed % n == 0 ? 1 : s.seed % n;
    for (std::uint64_t r = 0; r < n; ++r) {
      out.push_back({static_cast<int>(r), static_cast<int>((r + shift) % n), length(r)});
    }
  }
  return out;
}

int root_of(const step& s, int size) { return s.root % size; }

std::size_t input_size(const step& s, int size, int rank) {
  const auto own = static_cast<std::size_t>(rank);
  const auto total = [&] {
    const auto blocks = blocks_of(s, size);
    return std::accumulate(blocks.begin(), blocks.end(), std::size_t{0});
  };
  std::size_t out = 0;
  switch (s.kind) {
    case operation_kind::broadcast:
    case operation_kind::all_reduce:
      return s.count;
    case operation_kind::gather:
    case operation_kind::all_gather:
    case operation_kind::ring_pass:
      return blocks_of(s, size)[own];
    case operation_kind::scatter:
      return rank == root_of(s, size) ? total() : 0;
    case operation_kind::reduce_scatter:
      return total();
    case operation_kind::all_to_all:
      for (int to = 0; to < size; ++to) out += exchanged(s, rank, to);
      return out;
    case operation_kind::send_recv:
      for (const message& m : messages_of(s, size)) out += m.from == rank ? m.size : 0;
      return out;
    default:
      return 0;
  }
}

template <class T>
std::vector<T> input_of(const step& s, const members& of, int rank) {
  const bool reduces =
      s.kind == operation_kind::all_reduce || s.kind == operation_kind::reduce_scatter;
  std::vector<T> out(input_size(s, static_cast<int>(of.size()), rank));
  const int world_rank = of[static_cast<std::size_t>(rank)];
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = reduces ? value<T>(s, world_rank, i) : letter<T>(s, world_rank, i);
  }
  return out;
}

template std::vector<double> input_of<double>(const step&, const members&, int);
template std::vector<float> input_of<float>(const step&, const members&, int);
template std::vector<rondel::bfloat16> input_of<rondel::bfloat16>(const step&, const members&, int);
template std::vector<rondel::float16> input_of<rondel::float16>(const step&, const members&, int);
template std::vector<std::int64_t> input_of<std::int64_t>(const step&, const members&, int);
template std::vector<std::int32_t> input_of<std::int32_t>(const step&, const members&, int);
template std::vector<std::uint8_t> input_of<std::uint8_t>(const step&, const members&, int);

expectation expected(const program& p) {
  const auto n = static_cast<std::size_t>(p.ranks);
  const auto slots = slots_after(p, p.steps.size());
  expectation out;
  out.results.assign(p.steps.size(), std::vector<std::vector<std::byte>>(n));
  out.registers.assign(
      n, std::vector<std::vector<std::int32_t>>(static_cast<std::size_t>(p.streams),
                                                std::vector<std::int32_t>(register_size, 0)));
  for (std::size_t i = 0; i < p.steps.size(); ++i) {
    const step& s = p.steps[i];
    const auto stream = static_cast<std::size_t>(s.stream);
    if (s.what == special::join) {
      for (auto& of_rank : out.registers)
        of_rank[stream] = of_rank[static_cast<std::size_t>(s.other)];
      continue;
    }
    for (std::size_t r = 0; r < n; ++r) {
      const members& of = slots[static_cast<std::size_t>(s.slot)][r];
      if (of.empty() || of.front() != static_cast<int>(r)) continue;  // once for each communicator
      with_type(s.type, [&]<class T>(std::type_identity<T>) {
        std::vector<std::vector<T>> in;
        for (std::size_t m = 0; m < of.size(); ++m) {
          in.push_back(input_of<T>(s, of, static_cast<int>(m)));
          if constexpr (std::same_as<T, std::int32_t>) {
            const auto& held = out.registers[static_cast<std::size_t>(of[m])][stream];
            if (s.chained) {
              std::copy_n(held.begin(), std::min(in[m].size(), held.size()), in[m].begin());
            }
          }
        }
        const auto results = results_of<T>(s, in);
        for (std::size_t m = 0; m < of.size(); ++m) {
          out.results[i][static_cast<std::size_t>(of[m])] = bytes_of(results[m]);
          if constexpr (std::same_as<T, std::int32_t>) {
            auto& held = out.registers[static_cast<std::size_t>(of[m])][stream];
            if (s.chained) {
              std::copy_n(results[m].begin(), std::min(results[m].size(), held.size()),
                          held.begin());
            }
          }
        }
      });
    }
  }
  return out;
}

std::string describe(const step& s) {
  static constexpr const char* combiners[] = {
      "sum", "mean", "max", "min", "user_min", "ordered_sum", "ordered_mean", "ordered_first"};
  static constexpr const char* specials[] = {"",     "one message", "batch",  "duplicate",
                                             "join", "idle",        "no slot"};
  static constexpr const char* cuts[] = {"even", "balanced", "uneven"};
  return rondel::concat(
      to_string(s.kind), s.what == special::none ? "" : " (",
      specials[static_cast<std::size_t>(s.what)], s.what == special::none ? "" : ")", " ",
      cuts[static_cast<std::size_t>(s.blocks)], " ", s.count, " x ", to_string(s.type), " ",
      combiners[static_cast<std::size_t>(s.op)], ", root ", s.root, ", slot ", s.slot, ", stream ",
      s.stream, " and ", s.other, s.in_place ? ", in place" : "", s.chained ? ", chained" : "",
      s.backward ? ", backward" : "", s.home ? ", home" : "");
}

std::string describe(const program& p) {
  std::string out = rondel::concat(p.ranks, " ranks, ",
                                   p.mode == rondel::stream_mode::worker ? "worker" : "immediate",
                                   " streams (", p.streams, "), slots:");
  for (const form f : p.forms) out += rondel::concat(" ", to_string(f));
  if (p.what != fault::none) {
    out += rondel::concat("; rank ", p.faulty_rank, " ", to_string(p.what), " at step ",
                          p.faulty_step, ", timeout ", p.timeout, " s");
    if (p.what == fault::differs) out += rondel::concat(", calling ", describe(p.instead));
  }
  for (std::size_t i = 0; i < p.steps.size(); ++i) {
    out += rondel::concat("\n  ", i, ": ", describe(p.steps[i]));
  }
  return out;
}

}  // namespace programs
