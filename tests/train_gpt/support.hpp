#pragma once
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include "layout.hpp"
#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

/// What the tests of the example share.
namespace train_gpt::test {

/// A number in [-1, 1) that depends on `index` and `salt` alone, exact in single precision.
/// scripts/goldens/train_gpt.py has the same formula.
inline double hashed(std::uint64_t index, std::uint32_t salt) {
  auto x = static_cast<std::uint32_t>(index) * 2654435761U + salt * 40503U;
  x ^= x >> 16;
  x *= 0x45d9f3bU;
  x ^= x >> 16;
  return static_cast<double>(x >> 8) / 8388608.0 - 1.0;
}

/// `count` numbers `scale * hashed(i, salt)`.
template <class T>
std::vector<T> hashed_values(std::size_t count, std::uint32_t salt, double scale = 1) {
  std::vector<T> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<T>(scale * hashed(i, salt));
  return out;
}

/// `count` tokens below `vocabulary`.
inline std::vector<std::int32_t> hashed_tokens(std::size_t count, std::uint32_t salt,
                                               std::size_t vocabulary) {
  std::vector<std::int32_t> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double unit = (hashed(i, salt) + 1) / 2;
    out[i] = static_cast<std::int32_t>(unit * static_cast<double>(vocabulary));
  }
  return out;
}

/// Parameters for a check against another implementation: nothing is zero, gains are near one.
template <class T>
std::vector<T> hashed_parameters(const parameter_layout& layout) {
  std::vector<T> out(layout.size());
  for (std::size_t n = 0; n < layout.tensors().size(); ++n) {
    const parameter_tensor& t = layout.tensors()[n];
    const bool gain = t.name.ends_with("gain");
    for (std::size_t i = 0; i < t.size(); ++i) {
      const double value = hashed(i, static_cast<std::uint32_t>(n + 1));
      out[t.offset + i] = static_cast<T>(gain ? 1 + value / 8 : value / 4);
    }
  }
  return out;
}

/// Copies `from` to the device and waits.
template <class T, class U, class Stream>
void upload(Stream& s, rondel::device_span<T> to, const std::vector<U>& from) {
  s.upload(rondel::as_writable_bytes(to), std::as_bytes(std::span<const U>(from)));
  s.synchronize();
}

/// Copies `from` to the host and waits.
template <class T, class Stream>
auto download(Stream& s, rondel::device_span<T> from) {
  std::vector<std::remove_const_t<T>> out(from.size());
  s.download(std::as_writable_bytes(std::span(out)), rondel::as_bytes(from));
  s.synchronize();
  return out;
}

/// The greatest error of `analytic` against central differences of fourth order of `loss`, which
/// is a function of the `count` numbers that `x` points to, at up to `samples` of them.
///
/// Relative to the greater of both values, or to a thousandth of the tensor's greatest
/// derivative where both are smaller than that.
template <class Loss>
double gradient_error(double* x, const double* analytic, std::size_t count, std::size_t samples,
                      Loss&& loss) {
  double floor = 0;
  for (std::size_t i = 0; i < count; ++i) floor = std::max(floor, 1e-3 * std::abs(analytic[i]));
  double worst = 0;
  const std::size_t stride = std::max<std::size_t>(1, count / samples);
  for (std::size_t i = stride / 2; i < count; i += stride) {
    constexpr double h = 1e-3;
    const double kept = x[i];
    const auto value = [&](double shift) {
      x[i] = kept + shift;
      return loss();
    };
    const double numeric = (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h);
    x[i] = kept;
    const double scale = std::max({std::abs(numeric), std::abs(analytic[i]), floor, 1e-12});
    worst = std::max(worst, std::abs(numeric - analytic[i]) / scale);
  }
  return worst;
}

}  // namespace train_gpt::test
