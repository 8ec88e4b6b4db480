#pragma once
#include "host_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <Eigen/Core>

/// Definitions of `host_kernels.hpp`; included only where they are instantiated.
namespace train_gpt {
namespace detail {

using Eigen::Dynamic;
using Eigen::Index;
template <class T>
using matrix = Eigen::Matrix<T, Dynamic, Dynamic, Eigen::RowMajor>;
template <class T>
using row = Eigen::Array<T, 1, Dynamic>;
template <class T>
using matrix_map = Eigen::Map<matrix<T>>;
template <class T>
using const_matrix_map = Eigen::Map<const matrix<T>>;
template <class T>
using strided_map = Eigen::Map<matrix<T>, 0, Eigen::OuterStride<>>;
template <class T>
using const_strided_map = Eigen::Map<const matrix<T>, 0, Eigen::OuterStride<>>;
template <class T>
using row_map = Eigen::Map<row<T>>;
template <class T>
using const_row_map = Eigen::Map<const row<T>>;

inline Index index(std::size_t n) { return static_cast<Index>(n); }

// 2 u(x) of gelu(x) = x * sigmoid(2 u(x)), with u = sqrt(2 / pi) * (x + 0.044715 x^3).
template <class T>
inline constexpr T gelu_slope = T(2) * std::numbers::sqrt2_v<T>* std::numbers::inv_sqrtpi_v<T>;
template <class T>
inline constexpr T gelu_cubic = T(0.044715);

}  // namespace detail

template <class T>
void host_kernels<T>::linear(std::size_t m, std::size_t n, std::size_t k, const T* x, const T* w,
                             const T* bias, const T* residual, T* y) {
  using namespace detail;
  matrix_map<T> out(y, index(m), index(n));
  const const_matrix_map<T> in(x, index(m), index(k));
  const const_matrix_map<T> weight(w, index(k), index(n));
  if (bias == nullptr && residual == nullptr) {
    out.noalias() = in * weight;
    return;
  }
  for (std::size_t i = 0; i < m; ++i) {
    row_map<T> to(y + i * n, index(n));
    if (residual == nullptr) {
      to = const_row_map<T>(bias, index(n));
    } else if (bias == nullptr) {
      to = const_row_map<T>(residual + i * n, index(n));
    } else {
      to = const_row_map<T>(residual + i * n, index(n)) + const_row_map<T>(bias, index(n));
    }
  }
  out.noalias() += in * weight;
}

template <class T>
void host_kernels<T>::linear_backward_input(std::size_t m, std::size_t n, std::size_t k,
                                            const T* dy, const T* w, T* dx) {
  using namespace detail;
  matrix_map<T>(dx, index(m), index(k)).noalias() =
      const_matrix_map<T>(dy, index(m), index(n)) *
      const_matrix_map<T>(w, index(k), index(n)).transpose();
}

template <class T>
void host_kernels<T>::linear_backward_weight(std::size_t m, std::size_t n, std::size_t k,
                                             const T* x, const T* dy, T* dw, T* db) {
  using namespace detail;
  matrix_map<T>(dw, index(k), index(n)).noalias() +=
      const_matrix_map<T>(x, index(m), index(k)).transpose() *
      const_matrix_map<T>(dy, index(m), index(n));
  if (db == nullptr) return;
  row_map<T> sum(db, index(n));
  std::size_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const T* from = dy + i * n;
    sum += (const_row_map<T>(from, index(n)) + const_row_map<T>(from + n, index(n))) +
           (const_row_map<T>(from + 2 * n, index(n)) + const_row_map<T>(from + 3 * n, index(n)));
  }
  for (; i < m; ++i) sum += const_row_map<T>(dy + i * n, index(n));
}

template <class T>
void host_kernels<T>::embed(std::size_t batch, std::size_t length, std::size_t width,
                            const std::int32_t* tokens, const T* token_table,
                            const T* position_table, T* x) {
  using namespace detail;
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t i = 0; i < length; ++i) {
      const auto token = static_cast<std::size_t>(tokens[b * (length + 1) + i]);
      row_map<T>(x + (b * length + i) * width, index(width)) =
          const_row_map<T>(token_table + token * width, index(width)) +
          const_row_map<T>(position_table + i * width, index(width));
    }
  }
}

