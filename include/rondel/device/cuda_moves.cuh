#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/device/adam.hpp>
#include <rondel/device/cuda_launch.cuh>
#include <rondel/device/host_moves.hpp>
#include <rondel/device/strided.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace rondel::detail {

// `strided_copy` with indices of one width: 32 bits divide several times faster than 64.
template <class Index>
struct strided_axes {
  Index size[strided_copy::most_axes], from[strided_copy::most_axes], to[strided_copy::most_axes];
  int count;

  explicit strided_axes(const strided_copy& copy) : count(copy.count) {
    for (int a = 0; a < count; ++a) {
      const auto& axis = copy.axes[static_cast<std::size_t>(a)];
      size[a] = static_cast<Index>(axis.size);
      from[a] = static_cast<Index>(axis.from);
      to[a] = static_cast<Index>(axis.to);
    }
  }
};

template <class T, class Index>
__global__ void copy_strided_elements(T* to, const T* from, strided_axes<Index> axes, Index n) {
  for_each_index(n, [&](Index i) {
    Index read = 0, write = 0;
    for (int a = axes.count - 1; a > 0; --a) {
      const Index rest = i / axes.size[a];
      const Index at = i - rest * axes.size[a];
      read += at * axes.from[a];
      write += at * axes.to[a];
      i = rest;
    }
    if (axes.count > 0) {
      read += i * axes.from[0];
      write += i * axes.to[0];
    }
    to[write] = from[read];
  });
}

template <class T, class Index>
__global__ void gather_row_elements(T* out, const T* in, const Index* index, std::size_t n,
                                    std::size_t width) {
  for_each_index(n, [&](std::size_t i) {
    const std::size_t row = i / width;
    out[i] = in[static_cast<std::size_t>(index[row]) * width + (i - row * width)];
  });
}

template <class T, class Index>
__global__ void scatter_row_elements(T* out, const T* in, const Index* index, std::size_t n,
                                     std::size_t width) {
  for_each_index(n, [&](std::size_t i) {
    const std::size_t row = i / width;
    out[static_cast<std::size_t>(index[row]) * width + (i - row * width)] = in[i];
  });
}

template <class To, class From>
__global__ void cast_elements(To* out, const From* in, std::size_t n) {
  for_each_index(n, [&](std::size_t i) { out[i] = element_cast<To>(in[i]); });
}

template <class G, class H>
__global__ void adam_elements(adam_step step, float* p, const G* g, float* m, float* v, H* copy,
                              const float* scale, std::size_t n) {
  const float factor = scale != nullptr ? *scale : 1.0F;
  for_each_index(n, [&](std::size_t i) {
    float parameter = p[i], first = m[i], second = v[i];
    step(unfused_product(factor, static_cast<float>(g[i])), parameter, first, second);
    p[i] = parameter;
    m[i] = first;
    v[i] = second;
    if (copy != nullptr) copy[i] = element_cast<H>(parameter);
  });
}

// See `kernels<host_device>`.
struct cuda_moves {
  template <class T, class Stream>
  static void copy_strided(Stream& s, device_span<T> to, device_span<const T> from,
                           const strided_copy& copy) {
    check_strided(copy, to.size(), from.size());
    const std::size_t n = copy.elements();
    if (n == 0) return;
    const strided_copy merged = copy.merged();
    s.launch(moves("copy_strided", n * sizeof(T), n * sizeof(T)), [&](cudaStream_t stream) {
      const auto run = [&]<class Index>(Index count) {
        copy_strided_elements<<<blocks_for(n), threads_per_block, 0, stream>>>(
            to.data(), from.data(), strided_axes<Index>(merged), count);
      };
      // What the loop adds to an index must not wrap around either.
      constexpr std::size_t narrow = std::size_t{1} << 31;
      if (n < narrow && merged.reach_from() < narrow && merged.reach_to() < narrow) {
        run(static_cast<std::uint32_t>(n));
      } else {
        run(std::uint64_t{n});
      }
    });
  }

  template <class T, std::integral Index, class Stream>
  static void gather_rows(Stream& s, device_span<T> out, device_span<const T> in,
                          device_span<const Index> index, std::size_t width) {
    check_rows("gather_rows", width, out.size(), index.size());
    if (out.empty()) return;
    s.launch(moves("gather_rows", out.size_bytes() + index.size_bytes(), out.size_bytes()),
             [&](cudaStream_t stream) {
               gather_row_elements<<<blocks_for(out.size()), threads_per_block, 0, stream>>>(
                   out.data(), in.data(), index.data(), out.size(), width);
             });
  }

  template <class T, std::integral Index, class Stream>
  static void scatter_rows(Stream& s, device_span<T> out, device_span<const T> in,
                           device_span<const Index> index, std::size_t width) {
    check_rows("scatter_rows", width, in.size(), index.size());
    if (in.empty()) return;
    s.launch(moves("scatter_rows", in.size_bytes() + index.size_bytes(), in.size_bytes()),
             [&](cudaStream_t stream) {
               scatter_row_elements<<<blocks_for(in.size()), threads_per_block, 0, stream>>>(
                   out.data(), in.data(), index.data(), in.size(), width);
             });
  }

  template <class To, class From, class Stream>
  static void cast(Stream& s, device_span<To> out, device_span<const From> in) {
    check_cast(out.size(), in.size());
    if (in.empty()) return;
    s.launch(moves("cast", in.size_bytes(), out.size_bytes()), [&](cudaStream_t stream) {
      cast_elements<<<blocks_for(in.size()), threads_per_block, 0, stream>>>(out.data(), in.data(),
                                                                             in.size());
    });
  }

  template <class G, class H = float, class Stream>
  static void adam(Stream& s, const adam_options& options, device_span<float> parameters,
                   device_span<const G> gradients, device_span<float> first,
                   device_span<float> second, device_span<H> copy = {},
                   device_span<const float> scale = {}) {
    check_adam(parameters.size(), gradients.size(), first.size(), second.size(), copy.size(),
               scale.size());
    const adam_step step(options);
    if (parameters.empty()) return;
    s.launch(adam_work<G>(parameters.size(), copy.size_bytes()), [&](cudaStream_t stream) {
      adam_elements<<<blocks_for(parameters.size()), threads_per_block, 0, stream>>>(
          step, parameters.data(), gradients.data(), first.data(), second.data(), copy.data(),
          scale.data(), parameters.size());
    });
  }
};

}  // namespace rondel::detail
