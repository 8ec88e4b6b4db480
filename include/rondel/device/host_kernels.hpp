#pragma once
#include <rondel/core/reduction.hpp>
#include <rondel/device/host.hpp>
#include <rondel/device/host_moves.hpp>
#include <rondel/device/sim.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace rondel {
namespace detail {

// Elements per block of a reduction over many inputs. Accumulators and one input stay in L1; much
// larger ones, stored past the cache, let memory idle while they are read.
inline constexpr std::size_t reduce_block = 512;

// out[i] = finish(op(...op(op(in(0)[i], in(1)[i]), in(2)[i])...)), in that order, for i in
// [begin, end) and inputs in(0) ... in(ranks - 1). `store(offset, block, size)` receives each
// finished block, so that a caller can write it to several places while it is in the cache.
template <class T, class Op, class In, class Store>
void reduce_in_order(std::size_t begin, std::size_t end, int ranks, const Op& op, const In& in,
                     const Store& store) {
  using accumulator = accumulator_t<Op, T>;
  alignas(64) std::array<accumulator, reduce_block> sums;
  alignas(64) std::array<T, reduce_block> rounded;
  for (std::size_t at = begin; at < end; at += reduce_block) {
    const std::size_t size = std::min(reduce_block, end - at);
    accumulator* const a = sums.data();
    const T* const x0 = in(0) + at;
    if (ranks == 1) {
      for (std::size_t i = 0; i < size; ++i) a[i] = static_cast<accumulator>(x0[i]);
    } else {
      const T* const x1 = in(1) + at;
      for (std::size_t i = 0; i < size; ++i) {
        a[i] = op(static_cast<accumulator>(x0[i]), static_cast<accumulator>(x1[i]));
      }
    }
    for (int r = 2; r < ranks; ++r) {
      const T* const x = in(r) + at;
      for (std::size_t i = 0; i < size; ++i) a[i] = op(a[i], static_cast<accumulator>(x[i]));
    }
    if constexpr (has_finish<Op>) {
      for (std::size_t i = 0; i < size; ++i) a[i] = finish(op, a[i], ranks);
    }
    if constexpr (std::same_as<accumulator, T>) {
      store(at, a, size);
    } else {
      for (std::size_t i = 0; i < size; ++i) rounded[i] = element_cast<T>(a[i]);
      store(at, rounded.data(), size);
    }
  }
}

// The same from the beginning into `out`, which may be one of the inputs.
template <class T, class Op, class In>
void reduce_in_order_to(T* out, std::size_t count, int ranks, const Op& op, const In& in) {
  if constexpr (std::same_as<accumulator_t<Op, T>, T> && !has_finish<Op>) {
    if (ranks == 2 && in(0) != out && in(1) != out) {
      const T* const x0 = in(0);
      const T* const x1 = in(1);
      for (std::size_t i = 0; i < count; ++i) out[i] = op(x0[i], x1[i]);
      return;
    }
  }
  reduce_in_order<T>(0, count, ranks, op, in,
                     [&](std::size_t at, const T* block, std::size_t size) {
                       std::copy_n(block, size, out + at);
                     });
}

// The kernels of every device whose streams take a plain callable.
template <class Stream>
struct callable_kernels {
  // out[i] = op(a[i], b[i]); `out` may be `a` or `b`. With `last`, the result of the reduction
  // over `ranks` ranks: what finishes it (the division of a mean) is done too.
  template <class T, class Op>
  static void reduce(Stream& s, device_span<T> out, device_span<const T> a, device_span<const T> b,
                     Op op, int ranks, bool last) {
    const std::size_t n = out.size();
    s.launch({.name = "reduce",
              .flops = static_cast<double>(n),
              .bytes_read = 2 * out.size_bytes(),
              .bytes_written = out.size_bytes()},
             [=, to = out.data(), x = a.data(), y = b.data()] {
               using accumulator = accumulator_t<Op, T>;
               for (std::size_t i = 0; i < n; ++i) {
                 accumulator value =
                     op(static_cast<accumulator>(x[i]), static_cast<accumulator>(y[i]));
                 if constexpr (has_finish<Op>) {
                   if (last) value = finish(op, value, ranks);
                 }
                 to[i] = element_cast<T>(value);
               }
             });
  }

  // out[i] = in[0][i] op in[1][i] op ..., in that order, finished. `out` may be one of them.
  template <class T, class Op>
  static void reduce_many(Stream& s, device_span<T> out, std::vector<device_span<const T>> in,
                          Op op) {
    reduce_to_many<T>(s, {out}, std::move(in), op);
  }

  // The same into each of `outs`.
  template <class T, class Op>
  static void reduce_to_many(Stream& s, std::vector<device_span<T>> outs,
                             std::vector<device_span<const T>> in, Op op) {
    const std::size_t n = outs.front().size();
    const auto ranks = static_cast<int>(in.size());
    s.launch({.name = "reduce",
              .flops = static_cast<double>(n) * (ranks - 1),
              .bytes_read = in.size() * n * sizeof(T),
              .bytes_written = outs.size() * n * sizeof(T)},
             [=, to = std::move(outs), from = std::move(in)] {
               reduce_in_order<T>(
                   0, n, ranks, op, [&](int r) { return from[static_cast<std::size_t>(r)].data(); },
                   [&](std::size_t at, const T* block, std::size_t size) {
                     for (const auto& out : to) std::copy_n(block, size, out.data() + at);
                   });
             });
  }
};

}  // namespace detail

/// The kernels of rondel's primitives on the host. All spans of a launch must live until the stream
/// has passed, and where sizes do not fit a launch throws `invalid_argument`.
///
/// - `reduce(stream, out, a, b, op, ranks, last)`: `out[i] = op(a[i], b[i])`; `out` may be `a`
///   or `b`. With `last`, the division of a mean over `ranks` ranks is done too.
/// - `reduce_many(stream, out, inputs, op)`: `out[i] = in0[i] op in1[i] op ...`, in that order,
///   rounded once; `out` may be one of the inputs.
/// - `reduce_to_many(stream, outs, inputs, op)`: the same into each of `outs`, of one size.
/// - `copy_strided(stream, to, from, copy)`: moves elements as a `strided_copy` says; `permutation`
///   makes one. The two spans do not overlap.
/// - `gather_rows(stream, out, in, index, width)`: row `r` of `out` is row `index[r]` of `in`, of
///   `width` elements. `scatter_rows`: row `index[r]` of `out` is row `r` of `in`; no index comes
///   twice. Indices are not checked: each must be that of a row.
/// - `cast(stream, out, in)`: converts each element; to a 16-bit float by rounding to nearest, ties
///   to even, which is the same on every device.
/// - `adam(stream, options, parameters, gradients, first, second, copy = {}, scale = {})`: one step
///   of AdamW on `float` parameters and moments, with gradients of any floating type. Each gradient
///   is multiplied by `scale[0]`, if there is one; each new parameter is also rounded into `copy`,
///   if there is one.
template <>
struct kernels<host_device> : detail::callable_kernels<host_stream>,
                              detail::callable_moves<host_stream> {};

/// The same launches on the simulated device, which counts them and runs none.
template <>
struct kernels<sim_device> : detail::callable_kernels<sim_stream>,
                             detail::callable_moves<sim_stream> {};

}  // namespace rondel
