#pragma once
// What every communicator must do, as checks that each model and wrapper instantiates.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/collective/send_recv.hpp>

#include "host_data.hpp"
#include "reductions.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace conformance {

using rondel::device_span;
using test::bits;
using test::download;
using test::keep_first;
using test::user_min;

// Elements on the device of a communicator.
template <class T, class C>
using uploaded = test::uploaded<T, typename C::device_type>;

// Small whole numbers: their sums over a few ranks are exact in every element type.
template <class T>
T value(int rank, std::size_t i) {
  return rondel::detail::element_cast<T>(
      static_cast<int>((static_cast<std::size_t>(rank) * 7 + i * 3) % 11));
}

template <class T>
std::vector<T> values(int rank, std::size_t count, std::size_t first = 0) {
  std::vector<T> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = value<T>(rank, first + i);
  return out;
}

// Numbers whose sum depends on the order.
template <class T>
std::vector<T> random_values(int rank, std::size_t count) {
  std::mt19937_64 random(static_cast<unsigned>(rank) * 977U + count);
  std::normal_distribution<double> normal(0, 1000);
  std::vector<T> out(count);
  for (T& x : out) {
    if constexpr (std::integral<T>) {
      x = static_cast<T>(random());
    } else {
      x = rondel::detail::element_cast<T>(static_cast<float>(normal(random)));
    }
  }
  return out;
}

// The reduction of all ranks' element `i`, worked out one rank after the other.
template <class T, class Op>
T reduced(const Op& op, int ranks, const auto& element) {
  using accumulator = rondel::detail::accumulator_t<Op, T>;
  auto out = static_cast<accumulator>(element(0));
  for (int r = 1; r < ranks; ++r) out = op(out, static_cast<accumulator>(element(r)));
  if constexpr (std::same_as<Op, rondel::mean>)
    out = static_cast<accumulator>(out / static_cast<accumulator>(ranks));
  return rondel::detail::element_cast<T>(out);
}

// Sizes per rank that differ, with an empty one.
inline std::vector<std::size_t> uneven_sizes(int ranks, std::size_t scale) {
  std::vector<std::size_t> out;
  for (int r = 0; r < ranks; ++r) out.push_back(static_cast<std::size_t>((r * 5 + 2) % 4) * scale);
  return out;
}

inline constexpr std::size_t counts[] = {0, 1, 2, 3, 7, 64, 1000, 4099};

template <class T, class Op, class C>
void all_reduce_of(C& comm, rondel::stream_of<C>& stream, const Op& op) {
  for (const std::size_t count : counts) {
    INFO("all_reduce of ", std::string(rondel::to_string(rondel::dtype_of<T>)), " x ", count,
         " on rank ", comm.rank(), " of ", comm.size());
    std::vector<T> expected(count);
    for (std::size_t i = 0; i < count; ++i) {
      expected[i] = reduced<T>(op, comm.size(), [&](int r) { return value<T>(r, i); });
    }
    uploaded<T, C> in(comm.device(), stream, values<T>(comm.rank(), count));
    uploaded<T, C> out(comm.device(), stream, std::vector<T>(count));
    rondel::all_reduce(comm, stream, in.span(), out.span(), op);
    CHECK(bits(download(stream, out.span())) == bits(expected));
    CHECK(bits(download(stream, in.span())) == bits(values<T>(comm.rank(), count)));
    rondel::all_reduce(comm, stream, in.span(), op);
    CHECK(bits(download(stream, in.span())) == bits(expected));
  }
}

