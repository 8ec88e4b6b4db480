// The kernels of the host, which those of other devices are held to.
#include <rondel/device/host_kernels.hpp>

#include "host_data.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace {

using kernels = rondel::kernels<rondel::host_device>;
using rondel::device_span;
using rondel::strided_copy;

template <class T>
device_span<T> span_of(std::vector<T>& v) {
  return {v.data(), v.size()};
}
template <class T>
device_span<const T> span_of(const std::vector<T>& v) {
  return {v.data(), v.size()};
}

std::vector<int> counted(std::size_t n) {
  std::vector<int> out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

}  // namespace

TEST_CASE("strided copies") {
  rondel::host_device device;
  auto s = device.make_stream();
  SUBCASE("a permutation, against its definition") {
    const auto in = counted(2 * 3 * 4 * 5);
    std::vector<int> out(in.size(), -1);
    const auto copy = rondel::permutation<4>({2, 3, 4, 5}, {2, 0, 3, 1});
    kernels::copy_strided<int>(s, span_of(out), span_of(in), copy);
    std::size_t at = 0;
    for (std::size_t c = 0; c < 4; ++c)
      for (std::size_t a = 0; a < 2; ++a)
        for (std::size_t d = 0; d < 5; ++d)
          for (std::size_t b = 0; b < 3; ++b) CHECK(out[at++] == in[((a * 3 + b) * 4 + c) * 5 + d]);
    CHECK(device.work_done().bytes_read == in.size() * sizeof(int));
    CHECK(device.work_done().bytes_written == in.size() * sizeof(int));
  }
  SUBCASE("a block of a matrix, spread out") {
    const auto in = counted(30);
    std::vector<int> out(40, -1);
    strided_copy copy;
    copy.add(2, 10, 20).add(3, 2, 5);
    CHECK(copy.elements() == 6);
    CHECK(copy.reach_from() == 15);
    CHECK(copy.reach_to() == 31);
    kernels::copy_strided<int>(s, span_of(out), span_of(in), copy);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const bool written = (i % 20) % 5 == 0 && i % 20 < 15;
      CHECK(out[i] == (written ? static_cast<int>(i / 20 * 10 + i % 20 / 5 * 2) : -1));
    }
  }
  SUBCASE("a repeated row, a single element, and nothing") {
    const auto in = counted(3);
    std::vector<int> out(6, -1);
    kernels::copy_strided<int>(s, span_of(out), span_of(in),
                               strided_copy().add(2, 0, 3).add(3, 1, 1));
    CHECK(out == std::vector<int>{0, 1, 2, 0, 1, 2});
    kernels::copy_strided<int>(s, span_of(out), span_of(in).subspan(2, 1), {});
    CHECK(out[0] == 2);
    kernels::copy_strided<int>(s, {}, {}, strided_copy().add(0, 1, 1));
  }
  SUBCASE("merged axes are the same copy") {
    std::mt19937 random(3);
    for (int round = 0; round < 200; ++round) {
      std::array<std::size_t, 4> sizes{};
      for (auto& n : sizes) n = 1 + random() % 3;
      std::array<int, 4> order{0, 1, 2, 3};
      std::shuffle(order.begin(), order.end(), random);
      const auto copy = rondel::permutation<4>(sizes, order);
      const auto merged = copy.merged();
      CHECK(merged.count <= copy.count);
      CHECK(merged.elements() == copy.elements());
      const auto in = counted(copy.elements());
      std::vector<int> a(in.size(), -1), b(in.size(), -2);
      kernels::copy_strided<int>(s, span_of(a), span_of(in), copy);
      kernels::copy_strided<int>(s, span_of(b), span_of(in), merged);
      CHECK(a == b);
    }
    CHECK(rondel::permutation<3>({2, 3, 4}, {0, 1, 2}).merged().count == 1);
    CHECK(rondel::permutation<3>({2, 3, 4}, {2, 0, 1}).merged().count == 2);
  }
  SUBCASE("bad arguments") {
    std::vector<int> in(10), out(10);
    const auto call = [&](const strided_copy& copy) {
      kernels::copy_strided<int>(s, span_of(out), device_span<const int>(span_of(in)), copy);
    };
    CHECK_THROWS_AS(call(strided_copy().add(11, 1, 0)), rondel::invalid_argument);
    CHECK_THROWS_AS(call(strided_copy().add(11, 0, 1)), rondel::invalid_argument);
    CHECK_THROWS_AS(call(strided_copy().add(2, 10, 1)), rondel::invalid_argument);
    CHECK_THROWS_AS(call(strided_copy().add(SIZE_MAX, 2, 1)), rondel::invalid_argument);
    CHECK_THROWS_AS(call(strided_copy().add(SIZE_MAX, 0, 0).add(2, 0, 0)),
                    rondel::invalid_argument);
    strided_copy most;
    for (int i = 0; i < strided_copy::most_axes; ++i) most.add(1, 1, 1);
    CHECK_THROWS_AS(most.add(1, 1, 1), rondel::invalid_argument);
    CHECK_THROWS_AS((void)rondel::permutation<2>({2, 2}, {0, 0}), rondel::invalid_argument);
    CHECK_THROWS_AS((void)rondel::permutation<2>({2, 2}, {0, 2}), rondel::invalid_argument);
    CHECK(device.work_done().launches == 0);
  }
}

