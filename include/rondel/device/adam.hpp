#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/host_device.hpp>

#include <cmath>
#include <cstdint>

namespace rondel {

/// The constants of AdamW, which is Adam where `weight_decay` is 0.
/// Source: Kingma and Ba, Adam, algorithm 1; Loshchilov and Hutter, Decoupled Weight Decay
/// Regularization, algorithm 2.
struct adam_options {
  /// Learning rate.
  double learning_rate = 1e-3;
  /// Decay of the first moment, in [0, 1).
  double beta1 = 0.9;
  /// Decay of the second moment, in [0, 1).
  double beta2 = 0.999;
  /// Added to the root of the second moment.
  double epsilon = 1e-8;
  /// Decoupled weight decay, which the learning rate multiplies.
  double weight_decay = 0;
  /// Which step this is, counted from 1.
  std::uint64_t step = 1;
};

namespace detail {

// Products and sums that no compiler may fuse, so that host and GPU round alike.
RONDEL_HOST_DEVICE inline float unfused_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
RONDEL_HOST_DEVICE inline float unfused_sum(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

// The constants of one step as the elements use them. The root of the second moment is divided
// by that of its correction, and the rate by the correction of the first.
struct adam_step {
  float beta1, rest1, beta2, rest2, rate, unbias, epsilon, keep;

  explicit adam_step(const adam_options& o)
      : beta1(static_cast<float>(o.beta1)),
        rest1(static_cast<float>(1 - o.beta1)),
        beta2(static_cast<float>(o.beta2)),
        rest2(static_cast<float>(1 - o.beta2)),
        rate(static_cast<float>(o.learning_rate / correction("beta1", o.beta1, o.step))),
        unbias(static_cast<float>(1 / std::sqrt(correction("beta2", o.beta2, o.step)))),
        epsilon(static_cast<float>(o.epsilon)),
        keep(static_cast<float>(1 - o.learning_rate * o.weight_decay)) {}

  // Updates one element by its gradient `g`.
  RONDEL_HOST_DEVICE void operator()(float g, float& p, float& m, float& v) const {
    m = unfused_sum(unfused_product(beta1, m), unfused_product(rest1, g));
    v = unfused_sum(unfused_product(beta2, v), unfused_product(unfused_product(rest2, g), g));
    const float root = unfused_sum(unfused_product(::sqrtf(v), unbias), epsilon);
    p = unfused_sum(unfused_product(keep, p), -(unfused_product(rate, m) / root));
  }

 private:
  [[nodiscard]] static double correction(const char* name, double beta, std::uint64_t step) {
    if (!(beta >= 0 && beta < 1) || step == 0) {
      throw invalid_argument(concat("adam: ", name, " ", beta, " at step ", step,
                                    "; expected one in [0, 1) and steps counted from 1"));
    }
    return 1 - std::pow(beta, static_cast<double>(step));
  }
};

// What every device checks before a step.
inline void check_adam(std::size_t parameters, std::size_t gradients, std::size_t first,
                       std::size_t second, std::size_t copy, std::size_t scale) {
  if (gradients != parameters || first != parameters || second != parameters ||
      (copy != 0 && copy != parameters) || scale > 1) {
    throw invalid_argument(concat("adam: ", parameters, " parameters with ", gradients,
                                  " gradients, ", first, " and ", second, " moments, a copy of ",
                                  copy, " and ", scale, " scales"));
  }
}

}  // namespace detail
}  // namespace rondel
