#include "host_kernels.hpp"
#include "support.hpp"

#include <cmath>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;
using test::gradient_error;
using test::hashed_tokens;
using test::hashed_values;
using kernels = host_kernels<double>;
using values = std::vector<double>;

namespace {

constexpr double tolerance = 1e-6;

double dot(const values& a, const values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double error(values& x, const values& analytic, auto&& loss) {
  return gradient_error(x.data(), analytic.data(), x.size(), 40, loss);
}

}  // namespace

TEST_CASE("linear: values, residual and gradients") {
  const std::size_t m = 5, n = 7, k = 3;
  auto x = hashed_values<double>(m * k, 1);
  auto w = hashed_values<double>(k * n, 2);
  auto bias = hashed_values<double>(n, 3);
  const auto residual = hashed_values<double>(m * n, 4);
  const auto dy = hashed_values<double>(m * n, 5);
  values y(m * n);
  kernels::linear(m, n, k, x.data(), w.data(), bias.data(), residual.data(), y.data());
  double expected = bias[4] + residual[2 * n + 4];
  for (std::size_t i = 0; i < k; ++i) expected += x[2 * k + i] * w[i * n + 4];
  CHECK(y[2 * n + 4] == doctest::Approx(expected).epsilon(1e-14));

  values dx(m * k), dw(k * n, 10), db(n, 10);
  kernels::linear_backward_input(m, n, k, dy.data(), w.data(), dx.data());
  kernels::linear_backward_weight(m, n, k, x.data(), dy.data(), dw.data(), db.data());
  for (double& d : dw) d -= 10;  // the gradients of weights are added to what is there
  for (double& d : db) d -= 10;
  const auto loss = [&] {
    kernels::linear(m, n, k, x.data(), w.data(), bias.data(), nullptr, y.data());
    return dot(y, dy);
  };
  CHECK(error(x, dx, loss) < tolerance);
  CHECK(error(w, dw, loss) < tolerance);
  CHECK(error(bias, db, loss) < tolerance);
}

TEST_CASE("layer norm: values and gradients") {
  const std::size_t rows = 4, width = 11;
  auto x = hashed_values<double>(rows * width, 1, 3);
  auto gain = hashed_values<double>(width, 2);
  auto bias = hashed_values<double>(width, 3);
  const auto dy = hashed_values<double>(rows * width, 4);
  values y(rows * width), mean(rows), deviation(rows);
  const auto loss = [&] {
    kernels::layer_norm(rows, width, x.data(), gain.data(), bias.data(), y.data(), mean.data(),
                        deviation.data());
    return dot(y, dy);
  };
  loss();
  double sum = 0, square = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const double normal = (y[i] - bias[i]) / gain[i];
    sum += normal;
    square += normal * normal;
  }
  CHECK(sum == doctest::Approx(0).epsilon(1e-12));
  CHECK(square / width == doctest::Approx(1).epsilon(1e-4));

  values dx(rows * width, 5), d_gain(width), d_bias(width);
  kernels::layer_norm_backward(rows, width, dy.data(), x.data(), gain.data(), mean.data(),
                               deviation.data(), dx.data(), d_gain.data(), d_bias.data(), true);
  CHECK(error(x, dx, loss) < tolerance);
  CHECK(error(gain, d_gain, loss) < tolerance);
  CHECK(error(bias, d_bias, loss) < tolerance);

  loss();
  values added(rows * width, 5);
  kernels::layer_norm_backward(rows, width, dy.data(), x.data(), gain.data(), mean.data(),
                               deviation.data(), added.data(), d_gain.data(), d_bias.data(), false);
  for (std::size_t i = 0; i < added.size(); ++i) {
    CHECK(added[i] == doctest::Approx(dx[i] + 5).epsilon(1e-12));
  }
}

TEST_CASE("gelu: values and gradient") {
  auto x = hashed_values<double>(301, 1, 4);
  const auto dy = hashed_values<double>(x.size(), 2);
  values y(x.size());
  const auto loss = [&] {
    kernels::gelu(x.size(), x.data(), y.data());
    return dot(y, dy);
  };
  loss();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double u = std::sqrt(2 / std::acos(-1.0)) * (x[i] + 0.044715 * x[i] * x[i] * x[i]);
    CHECK(y[i] == doctest::Approx(0.5 * x[i] * (1 + std::tanh(u))).epsilon(1e-13));
  }
  values dx = dy;
  kernels::gelu_backward(x.size(), x.data(), dx.data());
  CHECK(error(x, dx, loss) < tolerance);
  values extreme = {-1e3, -40, 40, 1e3}, out(4), slope(4, 1);
  kernels::gelu(4, extreme.data(), out.data());
  kernels::gelu_backward(4, extreme.data(), slope.data());
  CHECK(std::abs(out[0]) == 0);
  CHECK(out[3] == 1e3);
  for (std::size_t i = 0; i < 4; ++i) CHECK(slope[i] == doctest::Approx(i < 2 ? 0.0 : 1.0));
}