template <class T>
void host_kernels<T>::embed_backward(std::size_t batch, std::size_t length, std::size_t width,
                                     const std::int32_t* tokens, const T* dx, T* d_token_table,
                                     T* d_position_table) {
  using namespace detail;
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t i = 0; i < length; ++i) {
      const auto token = static_cast<std::size_t>(tokens[b * (length + 1) + i]);
      const const_row_map<T> from(dx + (b * length + i) * width, index(width));
      row_map<T>(d_token_table + token * width, index(width)) += from;
      row_map<T>(d_position_table + i * width, index(width)) += from;
    }
  }
}

template <class T>
void host_kernels<T>::layer_norm(std::size_t rows, std::size_t width, const T* x, const T* gain,
                                 const T* bias, T* y, T* mean, T* inverse_deviation) {
  using namespace detail;
  const const_row_map<T> g(gain, index(width));
  const const_row_map<T> b(bias, index(width));
  const T inverse_width = T(1) / static_cast<T>(width);
  for (std::size_t r = 0; r < rows; ++r) {
    const const_row_map<T> in(x + r * width, index(width));
    const T centre = in.sum() * inverse_width;
    const T variance = (in - centre).square().sum() * inverse_width;
    const T scale = T(1) / std::sqrt(variance + T(1e-5));
    row_map<T>(y + r * width, index(width)) = (in - centre) * scale * g + b;
    mean[r] = centre;
    inverse_deviation[r] = scale;
  }
}

template <class T>
void host_kernels<T>::layer_norm_backward(std::size_t rows, std::size_t width, const T* dy,
                                          const T* x, const T* gain, const T* mean,
                                          const T* inverse_deviation, T* dx, T* d_gain, T* d_bias,
                                          bool overwrite) {
  using namespace detail;
  const const_row_map<T> g(gain, index(width));
  row_map<T> dg(d_gain, index(width));
  row_map<T> db(d_bias, index(width));
  const T inverse_width = T(1) / static_cast<T>(width);
  for (std::size_t r = 0; r < rows; ++r) {
    const const_row_map<T> in(x + r * width, index(width));
    const const_row_map<T> from(dy + r * width, index(width));
    const T centre = mean[r];
    const T scale = inverse_deviation[r];
    const auto normal = (in - centre) * scale;
    const auto through = from * g;
    const T mean1 = through.sum() * inverse_width;
    const T mean2 = (through * normal).sum() * inverse_width;
    dg += from * normal;
    db += from;
    row_map<T> to(dx + r * width, index(width));
    if (overwrite) {
      to = scale * (through - mean1 - normal * mean2);
    } else {
      to += scale * (through - mean1 - normal * mean2);
    }
  }
}

template <class T>
void host_kernels<T>::attention(std::size_t batch, std::size_t length, std::size_t width,
                                std::size_t heads, const T* qkv, T* probabilities, T* out) {
  using namespace detail;
  const std::size_t head_width = width / heads;
  const T scale = T(1) / std::sqrt(static_cast<T>(head_width));
  const Eigen::OuterStride<> in_stride(index(3 * width));
  const Eigen::OuterStride<> out_stride(index(width));
  const Eigen::OuterStride<> row_stride(index(length));
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t h = 0; h < heads; ++h) {
      const T* q = qkv + b * length * 3 * width + h * head_width;
      T* p = probabilities + (b * heads + h) * length * length;
      for (std::size_t begin = 0; begin < length; begin += attention_rows) {
        const std::size_t end = std::min(begin + attention_rows, length);
        const const_strided_map<T> query(q + begin * 3 * width, index(end - begin),
                                         index(head_width), in_stride);
        const const_strided_map<T> key(q + width, index(end), index(head_width), in_stride);
        const const_strided_map<T> value(q + 2 * width, index(end), index(head_width), in_stride);
        strided_map<T> weights(p + begin * length, index(end - begin), index(end), row_stride);
        weights.noalias() = (scale * query) * key.transpose();
        for (std::size_t i = begin; i < end; ++i) {
          // The whole block width is exponentiated, so that no odd tail leaves the vector unit.
          // What is masked holds a visible value until then: it changes no maximum, and its
          // exponential is an ordinary number, where that of -infinity would be a slow denormal.
          row_map<T> seen(p + i * length, index(end));
          auto hidden = seen.tail(index(end - i - 1));
          hidden = seen[0];
          seen = (seen - seen.maxCoeff()).exp();
          hidden = T(0);
          seen *= T(1) / seen.sum();
        }
        strided_map<T>(out + (b * length + begin) * width + h * head_width, index(end - begin),
                       index(head_width), out_stride)
            .noalias() = weights * value;
      }
    }
  }
}

