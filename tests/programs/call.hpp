#pragma once
// How a step becomes a call; included where it is instantiated.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/collective/send_recv.hpp>

#include "rank_run.hpp"
#include "reductions.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <span>
#include <stdexcept>
#include <utility>

namespace programs {

template <class C>
inline constexpr form form_of = std::same_as<C, fast_comm>      ? form::fast
                                : std::same_as<C, generic_comm> ? form::generic
                                : std::same_as<C, checked_comm> ? form::checked
                                                                : form::checked_generic;

template <form F, dtype Type, class Call>
void with_combiner(combiner op, Call&& f) {
  const auto one = [&]<combiner Op>(std::integral_constant<combiner, Op>, const auto& reduction) {
    if constexpr (reduces(F, Type, Op)) {
      f(reduction);
    } else {
      throw std::logic_error("a program asks for a reduction that is not compiled");
    }
  };
  using enum combiner;
  switch (op) {
    case sum:
      return one(std::integral_constant<combiner, sum>{}, rondel::sum{});
    case mean:
      return one(std::integral_constant<combiner, mean>{}, rondel::mean{});
    case max:
      return one(std::integral_constant<combiner, max>{}, rondel::max{});
    case min:
      return one(std::integral_constant<combiner, min>{}, rondel::min{});
    case user_min:
      return one(std::integral_constant<combiner, user_min>{}, test::user_min{});
    case ordered_sum:
      return one(std::integral_constant<combiner, ordered_sum>{},
                 rondel::in_rank_order(rondel::sum{}));
    case ordered_mean:
      return one(std::integral_constant<combiner, ordered_mean>{},
                 rondel::in_rank_order(rondel::mean{}));
    case ordered_first:
      return one(std::integral_constant<combiner, ordered_first>{},
                 rondel::in_rank_order(test::keep_first{}));
  }
}

// Buffers of one call and what goes in and out of them.
template <class T>
class call_buffers {
 public:
  using array = rondel::device_array<T, rondel::host_device>;

  call_buffers(rank_run& run, const step& s, std::size_t index)
      : run_(run), step_(s), index_(index), stream_(stream()) {}

  [[nodiscard]] rondel::host_stream& stream() {
    return run_.streams[static_cast<std::size_t>(step_.stream)];
  }

  [[nodiscard]] array input(const members& of, int rank) {
    const std::vector<T> values = input_of<T>(step_, of, rank);
    array out(run_.device, stream_, values.size());
    const auto bytes = std::as_bytes(std::span(values));
    const auto& kept = run_.uploads.emplace_back(bytes.begin(), bytes.end());
    stream_.upload(rondel::as_writable_bytes(out.span()), kept);
    if constexpr (std::same_as<T, std::int32_t>) {
      if (step_.chained) {
        const std::size_t n = std::min(values.size(), register_size);
        stream_.copy(rondel::as_writable_bytes(out.span().first(n)),
                     rondel::as_bytes(held().first(n)));
      }
    }
    return out;
  }

  // Elements that no result may keep.
  [[nodiscard]] array output(std::size_t size) {
    array out(run_.device, stream_, size);
    const auto& kept =
        run_.uploads.emplace_back(size * sizeof(T), static_cast<std::byte>(0xa5 + run_.rank));
    stream_.upload(rondel::as_writable_bytes(out.span()), kept);
    return out;
  }

  // `x` is the result, or the part of it from `at` on.
  void keep(rondel::device_span<const T> x, std::size_t at = 0) {
    auto& bytes = run_.results[index_];
    stream_.download(std::span(bytes).subspan(at * sizeof(T), x.size_bytes()), rondel::as_bytes(x));
    if constexpr (std::same_as<T, std::int32_t>) {
      if (step_.chained && at < register_size) {
        const std::size_t n = std::min(x.size(), register_size - at);
        stream_.copy(rondel::as_writable_bytes(held().subspan(at, n)),
                     rondel::as_bytes(x.first(n)));
      }
    }
  }
  void make_room(std::size_t size) { run_.results[index_].assign(size * sizeof(T), std::byte{}); }

