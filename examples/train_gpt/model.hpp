#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/concepts.hpp>

#include "layout.hpp"
#include "operations.hpp"

#include <cstddef>
#include <cstdint>

namespace train_gpt {

/// A decoder-only transformer with hand-written forward and backward passes.
///
/// Token plus position embedding; per block `x += project(attention(norm1(x)))` and
/// `x += down(gelu(up(norm2(x))))`; final layer norm; output projection. Holds parameters,
/// gradients and activations in one flat device buffer each, allocated at construction; no other
/// call allocates device memory. Every call only queues work on the stream it is given.
template <class T, rondel::device D>
class gpt {
 public:
  /// Stream of the device.
  using stream = typename D::stream_type;
  /// Tokens, `[batch, length + 1]`: inputs, and targets shifted by one.
  using tokens = rondel::device_span<const std::int32_t>;

  /// A model for at most `batch` sequences a call. Its parameters are not set yet.
  /// Throws `rondel::out_of_memory`.
  gpt(D& device, stream& s, const gpt_config& config, std::size_t batch)
      : config_(config),
        parameters_layout_(config),
        activation_layout_(config, batch),
        parameters_(device, s, parameters_layout_.size()),
        gradients_(device, s, parameters_layout_.size()),
        activations_(device, s, activation_layout_.size()) {}

  /// Sets the initial parameters, which depend on `seed` alone.
  void initialise(stream& s, std::uint64_t seed) {
    for (const parameter_tensor& t : parameters_layout_.tensors()) {
      if (t.deviation != 0) {
        ops::fill_normal(s, seed * 0x9e3779b97f4a7c15U + t.offset, t.deviation, parameter(t));
      } else {
        ops::fill(s, static_cast<T>(t.initial), parameter(t));
      }
    }
  }

  /// Computes the logits of every position of `ids`, whose last column is not read.
  void forward(stream& s, tokens ids, batch_shape shape) {
    const std::size_t m = shape.rows();
    const std::size_t c = config_.width;
    const auto& a = activation_layout_;
    ops::embed(s, shape, c, ids, parameter(parameters_layout_.token()),
               parameter(parameters_layout_.position()), at(a.embedding));
    for (std::size_t l = 0; l < config_.layers; ++l) {
      const auto& b = a.blocks[l];
      const auto x = block_input(l);
      ops::layer_norm(s, m, c, x, part(l, block_part::norm1_gain), part(l, block_part::norm1_bias),
                      at(b.norm1), at(b.mean1), at(b.deviation1));
      ops::linear(s, "qkv", m, 3 * c, c, at(b.norm1), part(l, block_part::qkv),
                  part(l, block_part::qkv_bias), {}, at(b.qkv));
      ops::attention(s, shape, c, config_.heads, at(b.qkv), at(b.probabilities), at(b.attention));
      ops::linear(s, "project", m, c, c, at(b.attention), part(l, block_part::project),
                  part(l, block_part::project_bias), x.first(m * c), at(b.middle));
      ops::layer_norm(s, m, c, at(b.middle), part(l, block_part::norm2_gain),
                      part(l, block_part::norm2_bias), at(b.norm2), at(b.mean2), at(b.deviation2));
      ops::linear(s, "up", m, 4 * c, c, at(b.norm2), part(l, block_part::up),
                  part(l, block_part::up_bias), {}, at(b.up));
      ops::gelu(s, m * 4 * c, at(b.up), at(b.gelu));
      ops::linear(s, "down", m, c, 4 * c, at(b.gelu), part(l, block_part::down),
                  part(l, block_part::down_bias), at(b.middle).first(m * c), at(b.out));
    }
    ops::layer_norm(s, m, c, block_input(config_.layers), parameter(parameters_layout_.norm_gain()),
                    parameter(parameters_layout_.norm_bias()), at(a.norm), at(a.mean),
                    at(a.deviation));
    ops::linear(s, "head", m, config_.vocabulary, c, at(a.norm),
                parameter(parameters_layout_.head()), {}, {}, at(a.logits));
  }

  /// The logits of the last forward pass, `[batch, length, vocabulary]` and beyond.
  [[nodiscard]] rondel::device_span<const T> logits() const {
    const std::size_t offset = activation_layout_.logits;
    return {activations_.span().data() + offset, activation_layout_.d_residual - offset};
  }

  /// Adds `scale` times the summed loss of the last forward pass to `loss[0]`.
  void add_loss(stream& s, tokens ids, batch_shape shape, double scale,
                rondel::device_span<double> loss) {
    ops::cross_entropy(s, shape, config_.vocabulary, at(activation_layout_.logits), ids, scale,
                       loss);
  }

  /// Adds `scale` times the summed loss of the last forward pass to `loss[0]`, and its gradient
  /// to the gradients.
  ///
  /// `ready(count)` is called whenever the work queued so far completes the first `count`
  /// elements of the gradients; `count` increases, up to the number of parameters.
  template <class Ready>
  void backward(stream& s, tokens ids, batch_shape shape, double scale,
                rondel::device_span<double> loss, Ready&& ready) {
    const std::size_t m = shape.rows();
    const std::size_t c = config_.width;
    const auto& a = activation_layout_;
    const auto& p = parameters_layout_;
    ops::cross_entropy_with_gradient(s, shape, config_.vocabulary, at(a.logits), ids, scale, loss);
    ops::linear_backward_weight(s, "head dW", m, config_.vocabulary, c, at(a.norm), at(a.logits),
                                gradient(p.head()), {});
    ops::linear_backward_input(s, "head dX", m, config_.vocabulary, c, at(a.logits),
                               parameter(p.head()), at(a.d_narrow));
    ops::layer_norm_backward(
        s, m, c, at(a.d_narrow), block_input(config_.layers), parameter(p.norm_gain()), at(a.mean),
        at(a.deviation), at(a.d_residual), gradient(p.norm_gain()), gradient(p.norm_bias()), true);
    ready(end_of(p.norm_bias()));
    for (std::size_t l = config_.layers; l-- > 0;) {
      backward_mlp(s, m, l);
      ready(end_of(p.block(l, block_part::norm2_bias)));
      backward_attention(s, shape, l);
      ready(end_of(p.block(l, block_part::norm1_bias)));
    }
    ops::embed_backward(s, shape, c, ids, at(a.d_residual), gradient(p.token()),
                        gradient(p.position()));
    ready(p.size());
  }

