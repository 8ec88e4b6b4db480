#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/host.hpp>
#include <rondel/device/sim.hpp>

#include "host_kernels.hpp"

#include <cstddef>
#include <cstdint>

namespace train_gpt {

/// A batch of `batch` sequences of `length` tokens.
struct batch_shape {
  /// Number of sequences.
  std::size_t batch = 0;
  /// Tokens per sequence that are inputs; the buffer holds one more, the last target.
  std::size_t length = 0;

  /// Number of predictions.
  [[nodiscard]] constexpr std::size_t rows() const noexcept { return batch * length; }
};

/// The operations of the model on device `D`: a specialisation per device, whose members launch
/// kernels on the stream they are given. See `host_operations` for the list.
template <class T, rondel::device D>
struct operations;

/// Operations that run `host_kernels`; they also serve devices that run no kernel.
///
/// Shapes and arithmetic are those of `host_kernels`. Every launch carries its work: a
/// multiply-add counts as two operations, an exponential, root or division as one, and attention
/// counts the lower triangle only. Every operand counts once as traffic, however often a cache
/// misses it. Spans must have the sizes stated there; nothing is checked.
template <class T, rondel::device D>
struct host_operations {
  /// Stream that the operations are launched on.
  using stream = typename D::stream_type;
  /// Elements that are read.
  using input = rondel::device_span<const T>;
  /// Elements that are written, or read and written.
  using output = rondel::device_span<T>;
  /// Tokens, `[batch, length + 1]`.
  using tokens = rondel::device_span<const std::int32_t>;

  /// `y = x w + bias + residual`; `bias` and `residual` may be empty.
  static void linear(stream& s, const char* name, std::size_t m, std::size_t n, std::size_t k,
                     input x, input w, input bias, input residual, output y) {
    const std::size_t added = (bias.empty() ? 0 : n) + (residual.empty() ? 0 : m * n);
    s.launch(cost(name, 2 * m * n * k + (bias.empty() ? 0 : m * n) + residual.size(),
                  m * k + k * n + added, m * n),
             [=] {
               host_kernels<T>::linear(m, n, k, x.data(), w.data(), bias.data(), residual.data(),
                                       y.data());
             });
  }

  /// `dx = dy w^T`.
  static void linear_backward_input(stream& s, const char* name, std::size_t m, std::size_t n,
                                    std::size_t k, input dy, input w, output dx) {
    s.launch(cost(name, 2 * m * n * k, m * n + k * n, m * k), [=] {
      host_kernels<T>::linear_backward_input(m, n, k, dy.data(), w.data(), dx.data());
    });
  }

  /// `dw += x^T dy`, `db += sum of the rows of dy`; `db` may be empty.
  static void linear_backward_weight(stream& s, const char* name, std::size_t m, std::size_t n,
                                     std::size_t k, input x, input dy, output dw, output db) {
    s.launch(cost(name, 2 * m * n * k + (db.empty() ? 0 : m * n), m * k + m * n + k * n + db.size(),
                  k * n + db.size()),
             [=] {
               host_kernels<T>::linear_backward_weight(m, n, k, x.data(), dy.data(), dw.data(),
                                                       db.data());
             });
  }

  /// Token plus position embedding.
  static void embed(stream& s, batch_shape shape, std::size_t width, tokens ids, input token_table,
                    input position_table, output x) {
    const std::size_t size = shape.rows() * width;
    auto w = cost("embedding", size, 2 * size, size);
    w.bytes_read += ids.size_bytes();
    s.launch(w, [=] {
      host_kernels<T>::embed(shape.batch, shape.length, width, ids.data(), token_table.data(),
                             position_table.data(), x.data());
    });
  }

  /// Adds the gradients of both embeddings.
  static void embed_backward(stream& s, batch_shape shape, std::size_t width, tokens ids, input dx,
                             output d_token_table, output d_position_table) {
    const std::size_t size = shape.rows() * width;
    auto w = cost("embedding backward", 2 * size, 3 * size, 2 * size);
    w.bytes_read += ids.size_bytes();
    s.launch(w, [=] {
      host_kernels<T>::embed_backward(shape.batch, shape.length, width, ids.data(), dx.data(),
                                      d_token_table.data(), d_position_table.data());
    });
  }

  /// Layer norm of each row.
  static void layer_norm(stream& s, std::size_t rows, std::size_t width, input x, input gain,
                         input bias, output y, output mean, output inverse_deviation) {
    s.launch(
        cost("layer norm", 8 * rows * width, rows * width + 2 * width, rows * width + 2 * rows),
        [=] {
          host_kernels<T>::layer_norm(rows, width, x.data(), gain.data(), bias.data(), y.data(),
                                      mean.data(), inverse_deviation.data());
        });
  }

  /// Gradients of layer norm; adds to `dx`, or sets it where `overwrite` is true.
  static void layer_norm_backward(stream& s, std::size_t rows, std::size_t width, input dy, input x,
                                  input gain, input mean, input inverse_deviation, output dx,
                                  output d_gain, output d_bias, bool overwrite) {
    const std::size_t size = rows * width;
    s.launch(cost("layer norm backward", 14 * size,
                  (overwrite ? 2 : 3) * size + 2 * rows + 3 * width, size + 2 * width),
             [=] {
               host_kernels<T>::layer_norm_backward(
                   rows, width, dy.data(), x.data(), gain.data(), mean.data(),
                   inverse_deviation.data(), dx.data(), d_gain.data(), d_bias.data(), overwrite);
             });
  }