template <class T, class Op, class C>
void reduce_scatter_of(C& comm, rondel::stream_of<C>& stream, const Op& op) {
  const int rank = comm.rank();
  const auto check = [&](const auto& blocks, const auto& call) {
    const std::size_t begin = blocks.offset(rank);
    std::vector<T> expected(blocks.size(rank));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = reduced<T>(op, comm.size(), [&](int r) { return value<T>(r, begin + i); });
    }
    uploaded<T, C> in(comm.device(), stream, values<T>(rank, blocks.total()));
    uploaded<T, C> out(comm.device(), stream, std::vector<T>(expected.size()));
    call(in.span(), out.span());
    CHECK(bits(download(stream, out.span())) == bits(expected));
    CHECK(bits(download(stream, in.span())) == bits(values<T>(rank, blocks.total())));
    call(in.span(), in.span().subspan(begin, expected.size()));
    auto in_place = values<T>(rank, blocks.total());
    std::copy(expected.begin(), expected.end(),
              in_place.begin() + static_cast<std::ptrdiff_t>(begin));
    CHECK(bits(download(stream, in.span())) == bits(in_place));
  };
  for (const std::size_t count : counts) {
    INFO("reduce_scatter of ", std::string(rondel::to_string(rondel::dtype_of<T>)), " x ", count,
         " on rank ", rank, " of ", comm.size());
    check(rondel::even_blocks(count, comm.size()),
          [&](auto in, auto out) { rondel::reduce_scatter(comm, stream, in, out, op); });
    const rondel::uneven_blocks uneven(uneven_sizes(comm.size(), count));
    check(uneven,
          [&](auto in, auto out) { rondel::reduce_scatter_v(comm, stream, in, out, uneven, op); });
    const rondel::balanced_blocks balanced(count, comm.size());
    check(balanced, [&](auto in, auto out) {
      rondel::reduce_scatter_v(comm, stream, in, out, balanced, op);
    });
  }
}

template <class T, class C>
void moves_of(C& comm, rondel::stream_of<C>& stream) {
  const int rank = comm.rank();
  const int size = comm.size();
  auto& device = comm.device();
  for (const std::size_t count : counts) {
    INFO("data movement of ", std::string(rondel::to_string(rondel::dtype_of<T>)), " x ", count,
         " on rank ", rank, " of ", size);
    const auto with = [&](const auto& blocks, bool even) {
      std::vector<T> everything;
      for (int r = 0; r < size; ++r) {
        const auto part = values<T>(r, blocks.size(r));
        everything.insert(everything.end(), part.begin(), part.end());
      }
      const auto own = values<T>(rank, blocks.size(rank));
      const auto in_place = [&] {
        std::vector<T> out(blocks.total());
        std::copy(own.begin(), own.end(),
                  out.begin() + static_cast<std::ptrdiff_t>(blocks.offset(rank)));
        return out;
      };
      {
        uploaded<T, C> in(device, stream, own);
        uploaded<T, C> out(device, stream, std::vector<T>(blocks.total()));
        if (even)
          rondel::all_gather(comm, stream, in.span(), out.span());
        else
          rondel::all_gather_v(comm, stream, in.span(), out.span(), blocks);
        CHECK(bits(download(stream, out.span())) == bits(everything));
        uploaded<T, C> both(device, stream, in_place());
        rondel::all_gather_v(comm, stream, both.span().subspan(blocks.offset(rank), own.size()),
                             both.span(), blocks);
        CHECK(bits(download(stream, both.span())) == bits(everything));
      }
      for (int root = 0; root < size; ++root) {
        uploaded<T, C> in(device, stream, own);
        uploaded<T, C> out(device, stream, std::vector<T>(rank == root ? blocks.total() : 0));
        if (even)
          rondel::gather(comm, stream, in.span(), out.span(), root);
        else
          rondel::gather_v(comm, stream, in.span(), out.span(), blocks, root);
        if (rank == root) CHECK(bits(download(stream, out.span())) == bits(everything));

        uploaded<T, C> whole(device, stream, rank == root ? everything : std::vector<T>{});
        uploaded<T, C> part(device, stream, std::vector<T>(own.size()));
        if (even)
          rondel::scatter(comm, stream, whole.span(), part.span(), root);
        else
          rondel::scatter_v(comm, stream, whole.span(), part.span(), blocks, root);
        CHECK(bits(download(stream, part.span())) == bits(own));

        uploaded<T, C> x(device, stream, values<T>(rank, count));
        rondel::broadcast(comm, stream, x.span(), root);
        CHECK(bits(download(stream, x.span())) == bits(values<T>(root, count)));
      }
    };
    with(rondel::even_blocks(count, size), true);
    with(rondel::uneven_blocks(uneven_sizes(size, count)), false);

    // Element `i` that rank `a` sends to rank `b`.
    const auto letter = [&](int a, int b, std::size_t i) { return value<T>(a * 3 + b, i); };
    const auto size_of = [&](int a, int b) {
      return count * static_cast<std::size_t>((a + 2 * b) % 3);
    };
    const auto transpose = [&](bool even) {
      std::vector<T> in, expected;
      std::vector<std::size_t> in_sizes, out_sizes;
      for (int r = 0; r < size; ++r) {
        in_sizes.push_back(even ? count : size_of(rank, r));
        out_sizes.push_back(even ? count : size_of(r, rank));
        for (std::size_t i = 0; i < in_sizes.back(); ++i) in.push_back(letter(rank, r, i));
        for (std::size_t i = 0; i < out_sizes.back(); ++i) expected.push_back(letter(r, rank, i));
      }
      uploaded<T, C> from(device, stream, in);
      uploaded<T, C> to(device, stream, std::vector<T>(expected.size()));
      if (even) {
        rondel::all_to_all(comm, stream, from.span(), to.span());
      } else {
        rondel::all_to_all_v(comm, stream, from.span(), rondel::uneven_blocks(in_sizes), to.span(),
                             rondel::uneven_blocks(out_sizes));
      }
      CHECK(bits(download(stream, to.span())) == bits(expected));
    };
    transpose(true);
    transpose(false);
  }
}