TEST_CASE("rows by index") {
  rondel::host_device device;
  auto s = device.make_stream();
  const auto in = counted(12);
  const std::vector<std::int64_t> index{2, 0, 3};
  std::vector<int> out(9, -1), back(12, -1);
  kernels::gather_rows<int>(s, span_of(out), span_of(in), span_of(index), 3);
  CHECK(out == std::vector<int>{6, 7, 8, 0, 1, 2, 9, 10, 11});
  kernels::scatter_rows<int>(s, span_of(back), device_span<const int>(span_of(out)), span_of(index),
                             3);
  CHECK(back == std::vector<int>{0, 1, 2, -1, -1, -1, 6, 7, 8, 9, 10, 11});
  CHECK_THROWS_AS(kernels::gather_rows<int>(s, span_of(out), span_of(in), span_of(index), 4),
                  rondel::invalid_argument);
  CHECK_THROWS_AS(kernels::gather_rows<int>(s, span_of(out), span_of(in), span_of(index), 0),
                  rondel::invalid_argument);
  CHECK_THROWS_AS(kernels::scatter_rows<int>(s, span_of(back), span_of(in), span_of(index), 3),
                  rondel::invalid_argument);
}

TEST_CASE("casts round to nearest, ties to even") {
  rondel::host_device device;
  auto s = device.make_stream();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> in{1.0F,     1.00390625F, 1.01171875F, -0.0F,
                              65519.0F, 65520.0F,    1e-8F,       inf};
  std::vector<rondel::bfloat16> b(in.size());
  std::vector<rondel::float16> h(in.size());
  std::vector<float> back(in.size());
  kernels::cast<rondel::bfloat16>(s, span_of(b), span_of(in));
  kernels::cast<float>(s, span_of(back), device_span<const rondel::bfloat16>(span_of(b)));
  CHECK(back == std::vector<float>{1.0F, 1.0F, 1.015625F, -0.0F, 65536.0F, 65536.0F,
                                   rondel::bfloat16(1e-8F), inf});
  kernels::cast<rondel::float16>(s, span_of(h), span_of(in));
  kernels::cast<float>(s, span_of(back), device_span<const rondel::float16>(span_of(h)));
  CHECK(back ==
        std::vector<float>{1.0F, 1.00390625F, 1.01171875F, -0.0F, 65504.0F, inf, 0.0F, inf});
  CHECK(std::signbit(back[3]));
  std::vector<rondel::float16> few(2);
  CHECK_THROWS_AS(kernels::cast<rondel::float16>(s, span_of(few), span_of(in)),
                  rondel::invalid_argument);
}

