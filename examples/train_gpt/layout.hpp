#pragma once
#include <rondel/core/text.hpp>

#include "host_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace train_gpt {

/// Sizes of the model.
struct gpt_config {
  /// Number of blocks.
  std::size_t layers = 4;
  /// Attention heads per block; divides `width`.
  std::size_t heads = 4;
  /// Width of the residual stream.
  std::size_t width = 128;
  /// The most tokens that a prediction may look back on, the current one included.
  std::size_t context = 128;
  /// Number of different tokens.
  std::size_t vocabulary = 256;
};

/// One parameter tensor and its place in the flat buffer.
struct parameter_tensor {
  /// `"blocks.0.qkv.weight"`, for example.
  std::string name;
  /// Shape; a vector has one row.
  std::size_t rows = 0, columns = 0;
  /// First element in the flat buffer.
  std::size_t offset = 0;
  /// Whether weight decay applies: to matrices.
  bool decay = false;
  /// Deviation of the normally distributed initial values; 0 if all are `initial`.
  double deviation = 0;
  /// Initial value where `deviation` is 0.
  double initial = 0;

  /// Number of elements.
  [[nodiscard]] std::size_t size() const noexcept { return rows * columns; }
};

/// The tensors of one block, in the order of the flat buffer.
enum class block_part : std::size_t {
  down,
  down_bias,
  up,
  up_bias,
  norm2_gain,
  norm2_bias,
  project,
  project_bias,
  qkv,
  qkv_bias,
  norm1_gain,
  norm1_bias,
};

/// Number of tensors of one block.
inline constexpr std::size_t block_parts = 12;

/// Where each parameter lies in one flat buffer.
///
/// The order is that in which the backward pass finishes the gradients, last layer first, so that
/// a prefix of the flat gradient buffer is ready to be reduced while the rest is being computed.
/// There are no gaps.
class parameter_layout {
 public:
  /// The layout of a model of the sizes `config`.
  explicit parameter_layout(const gpt_config& config) {
    const std::size_t c = config.width;
    const double deviation = 0.02;
    const double residual = deviation / std::sqrt(2.0 * static_cast<double>(config.layers));
    add("head.weight", c, config.vocabulary, deviation);
    add("norm.gain", 1, c, 0, 1);
    add("norm.bias", 1, c, 0);
    for (std::size_t l = config.layers; l-- > 0;) {
      const std::string block = rondel::concat("blocks.", l, ".");
      add(block + "down.weight", 4 * c, c, residual);
      add(block + "down.bias", 1, c, 0);
      add(block + "up.weight", c, 4 * c, deviation);
      add(block + "up.bias", 1, 4 * c, 0);
      add(block + "norm2.gain", 1, c, 0, 1);
      add(block + "norm2.bias", 1, c, 0);
      add(block + "project.weight", c, c, residual);
      add(block + "project.bias", 1, c, 0);
      add(block + "qkv.weight", c, 3 * c, deviation);
      add(block + "qkv.bias", 1, 3 * c, 0);
      add(block + "norm1.gain", 1, c, 0, 1);
      add(block + "norm1.bias", 1, c, 0);
    }
    add("position.weight", config.context, c, deviation);
    add("token.weight", config.vocabulary, c, deviation);
    layers_ = config.layers;
  }

  /// All tensors by increasing offset.
  [[nodiscard]] const std::vector<parameter_tensor>& tensors() const noexcept { return tensors_; }
  /// Number of parameters.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Output projection, `[width, vocabulary]`.
  [[nodiscard]] const parameter_tensor& head() const { return tensors_[0]; }
  /// Gain of the final layer norm, `[width]`.
  [[nodiscard]] const parameter_tensor& norm_gain() const { return tensors_[1]; }
  /// Bias of the final layer norm, `[width]`.
  [[nodiscard]] const parameter_tensor& norm_bias() const { return tensors_[2]; }
  /// A tensor of block `layer`, which counts from the input.
  [[nodiscard]] const parameter_tensor& block(std::size_t layer, block_part part) const {
    return tensors_[3 + (layers_ - 1 - layer) * block_parts + static_cast<std::size_t>(part)];
  }
  /// Position embedding, `[context, width]`.
  [[nodiscard]] const parameter_tensor& position() const { return tensors_[tensors_.size() - 2]; }
  /// Token embedding, `[vocabulary, width]`.
  [[nodiscard]] const parameter_tensor& token() const { return tensors_.back(); }