  /// Causal attention of all heads.
  static void attention(stream& s, batch_shape shape, std::size_t width, std::size_t heads,
                        input qkv, output probabilities, output out) {
    const std::size_t pairs = seen_pairs(shape);
    s.launch(cost("attention", 4 * pairs * width + 6 * pairs * heads, 3 * shape.rows() * width,
                  shape.rows() * width + pairs * heads),
             [=] {
               host_kernels<T>::attention(shape.batch, shape.length, width, heads, qkv.data(),
                                          probabilities.data(), out.data());
             });
  }

  /// Gradient of attention.
  static void attention_backward(stream& s, batch_shape shape, std::size_t width, std::size_t heads,
                                 input d_out, input qkv, input probabilities, output d_qkv,
                                 output scratch) {
    const std::size_t pairs = seen_pairs(shape);
    s.launch(cost("attention backward", 8 * pairs * width + 5 * pairs * heads,
                  4 * shape.rows() * width + pairs * heads, 3 * shape.rows() * width),
             [=] {
               host_kernels<T>::attention_backward(shape.batch, shape.length, width, heads,
                                                   d_out.data(), qkv.data(), probabilities.data(),
                                                   d_qkv.data(), scratch.data());
             });
  }

  /// GELU of each element.
  static void gelu(stream& s, std::size_t count, input x, output y) {
    s.launch(cost("gelu", 8 * count, count, count),
             [=] { host_kernels<T>::gelu(count, x.data(), y.data()); });
  }

  /// Multiplies `dy` by the derivative of GELU at `x`.
  static void gelu_backward(stream& s, std::size_t count, input x, output dy) {
    s.launch(cost("gelu backward", 18 * count, 2 * count, count),
             [=] { host_kernels<T>::gelu_backward(count, x.data(), dy.data()); });
  }

  /// Adds `scale` times the summed cross-entropy to `loss[0]`.
  static void cross_entropy(stream& s, batch_shape shape, std::size_t vocabulary, input logits,
                            tokens ids, double scale, rondel::device_span<double> loss) {
    const std::size_t size = shape.rows() * vocabulary;
    auto w = cost("cross entropy", 4 * size, size, 0);
    w.bytes_read += ids.size_bytes() + sizeof(double);
    w.bytes_written += sizeof(double);
    s.launch(w, [=] {
      host_kernels<T>::cross_entropy(shape.batch, shape.length, vocabulary, logits.data(),
                                     ids.data(), scale, loss.data());
    });
  }

  /// As `cross_entropy`, and replaces `logits` by their gradient.
  static void cross_entropy_with_gradient(stream& s, batch_shape shape, std::size_t vocabulary,
                                          output logits, tokens ids, double scale,
                                          rondel::device_span<double> loss) {
    const std::size_t size = shape.rows() * vocabulary;
    auto w = cost("cross entropy + gradient", 5 * size, size, size);
    w.bytes_read += ids.size_bytes() + sizeof(double);
    w.bytes_written += sizeof(double);
    s.launch(w, [=] {
      host_kernels<T>::cross_entropy_with_gradient(shape.batch, shape.length, vocabulary,
                                                   logits.data(), ids.data(), scale, loss.data());
    });
  }

  /// `out[0] = sum of x^2`.
  static void squared_norm(stream& s, input x, rondel::device_span<double> out) {
    auto w = cost("gradient norm", 2 * x.size(), x.size(), 0);
    w.bytes_written += sizeof(double);
    s.launch(w, [=] { host_kernels<T>::squared_norm(x.size(), x.data(), out.data()); });
  }

  /// One AdamW step over `ranges`, which cover `parameters`.
  static void adamw(stream& s, const adamw_step& step,
                    rondel::device_span<const parameter_range> ranges,
                    rondel::device_span<const double> squared_norm, input gradients,
                    output parameters, output moment1, output moment2) {
    const std::size_t size = parameters.size();
    auto w = cost("adamw", 15 * size, 4 * size, 3 * size);
    w.bytes_read += ranges.size_bytes() + sizeof(double);
    s.launch(w, [=] {
      host_kernels<T>::adamw(step, ranges.data(), ranges.size(), squared_norm.data(),
                             gradients.data(), parameters.data(), moment1.data(), moment2.data());
    });
  }

  /// Normally distributed elements that depend on `seed` and their index alone.
  static void fill_normal(stream& s, std::uint64_t seed, double deviation, output x) {
    s.launch(cost("fill normal", 10 * x.size(), 0, x.size()),
             [=] { host_kernels<T>::fill_normal(x.size(), seed, deviation, x.data()); });
  }

  /// Sets every element to `value`.
  template <class U>
  static void fill(stream& s, U value, rondel::device_span<U> x) {
    s.launch({.name = "fill", .bytes_written = x.size_bytes()}, [=] {
      U* to = x.data();
      for (std::size_t i = 0; i < x.size(); ++i) to[i] = value;
    });
  }

 private:
  static rondel::work cost(const char* name, std::size_t flops, std::size_t read,
                           std::size_t written) {
    return {.name = name,
            .flops = static_cast<double>(flops),
            .bytes_read = read * sizeof(T),
            .bytes_written = written * sizeof(T)};
  }

  // Pairs of a query and a key that it sees, over the batch and for one head.
  static std::size_t seen_pairs(batch_shape shape) {
    return shape.batch * shape.length * (shape.length + 1) / 2;
  }
};

/// On the host the kernels run.
template <class T>
struct operations<T, rondel::host_device> : host_operations<T, rondel::host_device> {};

/// In a dry run they are counted.
template <class T>
struct operations<T, rondel::sim_device> : host_operations<T, rondel::sim_device> {};

}  // namespace train_gpt