// The bits of a reduction in rank order do not depend on who computes it, nor how.
template <class T, class C>
void rank_order_of(C& comm, rondel::stream_of<C>& stream) {
  const int size = comm.size();
  for (const std::size_t count : {std::size_t{1}, std::size_t{37}, std::size_t{5000}}) {
    INFO("rank order of ", std::string(rondel::to_string(rondel::dtype_of<T>)), " x ", count,
         " on rank ", comm.rank(), " of ", size);
    std::vector<std::vector<T>> all;
    for (int r = 0; r < size; ++r) all.push_back(random_values<T>(r, count));
    const auto expect = [&](const auto& op) {
      std::vector<T> out(count);
      for (std::size_t i = 0; i < count; ++i) {
        out[i] = reduced<T>(op, size, [&](int r) { return all[static_cast<std::size_t>(r)][i]; });
      }
      return out;
    };
    const auto check = [&](const auto& op) {
      uploaded<T, C> x(comm.device(), stream, random_values<T>(comm.rank(), count));
      rondel::all_reduce(comm, stream, x.span(), rondel::in_rank_order(op));
      CHECK(bits(download(stream, x.span())) == bits(expect(op)));
      const rondel::balanced_blocks blocks(count, size);
      uploaded<T, C> y(comm.device(), stream, random_values<T>(comm.rank(), count));
      uploaded<T, C> part(comm.device(), stream, std::vector<T>(blocks.size(comm.rank())));
      rondel::reduce_scatter_v(comm, stream, y.span(), part.span(), blocks,
                               rondel::in_rank_order(op));
      const auto expected = expect(op);
      const auto first = expected.begin() + static_cast<std::ptrdiff_t>(blocks.offset(comm.rank()));
      CHECK(bits(download(stream, part.span())) ==
            bits(std::vector<T>(first,
                                first + static_cast<std::ptrdiff_t>(blocks.size(comm.rank())))));
    };
    check(rondel::sum{});
    check(rondel::mean{});
    check(keep_first{});
  }
}