  /// The flat buffer as the fewest ranges of equal weight decay.
  [[nodiscard]] std::vector<parameter_range> ranges() const {
    std::vector<parameter_range> out;
    for (const parameter_tensor& t : tensors_) {
      const std::uint64_t decay = t.decay ? 1 : 0;
      if (out.empty() || out.back().decay != decay) out.push_back({t.offset, 0, decay});
      out.back().count += t.size();
    }
    return out;
  }

 private:
  void add(std::string name, std::size_t rows, std::size_t columns, double deviation,
           double initial = 0) {
    tensors_.push_back({std::move(name), rows, columns, size_, deviation != 0, deviation, initial});
    size_ += rows * columns;
  }

  std::vector<parameter_tensor> tensors_;
  std::size_t size_ = 0;
  std::size_t layers_ = 0;
};

/// Where each activation lies in one buffer, in elements, for `rows` tokens at a time.
///
/// What the backward pass needs is kept per block; the gradients of activations share four
/// buffers over all blocks.
class activation_layout {
 public:
  /// Offsets of what one block keeps. Shapes for `[batch, length]` tokens, `M` of them.
  struct block {
    /// `[M, width]` and twice `[M]`: first layer norm.
    std::size_t norm1 = 0, mean1 = 0, deviation1 = 0;
    /// `[M, 3 width]`.
    std::size_t qkv = 0;
    /// `[batch, heads, length, length]`.
    std::size_t probabilities = 0;
    /// `[M, width]`: what the heads put out, and the residual stream after the projection.
    std::size_t attention = 0, middle = 0;
    /// `[M, width]` and twice `[M]`: second layer norm.
    std::size_t norm2 = 0, mean2 = 0, deviation2 = 0;
    /// `[M, 4 width]` before and after GELU.
    std::size_t up = 0, gelu = 0;
    /// `[M, width]`: the residual stream after the block.
    std::size_t out = 0;
  };

  /// The layout for at most `batch` sequences of `config.context` tokens.
  activation_layout(const gpt_config& config, std::size_t batch) {
    const std::size_t m = batch * config.context;
    const std::size_t c = config.width;
    embedding = take(m * c);
    blocks.resize(config.layers);
    for (block& b : blocks) {
      b.norm1 = take(m * c);
      b.mean1 = take(m);
      b.deviation1 = take(m);
      b.qkv = take(m * 3 * c);
      b.probabilities = take(m * config.heads * config.context);
      b.attention = take(m * c);
      b.middle = take(m * c);
      b.norm2 = take(m * c);
      b.mean2 = take(m);
      b.deviation2 = take(m);
      b.up = take(m * 4 * c);
      b.gelu = take(m * 4 * c);
      b.out = take(m * c);
    }
    norm = take(m * c);
    mean = take(m);
    deviation = take(m);
    logits = take(m * config.vocabulary);
    d_residual = take(m * c);
    d_narrow = take(m * c);
    d_wide = take(m * 4 * c);
    scratch = take(attention_rows * config.context);
  }

  /// `[M, width]`: embedded tokens.
  std::size_t embedding = 0;
  /// One per block, from the input on.
  std::vector<block> blocks;
  /// `[M, width]` and twice `[M]`: final layer norm.
  std::size_t norm = 0, mean = 0, deviation = 0;
  /// `[M, vocabulary]`: logits, then their gradient.
  std::size_t logits = 0;
  /// `[M, width]`: gradient of the residual stream, and of what branches off it.
  std::size_t d_residual = 0, d_narrow = 0;
  /// `[M, 4 width]`: gradient inside the MLP, or of `qkv`.
  std::size_t d_wide = 0;
  /// `[attention_rows, context]`.
  std::size_t scratch = 0;

  /// Number of elements in all.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  // Every activation starts at a multiple of 16 elements, a cache line at least.
  std::size_t take(std::size_t count) {
    const std::size_t offset = size_;
    size_ += (count + 15) / 16 * 16;
    return offset;
  }

  std::size_t size_ = 0;
};

}  // namespace train_gpt
