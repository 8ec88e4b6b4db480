#pragma once
// The kernels of `cuda_device` for tests without a GPU: the host's arithmetic, launched on the fake
// runtime, which is told what memory each one reads and writes.
#include <rondel/device/cuda.hpp>
#include <rondel/device/host_kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <fake_cuda/fake_cuda.hpp>

namespace fake_cuda {

template <class T>
[[nodiscard]] memory_use use_of(rondel::device_span<T> span) {
  return {span.data(), span.size_bytes(), !std::is_const_v<T>};
}

}  // namespace fake_cuda

template <>
struct rondel::kernels<rondel::cuda_device> {
  template <class T, class Op, class Stream>
  static void reduce(Stream& s, device_span<T> out, device_span<const T> a, device_span<const T> b,
                     Op op, int ranks, bool last) {
    launch<T>(s, {out}, {a, b}, op, last ? ranks : 0);
  }

  template <class T, class Op, class Stream>
  static void reduce_many(Stream& s, device_span<T> out, std::vector<device_span<const T>> in,
                          Op op) {
    reduce_to_many<T>(s, {out}, std::move(in), op);
  }

  template <class T, class Op, class Stream>
  static void reduce_to_many(Stream& s, std::vector<device_span<T>> outs,
                             std::vector<device_span<const T>> in, Op op) {
    const auto ranks = static_cast<int>(in.size());
    launch<T>(s, std::move(outs), std::move(in), op, ranks);
  }

 private:
  // `ranks` is 0 where the result is not finished.
  template <class T, class Op, class Stream>
  static void launch(Stream& s, std::vector<device_span<T>> outs,
                     std::vector<device_span<const T>> in, Op op, int ranks) {
    const std::size_t n = outs.front().size();
    if (n == 0) return;
    std::vector<fake_cuda::memory_use> uses;
    for (const auto& one : in) uses.push_back(fake_cuda::use_of(one));
    for (const auto& one : outs) uses.push_back(fake_cuda::use_of(one));
    s.launch({.name = "reduce",
              .flops = static_cast<double>(n * (in.size() - 1)),
              .bytes_read = in.size() * n * sizeof(T),
              .bytes_written = outs.size() * n * sizeof(T)},
             [&](cudaStream_t stream) {
               fake_cuda::launch(
                   stream,
                   [=] {
                     std::vector<const T*> from;
                     for (const auto& one : in) from.push_back(fake_cuda::memory(one.data()));
                     std::vector<T*> to;
                     for (const auto& one : outs) to.push_back(fake_cuda::memory(one.data()));
                     run(to, from, n, op, ranks);
                   },
                   uses);
             });
  }

  template <class T, class Op>
  static void run(const std::vector<T*>& to, const std::vector<const T*>& from, std::size_t n,
                  const Op& op, int ranks) {
    using accumulator = detail::accumulator_t<Op, T>;
    for (std::size_t i = 0; i < n; ++i) {
      auto value = static_cast<accumulator>(from[0][i]);
      for (std::size_t r = 1; r < from.size(); ++r) {
        value = op(value, static_cast<accumulator>(from[r][i]));
      }
      if (ranks != 0) value = detail::finish(op, value, ranks);
      for (T* const one : to) one[i] = detail::element_cast<T>(value);
    }
  }
};