template <class T>
void host_kernels<T>::attention_backward(std::size_t batch, std::size_t length, std::size_t width,
                                         std::size_t heads, const T* d_out, const T* qkv,
                                         const T* probabilities, T* d_qkv, T* scratch) {
  using namespace detail;
  const std::size_t head_width = width / heads;
  const T scale = T(1) / std::sqrt(static_cast<T>(head_width));
  const Eigen::OuterStride<> in_stride(index(3 * width));
  const Eigen::OuterStride<> out_stride(index(width));
  const Eigen::OuterStride<> row_stride(index(length));
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t h = 0; h < heads; ++h) {
      const T* q = qkv + b * length * 3 * width + h * head_width;
      T* dq = d_qkv + b * length * 3 * width + h * head_width;
      const T* p = probabilities + (b * heads + h) * length * length;
      strided_map<T>(dq + width, index(length), index(head_width), in_stride).setZero();
      strided_map<T>(dq + 2 * width, index(length), index(head_width), in_stride).setZero();
      for (std::size_t begin = 0; begin < length; begin += attention_rows) {
        const std::size_t end = std::min(begin + attention_rows, length);
        const Index rows = index(end - begin);
        const Index seen = index(end);
        const const_strided_map<T> query(q + begin * 3 * width, rows, index(head_width), in_stride);
        const const_strided_map<T> key(q + width, seen, index(head_width), in_stride);
        const const_strided_map<T> value(q + 2 * width, seen, index(head_width), in_stride);
        const const_strided_map<T> from(d_out + (b * length + begin) * width + h * head_width, rows,
                                        index(head_width), out_stride);
        const const_strided_map<T> weights(p + begin * length, rows, seen, row_stride);
        strided_map<T> d_scores(scratch, rows, seen, row_stride);
        d_scores.noalias() = from * value.transpose();
        for (Index i = 0; i < rows; ++i) {
          // The scale of the scores is applied here, once for both products below.
          row_map<T> d(scratch + i * row_stride.outer(), seen);
          const const_row_map<T> w(p + (begin + static_cast<std::size_t>(i)) * length, seen);
          const T mean = (d * w).sum();
          d = w * (d - mean) * scale;
        }
        strided_map<T>(dq + begin * 3 * width, rows, index(head_width), in_stride).noalias() =
            d_scores * key;
        strided_map<T>(dq + width, seen, index(head_width), in_stride).noalias() +=
            d_scores.transpose() * query;
        strided_map<T>(dq + 2 * width, seen, index(head_width), in_stride).noalias() +=
            weights.transpose() * from;
      }
    }
  }
}

template <class T>
void host_kernels<T>::gelu(std::size_t count, const T* x, T* y) {
  using namespace detail;
  const const_row_map<T> in(x, index(count));
  row_map<T>(y, index(count)) =
      in / (T(1) + (-gelu_slope<T> * in * (T(1) + gelu_cubic<T> * in.square())).exp());
}

template <class T>
void host_kernels<T>::gelu_backward(std::size_t count, const T* x, T* dy) {
  using namespace detail;
  constexpr std::size_t chunk = 256;
  Eigen::Array<T, 1, static_cast<int>(chunk)> sigmoid;
  for (std::size_t begin = 0; begin < count; begin += chunk) {
    const Index size = index(std::min(chunk, count - begin));
    const const_row_map<T> in(x + begin, size);
    row_map<T> d(dy + begin, size);
    auto s = sigmoid.head(size);
    s = T(1) / (T(1) + (-gelu_slope<T> * in * (T(1) + gelu_cubic<T> * in.square())).exp());
    d *= s + in * s * (T(1) - s) * gelu_slope<T> * (T(1) + T(3) * gelu_cubic<T> * in.square());
  }
}

