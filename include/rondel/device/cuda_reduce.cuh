#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/device/cuda_launch.cuh>

#include <cstddef>
#include <vector>

namespace rondel::detail {

// Where a reduction reads and writes. Travels as a kernel parameter, which may take 4 KiB.
template <class T, int Most>
struct reduce_places {
  const T* in[Most];
  T* out[Most];
  int ins = 0, outs = 0;
};

// The arithmetic of the host, element by element: the inputs one after the other, in the
// accumulator type. There are no products, so nothing can be fused. `ranks` are divided by where a
// mean is finished; 0 where it is not.
template <class T, class Op, int Most>
__device__ T reduce_element(const reduce_places<T, Most>& places, std::size_t i, const Op& op,
                            int ranks) {
  using accumulator = accumulator_t<Op, T>;
  auto value = static_cast<accumulator>(places.in[0][i]);
  for (int r = 1; r < places.ins; ++r) {
    value = op(value, static_cast<accumulator>(places.in[r][i]));
  }
  if constexpr (has_finish<Op>) {
    if (ranks != 0) value = finish(op, value, ranks);
  }
  return element_cast<T>(value);
}

template <class T, class Op, int Most>
__global__ void reduce_elements(reduce_places<T, Most> places, std::size_t n, Op op, int ranks) {
  for_each_index(n, [&](std::size_t i) {
    const T value = reduce_element(places, i, op, ranks);
    for (int k = 0; k < places.outs; ++k) places.out[k][i] = value;
  });
}

// The same, 16 bytes at a time: all places are aligned to that, and `n` counts packs.
template <class T, class Op, int Most>
__global__ void reduce_packs(reduce_places<T, Most> places, std::size_t n, Op op, int ranks) {
  using accumulator = accumulator_t<Op, T>;
  for_each_index(n, [&](std::size_t i) {
    accumulator value[pack<T>::size];
    pack<T> next = reinterpret_cast<const pack<T>*>(places.in[0])[i];
#pragma unroll
    for (int k = 0; k < pack<T>::size; ++k) value[k] = static_cast<accumulator>(next.item[k]);
    for (int r = 1; r < places.ins; ++r) {
      next = reinterpret_cast<const pack<T>*>(places.in[r])[i];
#pragma unroll
      for (int k = 0; k < pack<T>::size; ++k) {
        value[k] = op(value[k], static_cast<accumulator>(next.item[k]));
      }
    }
#pragma unroll
    for (int k = 0; k < pack<T>::size; ++k) {
      if constexpr (has_finish<Op>) {
        if (ranks != 0) value[k] = finish(op, value[k], ranks);
      }
      next.item[k] = element_cast<T>(value[k]);
    }
    for (int k = 0; k < places.outs; ++k) reinterpret_cast<pack<T>*>(places.out[k])[i] = next;
  });
}

// The most that fit into the parameters of a kernel.
inline constexpr int most_reduced = 240;

template <int Most, class T, class Op>
void launch_reduce(cudaStream_t stream, const std::vector<device_span<T>>& outs,
                   const std::vector<device_span<const T>>& in, Op op, int ranks) {
  reduce_places<T, Most> places;
  std::size_t n = outs.front().size();
  bool packed = true;
  for (const auto& one : in) {
    places.in[places.ins++] = one.data();
    packed = packed && is_packed(one.data());
  }
  for (const auto& one : outs) {
    places.out[places.outs++] = one.data();
    packed = packed && is_packed(one.data());
  }
  if (packed) {
    const std::size_t packs = n / pack<T>::size;
    if (packs != 0) {
      reduce_packs<<<blocks_for(packs), threads_per_block, 0, stream>>>(places, packs, op, ranks);
    }
    const std::size_t done = packs * pack<T>::size;
    for (int k = 0; k < places.ins; ++k) places.in[k] += done;
    for (int k = 0; k < places.outs; ++k) places.out[k] += done;
    n -= done;
  }
  if (n != 0) {
    reduce_elements<<<blocks_for(n), threads_per_block, 0, stream>>>(places, n, op, ranks);
  }
}

// See `kernels<host_device>`.
struct cuda_reductions {
  template <class T, class Op, class Stream>
  static void reduce(Stream& s, device_span<T> out, device_span<const T> a, device_span<const T> b,
                     Op op, int ranks, bool last) {
    if (out.empty()) return;
    s.launch({.name = "reduce",
              .flops = static_cast<double>(out.size()),
              .bytes_read = 2 * out.size_bytes(),
              .bytes_written = out.size_bytes()},
             [&](cudaStream_t stream) {
               launch_reduce<2, T>(stream, {out}, {a, b}, op, last ? ranks : 0);
             });
  }

  template <class T, class Op, class Stream>
  static void reduce_many(Stream& s, device_span<T> out, std::vector<device_span<const T>> in,
                          Op op) {
    reduce_to_many<T>(s, {out}, std::move(in), op);
  }

  template <class T, class Op, class Stream>
  static void reduce_to_many(Stream& s, std::vector<device_span<T>> outs,
                             std::vector<device_span<const T>> in, Op op) {
    const std::size_t n = outs.front().size();
    if (n == 0) return;
    const std::size_t places = in.size() < outs.size() ? outs.size() : in.size();
    if (in.empty() || places > std::size_t{most_reduced}) {
      throw invalid_argument(concat("reduce_to_many: ", in.size(), " inputs and ", outs.size(),
                                    " outputs; a kernel takes 1 to ", most_reduced));
    }
    const auto ranks = static_cast<int>(in.size());
    s.launch({.name = "reduce",
              .flops = static_cast<double>(n) * (ranks - 1),
              .bytes_read = in.size() * n * sizeof(T),
              .bytes_written = outs.size() * n * sizeof(T)},
             [&](cudaStream_t stream) {
               if (places <= 8) {
                 launch_reduce<8, T>(stream, outs, in, op, ranks);
               } else {
                 launch_reduce<most_reduced, T>(stream, outs, in, op, ranks);
               }
             });
  }
};

}  // namespace rondel::detail