template <class C>
void messages(C& comm, rondel::stream_of<C>& stream) {
  const int rank = comm.rank();
  const int size = comm.size();
  const int next = (rank + 1) % size;
  const int previous = (rank + size - 1) % size;
  auto& device = comm.device();
  for (const std::size_t count : counts) {
    INFO("messages of ", count, " on rank ", rank, " of ", size);
    uploaded<std::int32_t, C> out(device, stream, values<std::int32_t>(rank, count));
    uploaded<std::int32_t, C> in(device, stream, std::vector<std::int32_t>(count));
    rondel::send_recv(comm, stream, out.span(), next, in.span(), previous);
    CHECK(download(stream, in.span()) == values<std::int32_t>(previous, count));
    if (size > 1) {
      if (rank == 0) rondel::send(comm, stream, out.span(), 1);
      if (rank == 1) {
        rondel::recv(comm, stream, in.span(), 0);
        CHECK(download(stream, in.span()) == values<std::int32_t>(0, count));
      }
    }
  }
  // Many messages to each peer, itself included, in one batch; those of one pair keep their order.
  constexpr std::size_t many = 20;
  const std::size_t total = many * static_cast<std::size_t>(size);
  uploaded<std::int64_t, C> out(device, stream, [&] {
    std::vector<std::int64_t> v(total);
    for (std::size_t i = 0; i < total; ++i) v[i] = rank * 1000 + static_cast<std::int64_t>(i);
    return v;
  }());
  uploaded<std::int64_t, C> in(device, stream, std::vector<std::int64_t>(total));
  {
    const rondel::operation_scope scope(comm, stream, {.kind = rondel::operation_kind::send_recv});
    auto batch = comm.batch(stream);
    for (std::size_t i = 0; i < total; ++i) {
      const int peer = static_cast<int>(i / many);
      batch.recv(peer, rondel::as_writable_bytes(in.span().subspan(i, 1)));
      batch.send(peer, rondel::as_bytes(out.span().subspan(i, 1)));
    }
    batch.submit();
  }
  const auto got = download(stream, in.span());
  for (std::size_t i = 0; i < total; ++i) {
    const auto peer = static_cast<std::int64_t>(i / many);
    CHECK(got[i] == peer * 1000 + static_cast<std::int64_t>(static_cast<std::size_t>(rank) * many +
                                                            i % many));
  }
}

// Shows each block and compares; odd steps take longer, so that links and work drift apart.
template <class C>
void ring_passes(C& comm, rondel::stream_of<C>& compute) {
  const int rank = comm.rank();
  const int size = comm.size();
  auto link = comm.device().make_stream("link");
  for (const auto direction : {rondel::ring_direction::forward, rondel::ring_direction::backward}) {
    for (const bool home : {false, true}) {
      for (const bool even : {true, false}) {
        std::vector<std::size_t> sizes(static_cast<std::size_t>(size), 33);
        if (!even) sizes = uneven_sizes(size, 17);
        const rondel::uneven_blocks blocks(sizes);
        const std::size_t room =
            std::max<std::size_t>(1, *std::max_element(sizes.begin(), sizes.end()));
        const auto block_of = [&](int r) { return values<float>(r, blocks.size(r)); };
        auto start = block_of(rank);
        start.resize(room);
        uploaded<float, C> a(comm.device(), compute, start);
        uploaded<float, C> b(comm.device(), compute, std::vector<float>(room));
        std::vector<std::vector<float>> seen(static_cast<std::size_t>(size));
        std::vector<int> owners;
        const auto use = [&](device_span<const float> block, int owner, int step) {
          owners.push_back(owner);
          auto& to = seen[static_cast<std::size_t>(step)];
          to.resize(block.size());
          test::host_work<rondel::stream_of<C>>::run(compute, [&to, block, step, rank] {
            if ((step + rank) % 2 == 1) std::this_thread::sleep_for(std::chrono::microseconds(300));
            if (block.empty()) return;
            std::copy_n(test::host_work<rondel::stream_of<C>>::memory(block.data()), block.size(),
                        to.data());
          });
        };
        const rondel::ring_pass_options options{.direction = direction, .return_home = home};
        const auto last =
            even ? rondel::ring_pass(comm, compute, link,
                                     std::array{a.span().first(33), b.span().first(33)}, use,
                                     options)
                 : rondel::ring_pass_v(comm, compute, link, std::array{a.span(), b.span()}, blocks,
                                       use, options);
        const auto final_block = download(compute, last);
        const int way = direction == rondel::ring_direction::forward ? 1 : -1;
        for (int step = 0; step < size; ++step) {
          const int owner = ((rank - way * step) % size + size) % size;
          CHECK(owners[static_cast<std::size_t>(step)] == owner);
          CHECK(seen[static_cast<std::size_t>(step)] == block_of(owner));
        }
        CHECK(final_block == block_of(home ? rank : owners.back()));
      }
    }
  }
  link.synchronize();
}

