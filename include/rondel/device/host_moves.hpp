#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/adam.hpp>
#include <rondel/device/strided.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>

namespace rondel::detail {

// The kernels that move, convert and update elements, on plain memory of the host.

template <class T>
void copy_strided_on_host(T* to, const T* from, const strided_copy& copy) {
  const std::size_t n = copy.elements();
  std::size_t at[strided_copy::most_axes] = {};
  std::size_t read = 0, write = 0;
  for (std::size_t i = 0; i < n; ++i) {
    to[write] = from[read];
    for (int a = copy.count; a-- > 0;) {
      const auto k = static_cast<std::size_t>(a);
      read += copy.axes[k].from;
      write += copy.axes[k].to;
      if (++at[k] < copy.axes[k].size) break;
      read -= copy.axes[k].from * copy.axes[k].size;
      write -= copy.axes[k].to * copy.axes[k].size;
      at[k] = 0;
    }
  }
}

template <class T, std::integral Index>
void gather_rows_on_host(T* out, const T* in, const Index* index, std::size_t rows,
                         std::size_t width) {
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(in + static_cast<std::size_t>(index[r]) * width, width, out + r * width);
  }
}

template <class T, std::integral Index>
void scatter_rows_on_host(T* out, const T* in, const Index* index, std::size_t rows,
                          std::size_t width) {
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(in + r * width, width, out + static_cast<std::size_t>(index[r]) * width);
  }
}

template <class To, class From>
void cast_on_host(To* out, const From* in, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = element_cast<To>(in[i]);
}

template <class G, class H>
void adam_on_host(const adam_step& step, float* p, const G* g, float* m, float* v, H* copy,
                  const float* scale, std::size_t n) {
  const float factor = scale != nullptr ? *scale : 1.0F;
  for (std::size_t i = 0; i < n; ++i) {
    step(unfused_product(factor, static_cast<float>(g[i])), p[i], m[i], v[i]);
    if (copy != nullptr) copy[i] = element_cast<H>(p[i]);
  }
}

inline void check_cast(std::size_t to, std::size_t from) {
  if (to != from) {
    throw invalid_argument(concat("cast: ", from, " elements do not fit ", to));
  }
}

// What the launches cost, on every device.
[[nodiscard]] inline work moves(const char* name, std::size_t read, std::size_t written) {
  return {.name = name, .bytes_read = read, .bytes_written = written};
}
template <class G>
[[nodiscard]] work adam_work(std::size_t n, std::size_t copy_bytes) {
  return {.name = "adam",
          .flops = 14 * static_cast<double>(n),
          .bytes_read = n * (3 * sizeof(float) + sizeof(G)),
          .bytes_written = n * 3 * sizeof(float) + copy_bytes};
}

// These kernels on every device whose streams take a plain callable.
template <class Stream>
struct callable_moves {
  // to[sum(i * copy.to)] = from[sum(i * copy.from)] for all (i0, i1, ...).
  template <class T>
  static void copy_strided(Stream& s, device_span<T> to, device_span<const T> from,
                           const strided_copy& copy) {
    check_strided(copy, to.size(), from.size());
    const std::size_t bytes = copy.elements() * sizeof(T);
    s.launch(moves("copy_strided", bytes, bytes),
             [=] { copy_strided_on_host(to.data(), from.data(), copy); });
  }

  // Row `r` of `out` = row `index[r]` of `in`, of `width` elements each.
  template <class T, std::integral Index>
  static void gather_rows(Stream& s, device_span<T> out, device_span<const T> in,
                          device_span<const Index> index, std::size_t width) {
    check_rows("gather_rows", width, out.size(), index.size());
    s.launch(moves("gather_rows", out.size_bytes() + index.size_bytes(), out.size_bytes()), [=] {
      gather_rows_on_host(out.data(), in.data(), index.data(), index.size(), width);
    });
  }

  // Row `index[r]` of `out` = row `r` of `in`.
  template <class T, std::integral Index>
  static void scatter_rows(Stream& s, device_span<T> out, device_span<const T> in,
                           device_span<const Index> index, std::size_t width) {
    check_rows("scatter_rows", width, in.size(), index.size());
    s.launch(moves("scatter_rows", in.size_bytes() + index.size_bytes(), in.size_bytes()), [=] {
      scatter_rows_on_host(out.data(), in.data(), index.data(), index.size(), width);
    });
  }

  // out[i] = in[i], rounded to nearest, ties to even, where `To` is a 16-bit float.
  template <class To, class From>
  static void cast(Stream& s, device_span<To> out, device_span<const From> in) {
    check_cast(out.size(), in.size());
    s.launch(moves("cast", in.size_bytes(), out.size_bytes()),
             [=] { cast_on_host(out.data(), in.data(), in.size()); });
  }

  // One AdamW step.
  template <class G, class H = float>
  static void adam(Stream& s, const adam_options& options, device_span<float> parameters,
                   device_span<const G> gradients, device_span<float> first,
                   device_span<float> second, device_span<H> copy = {},
                   device_span<const float> scale = {}) {
    check_adam(parameters.size(), gradients.size(), first.size(), second.size(), copy.size(),
               scale.size());
    s.launch(adam_work<G>(parameters.size(), copy.size_bytes()), [=, step = adam_step(options)] {
      adam_on_host(step, parameters.data(), gradients.data(), first.data(), second.data(),
                   copy.data(), scale.data(), parameters.size());
    });
  }
};

}  // namespace rondel::detail
