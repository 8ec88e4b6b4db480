#pragma once
#include <cstddef>
#include <cstdint>

namespace train_gpt {

/// Rows that the attention kernels handle at a time, and so the granularity at which they leave
/// out the upper triangle.
inline constexpr std::size_t attention_rows = 32;

/// SplitMix64: a hash that mixes all bits of `x`.
[[nodiscard]] constexpr std::uint64_t mix_bits(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// `bits` as a number uniform in [0, 1].
[[nodiscard]] constexpr double unit_interval(std::uint64_t bits) noexcept {
  return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
}

/// The numbers of one AdamW step.
struct adamw_step {
  /// Learning rate.
  double learning_rate = 0;
  /// Decay of the first moment.
  double beta1 = 0.9;
  /// Decay of the second moment.
  double beta2 = 0.999;
  /// Added to the root of the second moment.
  double epsilon = 1e-8;
  /// Decoupled weight decay, multiplied by the learning rate; for decayed ranges only.
  double weight_decay = 0;
  /// The most that the global norm of the gradient may be; 0 for no limit.
  double clip = 0;
  /// `1 - beta1^t` and `1 - beta2^t` at step `t`, counted from 1.
  double correction1 = 1, correction2 = 1;
};

/// A range of the flat parameter buffer.
struct parameter_range {
  /// First element and number of elements.
  std::uint64_t offset = 0, count = 0;
  /// 1 if weight decay applies, else 0.
  std::uint64_t decay = 0;
};

/// The arithmetic of the model on plain memory, by Eigen on one thread; `T` is `float` or `double`.
///
/// Matrices are dense and row-major. Pointers of one call do not overlap unless stated. Nothing
/// here knows of devices: `operations` launches these functions.
template <class T>
struct host_kernels {
  /// `y = x w + bias + residual`; `x [m, k]`, `w [k, n]`, `bias [n]` or null, `residual [m, n]` or
  /// null, `y [m, n]`.
  static void linear(std::size_t m, std::size_t n, std::size_t k, const T* x, const T* w,
                     const T* bias, const T* residual, T* y);

  /// `dx = dy w^T`; `dy [m, n]`, `w [k, n]`, `dx [m, k]`.
  static void linear_backward_input(std::size_t m, std::size_t n, std::size_t k, const T* dy,
                                    const T* w, T* dx);

  /// `dw += x^T dy` and `db += sum of the rows of dy`; `x [m, k]`, `dy [m, n]`, `dw [k, n]`,
  /// `db [n]` or null.
  static void linear_backward_weight(std::size_t m, std::size_t n, std::size_t k, const T* x,
                                     const T* dy, T* dw, T* db);

  /// `x[b, i] = token_table[tokens[b, i]] + position_table[i]`; `tokens [batch, length + 1]`, of
  /// which the last column is not read, `token_table [vocabulary, width]`,
  /// `position_table [>= length, width]`, `x [batch, length, width]`.
  static void embed(std::size_t batch, std::size_t length, std::size_t width,
                    const std::int32_t* tokens, const T* token_table, const T* position_table,
                    T* x);

  /// Adds the gradients of `embed` to both tables; `dx [batch, length, width]`.
  static void embed_backward(std::size_t batch, std::size_t length, std::size_t width,
                             const std::int32_t* tokens, const T* dx, T* d_token_table,
                             T* d_position_table);

  /// `y = (x - mean) * inverse_deviation * gain + bias` per row; `x`, `y` `[rows, width]`, `gain`,
  /// `bias` `[width]`, `mean`, `inverse_deviation` `[rows]` are kept for the backward pass.
  static void layer_norm(std::size_t rows, std::size_t width, const T* x, const T* gain,
                         const T* bias, T* y, T* mean, T* inverse_deviation);

  /// Adds the gradients of `layer_norm` to `dx [rows, width]`, `d_gain [width]`, `d_bias [width]`;
  /// with `overwrite` sets `dx` instead.
  static void layer_norm_backward(std::size_t rows, std::size_t width, const T* dy, const T* x,
                                  const T* gain, const T* mean, const T* inverse_deviation, T* dx,
                                  T* d_gain, T* d_bias, bool overwrite);

  /// Causal attention of every head: `softmax(q k^T / sqrt(head width)) v`, where query `i` sees
  /// keys `0..i`. `qkv [batch, length, 3, heads, width / heads]`,
  /// `probabilities [batch, heads, length, length]` are kept for the backward pass (what lies right
  /// of the diagonal is undefined), `out [batch, length, heads, width / heads]`.
  static void attention(std::size_t batch, std::size_t length, std::size_t width, std::size_t heads,
                        const T* qkv, T* probabilities, T* out);

  /// Gradient of `attention`: sets `d_qkv`, shaped as `qkv`. `scratch [attention_rows, length]`.
  static void attention_backward(std::size_t batch, std::size_t length, std::size_t width,
                                 std::size_t heads, const T* d_out, const T* qkv,
                                 const T* probabilities, T* d_qkv, T* scratch);

  /// `y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` for `count` elements.
  static void gelu(std::size_t count, const T* x, T* y);

  /// `dy *= gelu'(x)` for `count` elements.
  static void gelu_backward(std::size_t count, const T* x, T* dy);

  /// `*loss += scale * sum over rows of -log softmax(logits)[target]`; `logits [batch * length,
  /// vocabulary]`, `tokens [batch, length + 1]`, where the target of `(b, i)` is
  /// `tokens[b, i + 1]`.
  static void cross_entropy(std::size_t batch, std::size_t length, std::size_t vocabulary,
                            const T* logits, const std::int32_t* tokens, double scale,
                            double* loss);

  /// As `cross_entropy`, and replaces `logits` by the gradient of what it adds to the loss.
  static void cross_entropy_with_gradient(std::size_t batch, std::size_t length,
                                          std::size_t vocabulary, T* logits,
                                          const std::int32_t* tokens, double scale, double* loss);

  /// `*out = sum of x^2` over `count` elements, added up in blocks of 1024, and these in double
  /// precision.
  static void squared_norm(std::size_t count, const T* x, double* out);

  /// Sets `count` elements to normally distributed numbers with deviation `deviation`. Element `i`
  /// depends on `seed` and `i` alone.
  static void fill_normal(std::size_t count, std::uint64_t seed, double deviation, T* x);

  /// One AdamW step in a single pass over the `ranges`. The gradient is scaled by
  /// `min(1, clip / (sqrt(*squared_norm) + 1e-6))`, as PyTorch's `clip_grad_norm_` does.
  static void adamw(const adamw_step& step, const parameter_range* ranges, std::size_t range_count,
                    const double* squared_norm, const T* gradients, T* parameters, T* moment1,
                    T* moment2);
};

extern template struct host_kernels<float>;
extern template struct host_kernels<double>;

}  // namespace train_gpt