template <class C>
void barriers(C& comm, rondel::stream_of<C>& stream, std::atomic<int>& arrivals) {
  for (int round = 1; round <= 20; ++round) {
    using work = test::host_work<rondel::stream_of<C>>;
    work::run(stream, [&] { arrivals.fetch_add(1); });
    rondel::barrier(comm, stream);
    work::run(stream, [&, round] { CHECK(arrivals.load() >= round * comm.size()); });
  }
  stream.synchronize();
}

template <class C>
void splits(C& comm, rondel::stream_of<C>& stream) {
  const int rank = comm.rank();
  const int size = comm.size();
  // Odd and even ranks, in reverse order.
  auto half = comm.split(rank % 2, -rank);
  REQUIRE(half.has_value());
  CHECK(half->size() == (size + 1 - rank % 2) / 2);
  CHECK(half->rank() == half->size() - 1 - rank / 2);
  auto twin = comm.duplicate();
  CHECK(twin.rank() == rank);
  CHECK(twin.size() == size);
  auto none = comm.split(rank == 0 ? -1 : 7, 0);
  CHECK(none.has_value() == (rank != 0));

  for (int round = 0; round < 10; ++round) {
    uploaded<std::int64_t, C> x(comm.device(), stream, {rank + 1});
    uploaded<std::int64_t, C> y(comm.device(), stream, {rank + 1});
    uploaded<std::int64_t, C> z(comm.device(), stream, {rank + 1});
    rondel::all_reduce(*half, stream, x.span());
    rondel::all_reduce(twin, stream, y.span());
    rondel::all_reduce(comm, stream, z.span());
    std::int64_t same_parity = 0;
    for (int r = rank % 2; r < size; r += 2) same_parity += r + 1;
    CHECK(download(stream, x.span()) == std::vector<std::int64_t>{same_parity});
    CHECK(download(stream, y.span()) == std::vector<std::int64_t>{size * (size + 1) / 2});
    CHECK(download(stream, z.span()) == std::vector<std::int64_t>{size * (size + 1) / 2});
  }

  const std::array<std::int32_t, 2> mine{rank, rank * rank};
  std::vector<std::int32_t> all(static_cast<std::size_t>(size) * 2);
  comm.exchange_host(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
  for (int r = 0; r < size; ++r) {
    CHECK(all[static_cast<std::size_t>(r) * 2] == r);
    CHECK(all[static_cast<std::size_t>(r) * 2 + 1] == r * r);
  }
}

// Operations of one communicator keep their order on different streams.
template <class C>
void two_streams(C& comm, rondel::stream_of<C>& first) {
  auto second = comm.device().make_stream("second");
  for (int round = 0; round < 20; ++round) {
    uploaded<float, C> x(comm.device(), first, values<float>(comm.rank(), 100));
    uploaded<float, C> y(comm.device(), second, values<float>(comm.rank() + 1, 50));
    rondel::all_reduce(comm, first, x.span());
    rondel::all_reduce(comm, second, y.span(), rondel::max{});
    rondel::all_reduce(comm, first, x.span(), rondel::min{});
    std::vector<float> sums(100), largest(50);
    for (std::size_t i = 0; i < 100; ++i) {
      sums[i] =
          reduced<float>(rondel::sum{}, comm.size(), [&](int r) { return value<float>(r, i); });
    }
    for (std::size_t i = 0; i < 50; ++i) {
      largest[i] =
          reduced<float>(rondel::max{}, comm.size(), [&](int r) { return value<float>(r + 1, i); });
    }
    CHECK(download(first, x.span()) == sums);
    CHECK(download(second, y.span()) == largest);
  }
}

template <class C>
void bad_arguments(C& comm, rondel::stream_of<C>& stream) {
  using rondel::invalid_argument;
  const int size = comm.size();
  const auto ranks = static_cast<std::size_t>(size);
  uploaded<float, C> x(comm.device(), stream, std::vector<float>(12 * ranks + 1));
  const auto all = x.span().first(12 * ranks);
  const auto odd = x.span();
  CHECK_THROWS_AS(rondel::all_reduce(comm, stream, all, odd), invalid_argument);
  CHECK_THROWS_AS(rondel::all_reduce(comm, stream, all, x.span().subspan(1, all.size())),
                  invalid_argument);
  CHECK_THROWS_AS(rondel::reduce_scatter(comm, stream, odd, x.span().first(12)), invalid_argument);
  CHECK_THROWS_AS(rondel::all_gather(comm, stream, x.span().first(12), odd), invalid_argument);
  CHECK_THROWS_AS(rondel::broadcast(comm, stream, all, size), invalid_argument);
  CHECK_THROWS_AS(rondel::broadcast(comm, stream, all, -1), invalid_argument);
  CHECK_THROWS_AS(rondel::gather(comm, stream, all, all, size), invalid_argument);
  CHECK_THROWS_AS(rondel::scatter(comm, stream, all, all, -2), invalid_argument);
  if (size > 1 && comm.rank() == 1) {
    // The root's input lies in another rank's block of the output.
    CHECK_THROWS_AS(rondel::gather(comm, stream, all.first(12), all, 1), invalid_argument);
    CHECK_THROWS_AS(rondel::scatter(comm, stream, all, all.first(12), 1), invalid_argument);
  }
  CHECK_THROWS_AS(rondel::send(comm, stream, all, size), invalid_argument);
  CHECK_THROWS_AS(rondel::recv(comm, stream, all, -1), invalid_argument);
  CHECK_THROWS_AS(rondel::all_to_all(comm, stream, all, all), invalid_argument);
  CHECK_THROWS_AS(rondel::send_recv(comm, stream, all, 0, all, 0), invalid_argument);
  const std::vector<std::size_t> too_many(ranks + 1, 1);
  CHECK_THROWS_AS(rondel::all_gather_v(comm, stream, x.span().first(1), x.span().first(ranks + 1),
                                       rondel::uneven_blocks(too_many)),
                  invalid_argument);
  if (size > 1) {
    CHECK_THROWS_AS(rondel::all_to_all(comm, stream, odd, odd), invalid_argument);
    auto link = comm.device().make_stream("link");
    CHECK_THROWS_AS(rondel::ring_pass(comm, stream, link, std::array{all, all.first(1)},
                                      [](device_span<const float>, int, int) {}),
                    invalid_argument);
  }
  // None of that has harmed the communicator.
  uploaded<float, C> y(comm.device(), stream, {1});
  rondel::all_reduce(comm, stream, y.span());
  CHECK(download(stream, y.span()) == std::vector<float>{static_cast<float>(size)});
}

// All reductions of some types.
template <class... T, class C>
void reductions_of(C& comm, rondel::stream_of<C>& stream) {
  const auto ops = [&]<class U>(std::type_identity<U>) {
    all_reduce_of<U>(comm, stream, rondel::sum{});
    all_reduce_of<U>(comm, stream, rondel::mean{});
    all_reduce_of<U>(comm, stream, rondel::max{});
    all_reduce_of<U>(comm, stream, rondel::min{});
    all_reduce_of<U>(comm, stream, user_min{});
    reduce_scatter_of<U>(comm, stream, rondel::sum{});
    reduce_scatter_of<U>(comm, stream, rondel::mean{});
    rank_order_of<U>(comm, stream);
  };
  (ops(std::type_identity<T>{}), ...);
}

// All reductions of all types; the largest part of the suite, for the models themselves.
template <class C>
void reductions(C& comm, rondel::stream_of<C>& stream) {
  reductions_of<double, float, rondel::bfloat16, rondel::float16, std::int64_t, std::int32_t,
                std::uint8_t>(comm, stream);
}

template <class C>
void movements(C& comm, rondel::stream_of<C>& stream) {
  moves_of<double>(comm, stream);
  moves_of<rondel::bfloat16>(comm, stream);
  moves_of<std::uint8_t>(comm, stream);
}

// Everything but the sweep over all types, for wrappers.
template <class C>
void essentials(C& comm, rondel::stream_of<C>& stream, std::atomic<int>& arrivals) {
  all_reduce_of<float>(comm, stream, rondel::sum{});
  reduce_scatter_of<float>(comm, stream, rondel::mean{});
  rank_order_of<float>(comm, stream);
  moves_of<float>(comm, stream);
  messages(comm, stream);
  ring_passes(comm, stream);
  barriers(comm, stream, arrivals);
  splits(comm, stream);
  two_streams(comm, stream);
  bad_arguments(comm, stream);
}

}  // namespace conformance
