#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/concepts.hpp>

#include "layout.hpp"
#include "operations.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

namespace train_gpt {

/// Learning rate over the steps: a linear warm-up, then half a cosine down to `minimum`.
struct learning_rate_schedule {
  /// Rate at the end of the warm-up.
  double peak = 1e-3;
  /// Rate after the last step.
  double minimum = 1e-4;
  /// Steps of the warm-up; its step `i`, from 0, has the rate `peak * (i + 1) / warmup`.
  std::size_t warmup = 0;
  /// Steps in all.
  std::size_t steps = 1;

  /// The rate of step `step`, counted from 0.
  [[nodiscard]] double at(std::size_t step) const {
    if (step < warmup) {
      return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
    }
    if (step >= steps) return minimum;
    const double progress =
        static_cast<double>(step - warmup) / static_cast<double>(steps - warmup);
    return minimum + 0.5 * (1 + std::cos(std::numbers::pi * progress)) * (peak - minimum);
  }
};

/// Constants of AdamW and of clipping.
struct adamw_config {
  /// Decay of the first moment, in [0, 1).
  double beta1 = 0.9;
  /// Decay of the second moment, in [0, 1).
  double beta2 = 0.95;
  /// Added to the root of the second moment.
  double epsilon = 1e-8;
  /// Decoupled weight decay of matrices.
  double weight_decay = 0.1;
  /// The most that the global norm of the gradient may be; 0 for no limit.
  double clip = 1;

  /// The numbers of step `step`, counted from 0, at the rate `learning_rate`.
  [[nodiscard]] adamw_step at(std::size_t step, double learning_rate) const {
    const auto t = static_cast<double>(step + 1);
    return {
        learning_rate,         beta1, beta2, epsilon, weight_decay, clip, 1 - std::pow(beta1, t),
        1 - std::pow(beta2, t)};
  }
};

/// AdamW with decoupled weight decay, bias correction and clipping by the global norm.
///
/// Holds both moments on the device, allocated at construction. The norm stays on the device, so
/// that no step waits for the host.
template <class T, rondel::device D>
class adamw_optimizer {
 public:
  /// Stream of the device.
  using stream = typename D::stream_type;

  /// An optimizer with zero moments for the parameters of `layout`. Throws
  /// `rondel::out_of_memory`.
  adamw_optimizer(D& device, stream& s, const parameter_layout& layout, const adamw_config& config)
      : config_(config),
        host_ranges_(layout.ranges()),
        ranges_(device, s, host_ranges_.size()),
        moment1_(device, s, layout.size()),
        moment2_(device, s, layout.size()),
        squared_norm_(device, s, 1) {
    ops::fill(s, T(0), moment1_.span());
    ops::fill(s, T(0), moment2_.span());
    s.upload(rondel::as_writable_bytes(ranges_.span()),
             std::as_bytes(std::span<const parameter_range>(host_ranges_)));
  }

  /// Updates `parameters` by step `step`, counted from 0. `parameters` and `gradients` are the
  /// flat buffers of the layout.
  void step(stream& s, std::size_t step, double learning_rate,
            rondel::device_span<const T> gradients, rondel::device_span<T> parameters) {
    ops::squared_norm(s, gradients, squared_norm_.span());
    ops::adamw(s, config_.at(step, learning_rate), ranges_.span(), squared_norm_.span(), gradients,
               parameters, moment1_.span(), moment2_.span());
  }

  /// One element: the squared global norm of the last step's gradient, before clipping.
  [[nodiscard]] rondel::device_span<const double> squared_norm() const noexcept {
    return squared_norm_.span();
  }

  /// The moments, laid out as the parameters, to read or set them.
  [[nodiscard]] rondel::device_span<T> moment1() noexcept { return moment1_.span(); }
  /// As `moment1`.
  [[nodiscard]] rondel::device_span<T> moment2() noexcept { return moment2_.span(); }

  /// Bytes of optimizer state that grow with the model.
  [[nodiscard]] std::size_t state_bytes() const noexcept {
    return (moment1_.size() + moment2_.size()) * sizeof(T);
  }

 private:
  using ops = operations<T, D>;

  adamw_config config_;
  std::vector<parameter_range> host_ranges_;
  rondel::device_array<parameter_range, D> ranges_;
  rondel::device_array<T, D> moment1_;
  rondel::device_array<T, D> moment2_;
  rondel::device_array<double, D> squared_norm_;
};

}  // namespace train_gpt