template <class T>
void host_kernels<T>::cross_entropy(std::size_t batch, std::size_t length, std::size_t vocabulary,
                                    const T* logits, const std::int32_t* tokens, double scale,
                                    double* loss) {
  using namespace detail;
  double sum = 0;
  for (std::size_t r = 0; r < batch * length; ++r) {
    const const_row_map<T> from(logits + r * vocabulary, index(vocabulary));
    const auto target = tokens[r / length * (length + 1) + r % length + 1];
    const T highest = from.maxCoeff();
    sum += static_cast<double>(std::log((from - highest).exp().sum()) + highest - from[target]);
  }
  *loss += scale * sum;
}

template <class T>
void host_kernels<T>::cross_entropy_with_gradient(std::size_t batch, std::size_t length,
                                                  std::size_t vocabulary, T* logits,
                                                  const std::int32_t* tokens, double scale,
                                                  double* loss) {
  using namespace detail;
  double sum = 0;
  for (std::size_t r = 0; r < batch * length; ++r) {
    row_map<T> row(logits + r * vocabulary, index(vocabulary));
    const auto target = tokens[r / length * (length + 1) + r % length + 1];
    const T highest = row.maxCoeff();
    const T right = row[target] - highest;
    row = (row - highest).exp();
    const T total = row.sum();
    sum += static_cast<double>(std::log(total) - right);
    row *= static_cast<T>(scale) / total;
    row[target] -= static_cast<T>(scale);
  }
  *loss += scale * sum;
}

template <class T>
void host_kernels<T>::squared_norm(std::size_t count, const T* x, double* out) {
  using namespace detail;
  constexpr std::size_t chunk = 1024;
  double sum = 0;
  for (std::size_t begin = 0; begin < count; begin += chunk) {
    const Index size = index(std::min(chunk, count - begin));
    sum += static_cast<double>(const_row_map<T>(x + begin, size).square().sum());
  }
  *out = sum;
}

template <class T>
void host_kernels<T>::fill_normal(std::size_t count, std::uint64_t seed, double deviation, T* x) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = mix_bits(seed ^ mix_bits(i));
    const double radius = std::sqrt(-2 * std::log(unit_interval(bits)));
    const double angle = 2 * std::numbers::pi * unit_interval(mix_bits(bits));
    x[i] = static_cast<T>(deviation * radius * std::cos(angle));
  }
}

template <class T>
void host_kernels<T>::adamw(const adamw_step& step, const parameter_range* ranges,
                            std::size_t range_count, const double* squared_norm, const T* gradients,
                            T* parameters, T* moment1, T* moment2) {
  const double norm = std::sqrt(*squared_norm);
  const double factor = step.clip > 0 ? std::min(1.0, step.clip / (norm + 1e-6)) : 1.0;
  const auto clip = static_cast<T>(factor);
  const auto beta1 = static_cast<T>(step.beta1);
  const auto beta2 = static_cast<T>(step.beta2);
  const auto rest1 = static_cast<T>(1 - step.beta1);
  const auto rest2 = static_cast<T>(1 - step.beta2);
  const auto rate = static_cast<T>(step.learning_rate / step.correction1);
  const auto unbias = static_cast<T>(1 / std::sqrt(step.correction2));
  const auto epsilon = static_cast<T>(step.epsilon);
  for (std::size_t r = 0; r < range_count; ++r) {
    const double decay = ranges[r].decay != 0 ? step.learning_rate * step.weight_decay : 0;
    const auto keep = static_cast<T>(1 - decay);
    const T* __restrict g = gradients + ranges[r].offset;
    T* __restrict p = parameters + ranges[r].offset;
    T* __restrict m = moment1 + ranges[r].offset;
    T* __restrict v = moment2 + ranges[r].offset;
    const auto count = static_cast<std::ptrdiff_t>(ranges[r].count);
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const T d = clip * g[i];
      m[i] = beta1 * m[i] + rest1 * d;
      v[i] = beta2 * v[i] + rest2 * d * d;
      p[i] = keep * p[i] - rate * m[i] / (std::sqrt(v[i]) * unbias + epsilon);
    }
  }
}

}  // namespace train_gpt
