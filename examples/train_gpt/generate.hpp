#pragma once
#include "host_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace train_gpt {

/// How the next token is chosen.
struct sampling {
  /// Divides the logits; 0 takes the likeliest token.
  double temperature = 1;
  /// How many of the likeliest tokens take part; 0 for all.
  std::size_t top_k = 0;
};

/// The token at quantile `unit`, in [0, 1), of the softmax of `logits` under `how`; tokens are
/// taken by falling logit, equal ones by rising number. `logits` is not empty.
template <class T>
[[nodiscard]] std::size_t choose_token(std::span<const T> logits, const sampling& how,
                                       double unit) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (how.temperature <= 0) return order.front();
  if (how.top_k > 0 && how.top_k < order.size()) order.resize(how.top_k);
  std::vector<double> weights(order.size());
  double total = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double logit = static_cast<double>(logits[order[i]] - logits[order.front()]);
    total += weights[i] = std::exp(logit / how.temperature);
  }
  double left = unit * total;
  for (std::size_t i = 0; i < order.size(); ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order.back();
}

/// `prompt`, continued by `length` bytes. `next_logits(tokens)` gives the logits of the byte after
/// `tokens`, the last `context` at most. An empty prompt counts as a line break, and is not
/// returned.
template <class NextLogits>
[[nodiscard]] std::vector<std::uint8_t> generate(std::string_view prompt, std::size_t length,
                                                 std::size_t context, const sampling& how,
                                                 std::uint64_t seed, NextLogits&& next_logits) {
  std::vector<std::int32_t> tokens;
  for (const char c : prompt) tokens.push_back(static_cast<std::uint8_t>(c));
  if (prompt.empty()) tokens.push_back('\n');
  for (std::size_t i = 0; i < length; ++i) {
    const std::size_t seen = std::min(context, tokens.size());
    const auto logits = next_logits(std::span<const std::int32_t>(tokens).last(seen));
    const double unit = unit_interval(mix_bits(mix_bits(seed) + i));
    tokens.push_back(
        static_cast<std::int32_t>(choose_token(std::span(std::as_const(logits)), how, unit)));
  }
  std::vector<std::uint8_t> out;
  for (std::size_t i = prompt.empty() ? 1 : 0; i < tokens.size(); ++i) {
    out.push_back(static_cast<std::uint8_t>(tokens[i]));
  }
  return out;
}

}  // namespace train_gpt