TEST_CASE("Adam") {
  rondel::host_device device;
  auto s = device.make_stream();
  SUBCASE("with a constant gradient each step is the learning rate") {
    // m / (1 - beta1^t) is g and v / (1 - beta2^t) is g^2, whatever the betas.
    std::vector<float> p{1.0F, -2.0F}, m(2), v(2);
    const std::vector<float> g{0.5F, -3.0F};
    for (std::uint64_t t = 1; t <= 20; ++t) {
      kernels::adam(s, {.learning_rate = 0.01, .step = t}, span_of(p), span_of(g), span_of(m),
                    span_of(v));
    }
    CHECK(p[0] == doctest::Approx(1.0 - 20 * 0.01).epsilon(1e-5));
    CHECK(p[1] == doctest::Approx(-2.0 + 20 * 0.01).epsilon(1e-5));
  }
  SUBCASE("against the algorithm in double precision") {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    constexpr std::size_t n = 100;
    std::vector<float> p(n), m(n), v(n), g(n);
    for (float& x : p) x = normal(random);
    std::vector<double> dp(p.begin(), p.end()), dm(n), dv(n);
    const std::vector<float> scale{0.25F};
    std::vector<rondel::bfloat16> copy(n), low(n);
    for (std::uint64_t t = 1; t <= 30; ++t) {
      for (std::size_t i = 0; i < n; ++i) {
        low[i] = rondel::bfloat16(normal(random));
        g[i] = low[i];
      }
      const rondel::adam_options o{.learning_rate = 0.02,
                                   .beta1 = 0.8,
                                   .beta2 = 0.95,
                                   .epsilon = 1e-6,
                                   .weight_decay = 0.1,
                                   .step = t};
      kernels::adam(s, o, span_of(p), device_span<const rondel::bfloat16>(span_of(low)), span_of(m),
                    span_of(v), span_of(copy), span_of(scale));
      for (std::size_t i = 0; i < n; ++i) {
        const double d = 0.25 * static_cast<double>(g[i]);
        dm[i] = o.beta1 * dm[i] + (1 - o.beta1) * d;
        dv[i] = o.beta2 * dv[i] + (1 - o.beta2) * d * d;
        const double steps = static_cast<double>(t);
        const double mean = dm[i] / (1 - std::pow(o.beta1, steps));
        const double square = dv[i] / (1 - std::pow(o.beta2, steps));
        dp[i] -= o.learning_rate * o.weight_decay * dp[i];
        dp[i] -= o.learning_rate * mean / (std::sqrt(square) + o.epsilon);
        CHECK(std::abs(static_cast<double>(p[i]) - dp[i]) < 2e-6 * (1 + std::abs(dp[i])));
        CHECK(copy[i].bits() == rondel::bfloat16(p[i]).bits());
      }
    }
  }
  SUBCASE("bad arguments") {
    std::vector<float> p(2), m(2), v(2), g(3), two(2);
    const auto adam = [&](const rondel::adam_options& o, std::vector<float>& gradients) {
      kernels::adam(s, o, span_of(p), device_span<const float>(span_of(gradients)), span_of(m),
                    span_of(v));
    };
    CHECK_THROWS_AS(adam({}, g), rondel::invalid_argument);
    CHECK_THROWS_AS(adam({.step = 0}, two), rondel::invalid_argument);
    CHECK_THROWS_AS(adam({.beta1 = 1}, two), rondel::invalid_argument);
    CHECK_THROWS_AS(adam({.beta2 = -0.1}, two), rondel::invalid_argument);
    CHECK_THROWS_AS(kernels::adam(s, {}, span_of(p), device_span<const float>(span_of(two)),
                                  span_of(m), span_of(v), device_span<float>(span_of(g))),
                    rondel::invalid_argument);
    CHECK(p == std::vector<float>{0, 0});
  }
}

TEST_CASE("a reduction into several places") {
  rondel::host_device device;
  auto s = device.make_stream();
  const std::vector<float> a{1, 2}, b{10, 20};
  std::vector<float> x(2), y(2);
  kernels::reduce_to_many<float>(s, {span_of(x), span_of(y)}, {span_of(a), span_of(b)},
                                 rondel::mean{});
  CHECK(x == std::vector<float>{5.5F, 11.0F});
  CHECK(y == x);
}