  void result(rondel::device_span<const T> x) {
    make_room(x.size());
    keep(x);
  }

 private:
  [[nodiscard]] rondel::device_span<std::int32_t> held() {
    return run_.registers[static_cast<std::size_t>(step_.stream)].span();
  }

  rank_run& run_;
  const step& step_;
  std::size_t index_;
  rondel::host_stream& stream_;
};

// The blocks of a step, of whatever kind, as one type.
class any_blocks {
 public:
  any_blocks(const step& s, int size)
      : blocks_(blocks_of(s, size)), agreed_(s.blocks != cut::uneven) {}
  explicit any_blocks(const std::vector<std::size_t>& sizes) : blocks_(sizes), agreed_(false) {}

  [[nodiscard]] int ranks() const noexcept { return blocks_.ranks(); }
  [[nodiscard]] std::size_t size(int i) const noexcept { return blocks_.size(i); }
  [[nodiscard]] std::size_t offset(int i) const noexcept { return blocks_.offset(i); }
  [[nodiscard]] std::size_t total() const noexcept { return blocks_.total(); }
  [[nodiscard]] std::uint64_t layout() const noexcept { return agreed_ ? 0 : blocks_.layout(); }

 private:
  rondel::uneven_blocks blocks_;
  bool agreed_;
};

// Calls `even()`, for elements of one type, or `cut(blocks)`.
template <class T, class Even, class Cut>
void with_blocks(const step& s, int size, const Even& even, const Cut& by_blocks) {
  if constexpr (std::same_as<T, std::int32_t>) {
    if (s.blocks == cut::even) return even();
  }
  by_blocks(any_blocks(s, size));
}

template <class T, class C>
void reduce(C& comm, rank_run& run, const step& s, std::size_t index, const members& of) {
  constexpr form f = form_of<C>;
  constexpr dtype type = rondel::dtype_of<T>;
  call_buffers<T> buffers(run, s, index);
  auto& stream = buffers.stream();
  const int rank = comm.rank();
  auto in = buffers.input(of, rank);
  if (s.kind == operation_kind::all_reduce) {
    auto out = buffers.output(s.in_place ? 0 : s.count);
    const auto target = s.in_place ? in.span() : out.span();
    with_combiner<f, type>(
        s.op, [&](const auto& op) { rondel::all_reduce(comm, stream, in.span(), target, op); });
    return buffers.result(target);
  }
  const any_blocks blocks(s, comm.size());
  const std::size_t own = blocks.size(rank);
  auto out = buffers.output(s.in_place ? 0 : own);
  const auto target = s.in_place ? in.span().subspan(blocks.offset(rank), own) : out.span();
  with_combiner<f, type>(s.op, [&](const auto& op) {
    with_blocks<T>(
        s, comm.size(), [&] { rondel::reduce_scatter(comm, stream, in.span(), target, op); },
        [&](const auto& b) { rondel::reduce_scatter_v(comm, stream, in.span(), target, b, op); });
  });
  buffers.result(s.in_place ? in.span() : out.span());
}

template <class T, class C>
void pass_round(C& comm, rank_run& run, const step& s, std::size_t index, const members& of) {
  call_buffers<T> buffers(run, s, index);
  auto& compute = buffers.stream();
  auto& link = run.streams[static_cast<std::size_t>(s.other)];
  const any_blocks blocks(s, comm.size());
  const std::size_t largest = rondel::largest_block(blocks);
  auto in = buffers.input(of, comm.rank());
  auto a = buffers.output(largest), b = buffers.output(largest);
  compute.copy(rondel::as_writable_bytes(a.span().first(in.size())), rondel::as_bytes(in.span()));
  const int way = s.backward ? 1 : -1;
  const int last =
      s.home ? comm.rank()
             : rondel::detail::ring_rank(comm.rank(), way * (comm.size() - 1), comm.size());
  buffers.make_room(blocks.total() + blocks.size(last));
  std::size_t at = 0;
  const auto use = [&](rondel::device_span<const T> block, int, int) {
    buffers.keep(block, at);
    at += block.size();
  };
  const rondel::ring_pass_options options{
      .direction = s.backward ? rondel::ring_direction::backward : rondel::ring_direction::forward,
      .return_home = s.home};
  const auto pass = [&](const auto& go) {
    const auto final_block = go();
    buffers.keep(final_block, at);
  };
  with_blocks<T>(
      s, comm.size(),
      [&] {
        pass([&] {
          return rondel::ring_pass(comm, compute, link, std::array{a.span(), b.span()}, use,
                                   options);
        });
      },
      [&](const auto& cuts) {
        pass([&] {
          return rondel::ring_pass_v(comm, compute, link, std::array{a.span(), b.span()}, cuts, use,
                                     options);
        });
      });
}

template <class T, class C>
void exchange(C& comm, rank_run& run, const step& s, std::size_t index, const members& of) {
  call_buffers<T> buffers(run, s, index);
  auto& stream = buffers.stream();
  const int rank = comm.rank();
  const auto messages = messages_of(s, comm.size());
  std::size_t arriving = 0;
  bool sends = false, receives = false;
  for (const message& m : messages) {
    arriving += m.to == rank ? m.size : 0;
    sends = sends || m.from == rank;
    receives = receives || m.to == rank;
  }
  auto in = buffers.input(of, rank);
  auto out = buffers.output(arriving);
  if (s.what == special::batch) {
    const rondel::operation_scope scope(comm, stream, {.kind = operation_kind::send_recv});
    auto batch = comm.batch(stream);
    std::size_t sent = 0, received = 0;
    for (const message& m : messages) {
      if (m.to == rank) {
        batch.recv(m.from, rondel::as_writable_bytes(out.span().subspan(received, m.size)));
        received += m.size;
      }
      if (m.from == rank) {
        batch.send(m.to, rondel::as_bytes(in.span().subspan(sent, m.size)));
        sent += m.size;
      }
    }
    batch.submit();
  } else if (s.what == special::one_message) {
    if (sends) rondel::send(comm, stream, in.span(), messages[0].to);
    if (receives) rondel::recv(comm, stream, out.span(), messages[0].from);
  } else {
    int to = 0, from = 0;
    for (const message& m : messages) {
      if (m.from == rank) to = m.to;
      if (m.to == rank) from = m.from;
    }
    rondel::send_recv(comm, stream, in.span(), to, out.span(), from);
  }
  buffers.result(out.span());
}

template <class T, class C>
void move(C& comm, rank_run& run, const step& s, std::size_t index, const members& of) {
  call_buffers<T> buffers(run, s, index);
  auto& stream = buffers.stream();
  const int rank = comm.rank();
  const int size = comm.size();
  const int root = root_of(s, size);
  auto in = buffers.input(of, rank);
  if (s.kind == operation_kind::broadcast) {
    rondel::broadcast(comm, stream, in.span(), root);
    return buffers.result(in.span());
  }
  if (s.kind == operation_kind::all_to_all) {
    std::vector<std::size_t> sent, received;
    std::size_t arriving = 0;
    for (int peer = 0; peer < size; ++peer) {
      sent.push_back(exchanged(s, rank, peer));
      received.push_back(exchanged(s, peer, rank));
      arriving += received.back();
    }
    auto out = buffers.output(arriving);
    if (s.blocks == cut::uneven || !std::same_as<T, std::int32_t>) {
      rondel::all_to_all_v(comm, stream, in.span(), any_blocks(sent), out.span(),
                           any_blocks(received));
    } else if constexpr (std::same_as<T, std::int32_t>) {
      rondel::all_to_all(comm, stream, in.span(), out.span());
    }
    return buffers.result(out.span());
  }
  const any_blocks blocks(s, size);
  const std::size_t offset = blocks.offset(rank), own = blocks.size(rank);
  if (s.kind == operation_kind::scatter) {
    const bool inside = s.in_place && rank == root;
    auto out = buffers.output(inside ? 0 : own);
    const auto target = inside ? in.span().subspan(offset, own) : out.span();
    with_blocks<T>(
        s, size, [&] { rondel::scatter(comm, stream, in.span(), target, root); },
        [&](const auto& b) { rondel::scatter_v(comm, stream, in.span(), target, b, root); });
    return buffers.result(inside ? in.span() : out.span());
  }
  const bool whole = s.kind == operation_kind::all_gather || rank == root;
  auto out = buffers.output(whole ? blocks.total() : 0);
  const bool inside = s.in_place && whole;
  const auto source = inside ? out.span().subspan(offset, own) : in.span();
  if (inside) stream.copy(rondel::as_writable_bytes(source), rondel::as_bytes(in.span()));
  if (s.kind == operation_kind::gather) {
    with_blocks<T>(
        s, size, [&] { rondel::gather(comm, stream, source, out.span(), root); },
        [&](const auto& b) { rondel::gather_v(comm, stream, source, out.span(), b, root); });
  } else {
    with_blocks<T>(
        s, size, [&] { rondel::all_gather(comm, stream, source, out.span()); },
        [&](const auto& b) { rondel::all_gather_v(comm, stream, source, out.span(), b); });
  }
  buffers.result(out.span());
}

template <class C>
void exchange_bytes(C& comm, const step& s, std::vector<std::byte>& result) {
  // What the hosts exchange is checked here: it is there when the call returns.
  const std::vector<std::byte> mine(s.count, static_cast<std::byte>(comm.rank() + 1));
  std::vector<std::byte> all(s.count * static_cast<std::size_t>(comm.size()));
  comm.exchange_host(mine, all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] != static_cast<std::byte>(i / s.count + 1)) result.push_back(all[i]);
  }
}