  /// Sets every gradient to zero.
  void zero_gradients(stream& s) { ops::fill(s, T(0), gradients()); }

  /// Sizes of the model.
  [[nodiscard]] const gpt_config& config() const noexcept { return config_; }
  /// Names, shapes and places of the parameters.
  [[nodiscard]] const parameter_layout& layout() const noexcept { return parameters_layout_; }
  /// All parameters.
  [[nodiscard]] rondel::device_span<T> parameters() noexcept { return parameters_.span(); }
  /// All gradients, laid out as the parameters.
  [[nodiscard]] rondel::device_span<T> gradients() noexcept { return gradients_.span(); }
  /// Bytes of the activations.
  [[nodiscard]] std::size_t activation_bytes() const noexcept {
    return activation_layout_.size() * sizeof(T);
  }

 private:
  using ops = operations<T, D>;

  [[nodiscard]] static std::size_t end_of(const parameter_tensor& t) { return t.offset + t.size(); }

  [[nodiscard]] rondel::device_span<T> parameter(const parameter_tensor& t) {
    return parameters_.span().subspan(t.offset, t.size());
  }
  [[nodiscard]] rondel::device_span<T> gradient(const parameter_tensor& t) {
    return gradients_.span().subspan(t.offset, t.size());
  }
  [[nodiscard]] rondel::device_span<T> part(std::size_t layer, block_part which) {
    return parameter(parameters_layout_.block(layer, which));
  }
  [[nodiscard]] rondel::device_span<T> d_part(std::size_t layer, block_part which) {
    return gradient(parameters_layout_.block(layer, which));
  }
  [[nodiscard]] rondel::device_span<T> at(std::size_t offset) {
    return activations_.span().subspan(offset, activations_.size() - offset);
  }
  // The residual stream before block `layer`.
  [[nodiscard]] rondel::device_span<T> block_input(std::size_t layer) {
    return at(layer == 0 ? activation_layout_.embedding : activation_layout_.blocks[layer - 1].out);
  }

  // d_residual holds the gradient of the block's output, then of `middle`.
  void backward_mlp(stream& s, std::size_t m, std::size_t l) {
    const std::size_t c = config_.width;
    const auto& a = activation_layout_;
    const auto& b = a.blocks[l];
    ops::linear_backward_weight(s, "down dW", m, c, 4 * c, at(b.gelu), at(a.d_residual),
                                d_part(l, block_part::down), d_part(l, block_part::down_bias));
    ops::linear_backward_input(s, "down dX", m, c, 4 * c, at(a.d_residual),
                               part(l, block_part::down), at(a.d_wide));
    ops::gelu_backward(s, m * 4 * c, at(b.up), at(a.d_wide));
    ops::linear_backward_weight(s, "up dW", m, 4 * c, c, at(b.norm2), at(a.d_wide),
                                d_part(l, block_part::up), d_part(l, block_part::up_bias));
    ops::linear_backward_input(s, "up dX", m, 4 * c, c, at(a.d_wide), part(l, block_part::up),
                               at(a.d_narrow));
    ops::layer_norm_backward(s, m, c, at(a.d_narrow), at(b.middle), part(l, block_part::norm2_gain),
                             at(b.mean2), at(b.deviation2), at(a.d_residual),
                             d_part(l, block_part::norm2_gain), d_part(l, block_part::norm2_bias),
                             false);
  }

  // d_residual holds the gradient of `middle`, then of the block's input.
  void backward_attention(stream& s, batch_shape shape, std::size_t l) {
    const std::size_t m = shape.rows();
    const std::size_t c = config_.width;
    const auto& a = activation_layout_;
    const auto& b = a.blocks[l];
    ops::linear_backward_weight(s, "project dW", m, c, c, at(b.attention), at(a.d_residual),
                                d_part(l, block_part::project),
                                d_part(l, block_part::project_bias));
    ops::linear_backward_input(s, "project dX", m, c, c, at(a.d_residual),
                               part(l, block_part::project), at(a.d_narrow));
    ops::attention_backward(s, shape, c, config_.heads, at(a.d_narrow), at(b.qkv),
                            at(b.probabilities), at(a.d_wide), at(a.scratch));
    ops::linear_backward_weight(s, "qkv dW", m, 3 * c, c, at(b.norm1), at(a.d_wide),
                                d_part(l, block_part::qkv), d_part(l, block_part::qkv_bias));
    ops::linear_backward_input(s, "qkv dX", m, 3 * c, c, at(a.d_wide), part(l, block_part::qkv),
                               at(a.d_narrow));
    ops::layer_norm_backward(s, m, c, at(a.d_narrow), block_input(l),
                             part(l, block_part::norm1_gain), at(b.mean1), at(b.deviation1),
                             at(a.d_residual), d_part(l, block_part::norm1_gain),
                             d_part(l, block_part::norm1_bias), false);
  }

  gpt_config config_;
  parameter_layout parameters_layout_;
  activation_layout activation_layout_;
  rondel::device_array<T, D> parameters_;
  rondel::device_array<T, D> gradients_;
  rondel::device_array<T, D> activations_;
};

}  // namespace train_gpt