TEST_CASE("attention: values, causality and gradient") {
  // Lengths below, at and across the boundaries of the row blocks.
  for (const std::size_t length : {std::size_t{1}, std::size_t{6}, attention_rows,
                                   attention_rows + 5, 2 * attention_rows + 1}) {
    CAPTURE(length);
    const std::size_t batch = 2, width = 6, heads = 2, head_width = 3;
    auto qkv = hashed_values<double>(batch * length * 3 * width, 1);
    const auto dy = hashed_values<double>(batch * length * width, 2);
    values p(batch * heads * length * length), out(dy.size());
    const auto loss = [&] {
      kernels::attention(batch, length, width, heads, qkv.data(), p.data(), out.data());
      return dot(out, dy);
    };
    loss();

    // The last query of the second sequence and head, by the definition.
    const auto at = [&](std::size_t i, std::size_t which, std::size_t d) {
      return qkv[((length + i) * 3 + which) * width + head_width + d];
    };
    values weights(length);
    double total = 0;
    for (std::size_t j = 0; j < length; ++j) {
      double score = 0;
      for (std::size_t d = 0; d < head_width; ++d) score += at(length - 1, 0, d) * at(j, 1, d);
      total += weights[j] = std::exp(score / std::sqrt(double{head_width}));
    }
    for (std::size_t d = 0; d < head_width; ++d) {
      double expected = 0;
      for (std::size_t j = 0; j < length; ++j) expected += weights[j] / total * at(j, 2, d);
      CHECK(out[(2 * length - 1) * width + head_width + d] ==
            doctest::Approx(expected).epsilon(1e-12));
    }

    values d_qkv(qkv.size(), 7), scratch(attention_rows * length);
    kernels::attention_backward(batch, length, width, heads, dy.data(), qkv.data(), p.data(),
                                d_qkv.data(), scratch.data());
    CHECK(error(qkv, d_qkv, loss) < tolerance);

    // A later token changes nothing before it.
    loss();
    const values before = out;
    for (std::size_t i = 0; i < 3 * width; ++i) qkv[(length - 1) * 3 * width + i] += 1;
    loss();
    for (std::size_t i = 0; i + 1 < length; ++i) CHECK(out[i * width] == before[i * width]);
  }
}

TEST_CASE("cross-entropy: value and gradient") {
  const std::size_t batch = 2, length = 3, vocabulary = 9;
  auto logits = hashed_values<double>(batch * length * vocabulary, 1, 5);
  const auto tokens = hashed_tokens(batch * (length + 1), 2, vocabulary);
  const double scale = 0.25;
  const auto loss = [&] {
    double out = 0;
    kernels::cross_entropy(batch, length, vocabulary, logits.data(), tokens.data(), scale, &out);
    return out;
  };
  double expected = 0;
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t i = 0; i < length; ++i) {
      const double* row = logits.data() + (b * length + i) * vocabulary;
      double total = 0;
      for (std::size_t v = 0; v < vocabulary; ++v) total += std::exp(row[v]);
      expected -= scale * (row[tokens[b * (length + 1) + i + 1]] - std::log(total));
    }
  }
  CHECK(loss() == doctest::Approx(expected).epsilon(1e-13));

  values gradient = logits;
  double fused = 1;
  kernels::cross_entropy_with_gradient(batch, length, vocabulary, gradient.data(), tokens.data(),
                                       scale, &fused);
  CHECK(fused == doctest::Approx(1 + expected).epsilon(1e-13));
  CHECK(error(logits, gradient, loss) < tolerance);

  // Logits far outside the range of the exponential.
  values extreme(vocabulary, -1e4);
  extreme[3] = 1e4;
  double at_most = 0;
  const std::vector<std::int32_t> pair = {0, 3};
  kernels::cross_entropy(1, 1, vocabulary, extreme.data(), pair.data(), 1, &at_most);
  CHECK(at_most == 0);
}

TEST_CASE("embedding: values and gradient") {
  const std::size_t batch = 2, length = 5, width = 3, vocabulary = 4;
  auto token_table = hashed_values<double>(vocabulary * width, 1);
  auto position_table = hashed_values<double>(length * width, 2);
  const auto tokens = hashed_tokens(batch * (length + 1), 3, vocabulary);
  const auto dy = hashed_values<double>(batch * length * width, 4);
  values x(dy.size()), d_token(token_table.size()), d_position(position_table.size());
  const auto loss = [&] {
    kernels::embed(batch, length, width, tokens.data(), token_table.data(), position_table.data(),
                   x.data());
    return dot(x, dy);
  };
  loss();
  const auto token = static_cast<std::size_t>(tokens[(length + 1) + 2]);
  CHECK(x[(length + 2) * width + 1] ==
        token_table[token * width + 1] + position_table[2 * width + 1]);
  kernels::embed_backward(batch, length, width, tokens.data(), dy.data(), d_token.data(),
                          d_position.data());
  CHECK(error(token_table, d_token, loss) < tolerance);
  CHECK(error(position_table, d_position, loss) < tolerance);
}

TEST_CASE("normal initial values have the stated moments and depend on the seed alone") {
  const std::size_t count = 100000;
  values x(count), again(count), other(count);
  kernels::fill_normal(count, 1, 0.5, x.data());
  kernels::fill_normal(count, 1, 0.5, again.data());
  kernels::fill_normal(count, 2, 0.5, other.data());
  CHECK(x == again);
  CHECK(x != other);
  const double mean = std::accumulate(x.begin(), x.end(), 0.0) / double{count};
  const double second = dot(x, x) / double{count};
  const double fourth = std::accumulate(x.begin(), x.end(), 0.0,
                                        [](double sum, double v) { return sum + v * v * v * v; }) /
                        double{count};
  CHECK(std::abs(mean) < 0.01);
  CHECK(std::sqrt(second) == doctest::Approx(0.5).epsilon(0.01));
  CHECK(fourth / (second * second) == doctest::Approx(3).epsilon(0.05));
  CHECK(std::abs(dot(x, other)) / (second * count) < 0.02);
}

TEST_CASE("squared norm of any length") {
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{1}, std::size_t{1024}, std::size_t{2500}}) {
    const auto x = hashed_values<double>(count, 6);
    double out = -1;
    kernels::squared_norm(count, x.data(), &out);
    CHECK(out == doctest::Approx(dot(x, x)).epsilon(1e-12));
  }
}