template <class C>
void call(C& comm, rank_run& run, const step& s, std::size_t index) {
  const members& of = run.who[static_cast<std::size_t>(s.slot)][static_cast<std::size_t>(run.rank)];
  auto& stream = run.streams[static_cast<std::size_t>(s.stream)];
  switch (s.kind) {
    case operation_kind::barrier:
      return rondel::barrier(comm, stream);
    case operation_kind::exchange_host:
      return exchange_bytes(comm, s, run.results[index]);
    case operation_kind::split: {
      auto& slot = run.slots.emplace_back();
      if (s.what == special::duplicate) {
        slot.emplace(comm.duplicate());
      } else {
        const auto r = static_cast<std::size_t>(run.rank);
        auto part = comm.split(s.colors[r], s.keys[r]);
        if (part) slot.emplace(std::move(*part));
      }
      return;
    }
    default:
      break;
  }
  with_type(s.type, [&]<class T>(std::type_identity<T>) {
    constexpr form f = form_of<C>;
    constexpr dtype type = rondel::dtype_of<T>;
    if (s.kind == operation_kind::all_reduce || s.kind == operation_kind::reduce_scatter) {
      if constexpr (reduces(f, type, combiner::sum)) return reduce<T>(comm, run, s, index, of);
    } else if (s.kind == operation_kind::send_recv) {
      if constexpr (sends(f, type)) return exchange<T>(comm, run, s, index, of);
    } else if constexpr (moves(f, type)) {
      return s.kind == operation_kind::ring_pass ? pass_round<T>(comm, run, s, index, of)
                                                 : move<T>(comm, run, s, index, of);
    }
    throw std::logic_error("a program asks for a type that is not compiled");
  });
}

}  // namespace programs
