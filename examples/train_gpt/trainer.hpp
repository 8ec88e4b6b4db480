#pragma once
#include <rondel/collective/all_reduce.hpp>
#include <rondel/comm/concepts.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/core/text.hpp>
#include <rondel/device/array.hpp>

#include "model.hpp"
#include "optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace train_gpt {

/// What a training run computes, apart from its text.
struct training_config {
  /// Sizes of the model.
  gpt_config model;
  /// Sequences per step over all ranks; divisible by ranks times accumulation.
  std::size_t batch = 12;
  /// Micro-batches that a step's gradient is the mean of.
  std::size_t accumulation = 1;
  /// Optimizer.
  adamw_config adamw;
  /// Learning rate.
  learning_rate_schedule schedule;
  /// Seed of the initial parameters.
  std::uint64_t seed = 1;
  /// Gradients are reduced in pieces of at most this many bytes.
  std::size_t bucket_bytes = std::size_t{1} << 20;
};

/// What a step reports.
struct step_metrics {
  /// Step, counted from 0.
  std::size_t step = 0;
  /// Mean loss over the whole batch of all ranks, in nats a token, before the update.
  double loss = 0;
  /// Global norm of the gradient before clipping.
  double gradient_norm = 0;
  /// Learning rate.
  double learning_rate = 0;
};

/// A range of the flat gradient buffer that is reduced at once.
struct gradient_bucket {
  /// First element and number of elements.
  std::size_t offset = 0, count = 0;

  friend bool operator==(const gradient_bucket&, const gradient_bucket&) = default;
};

/// Cuts `count` elements of `element_bytes` into buckets of at most `bucket_bytes`, of equal size
/// but for the last. Throws `rondel::invalid_argument` if not one element fits.
[[nodiscard]] inline std::vector<gradient_bucket> plan_buckets(std::size_t count,
                                                               std::size_t element_bytes,
                                                               std::size_t bucket_bytes) {
  const std::size_t most = bucket_bytes / element_bytes;
  if (most == 0) {
    throw rondel::invalid_argument(rondel::concat("plan_buckets: a bucket of ", bucket_bytes,
                                                  " B holds no element of ", element_bytes, " B"));
  }
  std::vector<gradient_bucket> out;
  for (std::size_t offset = 0; offset < count; offset += most) {
    out.push_back({offset, std::min(most, count - offset)});
  }
  return out;
}

/// Data-parallel training of a `gpt<T>` on the ranks of communicator `C`.
///
/// Every rank holds all parameters, gradients and optimizer state, identical on all ranks: the
/// initial values depend on the seed alone, and every rank applies the same averaged gradient.
/// Gradients are averaged bucket by bucket on a second stream while the backward pass goes on,
/// in the order of the ranks, so that runs agree bit for bit.
///
/// All device memory is allocated at construction. A step never waits for the host: what it
/// reports is downloaded behind it and handed out `delay` steps later.
template <class T, rondel::communicator C>
class trainer {
 public:
  /// Device of the communicator.
  using device = typename C::device_type;
  /// Stream of the device.
  using stream = typename device::stream_type;
  /// Steps between a step and its report.
  static constexpr std::size_t delay = 2;

  /// A trainer that reduces gradients with `gradients`, and reported numbers with `metrics`, a
  /// duplicate, so that the gradients' traffic can be counted by itself. Both must outlive it.
  /// Throws `rondel::invalid_argument` if the batch is not divisible, `rondel::out_of_memory`.
  trainer(C& gradients, C& metrics, const training_config& config)
      : config_(config),
        gradient_comm_(&gradients),
        metric_comm_(&metrics),
        sequences_(sequences_of(config, gradients.size())),
        compute_(gradients.device().make_stream("compute")),
        model_(gradients.device(), compute_, config.model, sequences_),
        optimizer_(gradients.device(), compute_, model_.layout(), config.adamw),
        buckets_(plan_buckets(model_.layout().size(), sizeof(T), config.bucket_bytes)),
        tokens_(gradients.device(), compute_, tokens_per_step()),
        loss_(gradients.device(), compute_, 1),
        communication_(gradients.device().make_stream("communication")) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      bucket_ready_.push_back(gradients.device().make_event());
    }
    for (slot& one : slots_) one.tokens.resize(tokens_per_step());
    model_.initialise(compute_, config.seed);
  }

  /// Sequences of one micro-batch of this rank.
  [[nodiscard]] std::size_t sequences() const noexcept { return sequences_; }
  /// Tokens that a step of this rank is given: `[accumulation, sequences, context + 1]`.
  [[nodiscard]] std::size_t tokens_per_step() const noexcept {
    return config_.accumulation * sequences_ * (config_.model.context + 1);
  }

  /// Queues one step on `tokens`, `[accumulation, sequences, context + 1]` of this rank, which are
  /// copied. Returns the report of the step `delay` steps ago, if there was one.
  std::optional<step_metrics> step(std::span<const std::int32_t> tokens) {
    if (tokens.size() != tokens_per_step()) {
      throw rondel::invalid_argument(rondel::concat(
          "trainer::step: ", tokens.size(), " tokens given, ", tokens_per_step(), " expected"));
    }
    slot& now = slots_[step_ % slots_.size()];
    std::optional<step_metrics> report = collect(now);
    std::copy(tokens.begin(), tokens.end(), now.tokens.begin());
    compute_.upload(rondel::as_writable_bytes(tokens_.span()),
                    std::as_bytes(std::span(now.tokens)));
    model_.zero_gradients(compute_);
    ops::fill(compute_, 0.0, loss_.span());

    const std::size_t micro = sequences_ * (config_.model.context + 1);
    const double scale = 1.0 / static_cast<double>(config_.accumulation * shape().rows());
    for (std::size_t i = 0; i < config_.accumulation; ++i) {
      const auto ids =
          rondel::device_span<const std::int32_t>(tokens_.span()).subspan(i * micro, micro);
      const bool last = i + 1 == config_.accumulation;
      std::size_t next = 0;
      model_.forward(compute_, ids, shape());
      model_.backward(compute_, ids, shape(), scale, loss_.span(), [&](std::size_t ready) {
        while (last && next < buckets_.size() &&
               buckets_[next].offset + buckets_[next].count <= ready) {
          reduce(next++);
        }
      });
    }
    // The last bucket waited for the whole backward pass, and so for the loss.
    rondel::all_reduce(*metric_comm_, communication_, loss_.span(),
                       rondel::in_rank_order(rondel::mean{}));
    communication_.record(reduced_);
    compute_.wait(reduced_);

    const double rate = config_.schedule.at(step_);
    optimizer_.step(compute_, step_, rate, model_.gradients(), model_.parameters());
    compute_.download(std::as_writable_bytes(std::span(&now.loss, 1)),
                      rondel::as_bytes(loss_.span()));
    compute_.download(std::as_writable_bytes(std::span(&now.squared_norm, 1)),
                      rondel::as_bytes(optimizer_.squared_norm()));
    compute_.record(now.done);
    now.report = {.step = step_, .learning_rate = rate};
    now.queued = true;
    ++step_;
    return report;
  }

  /// Waits for all steps and returns the reports that were not handed out, oldest first.
  std::vector<step_metrics> finish() {
    std::vector<step_metrics> out;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (auto report = collect(slots_[(step_ + i) % slots_.size()])) out.push_back(*report);
    }
    compute_.synchronize();
    communication_.synchronize();
    return out;
  }

  /// Mean loss over the windows of all ranks, in nats a token; `tokens [n, context + 1]` are this
  /// rank's, and `n` may differ between ranks and be zero. Collective; blocks the host.
  [[nodiscard]] double evaluate(std::span<const std::int32_t> tokens) {
    const std::size_t row = config_.model.context + 1;
    const std::size_t windows = tokens.size() / row;
    ops::fill(compute_, 0.0, loss_.span());
    for (std::size_t i = 0; i < windows; i += sequences_) {
      const batch_shape part{std::min(sequences_, windows - i), config_.model.context};
      const auto ids = tokens_.span().first(part.batch * row);
      compute_.upload(rondel::as_writable_bytes(ids),
                      std::as_bytes(tokens.subspan(i * row, part.batch * row)));
      model_.forward(compute_, ids, part);
      model_.add_loss(compute_, ids, part, 1, loss_.span());
    }
    double mine = 0;
    compute_.download(std::as_writable_bytes(std::span(&mine, 1)), rondel::as_bytes(loss_.span()));
    compute_.synchronize();
    struct part {
      double loss, predictions;
    };
    const part own{mine, static_cast<double>(windows * config_.model.context)};
    std::vector<part> all(static_cast<std::size_t>(metric_comm_->size()));
    metric_comm_->exchange_host(std::as_bytes(std::span(&own, 1)),
                                std::as_writable_bytes(std::span(all)));
    part total{0, 0};
    for (const part& one : all) {
      total.loss += one.loss;
      total.predictions += one.predictions;
    }
    return total.loss / total.predictions;
  }

  /// The logits of the token after `tokens`, at most `context` of them. Not collective; blocks the
  /// host.
  [[nodiscard]] std::vector<T> next_logits(std::span<const std::int32_t> tokens) {
    std::vector<std::int32_t> padded(tokens.begin(), tokens.end());
    padded.push_back(0);  // the place of a target, which is not read
    const auto ids = tokens_.span().first(padded.size());
    compute_.upload(rondel::as_writable_bytes(ids), std::as_bytes(std::span(padded)));
    model_.forward(compute_, ids, {1, tokens.size()});
    std::vector<T> out(config_.model.vocabulary);
    const auto last = model_.logits().subspan((tokens.size() - 1) * out.size(), out.size());
    compute_.download(std::as_writable_bytes(std::span(out)), rondel::as_bytes(last));
    compute_.synchronize();
    return out;
  }

  /// Goes on as if `steps` steps were done, of which the caller has set parameters and moments.
  /// To be called before the first step.
  void start_at(std::size_t steps) noexcept { step_ = steps; }

  /// The model, to read or set its parameters.
  [[nodiscard]] gpt<T, device>& model() noexcept { return model_; }
  /// The optimizer.
  [[nodiscard]] adamw_optimizer<T, device>& optimizer() noexcept { return optimizer_; }
  /// The stream of the model's work.
  [[nodiscard]] stream& compute() noexcept { return compute_; }
  /// The ranges that gradients are reduced in.
  [[nodiscard]] const std::vector<gradient_bucket>& buckets() const noexcept { return buckets_; }

 private:
  using ops = operations<T, device>;

  // A step on its way: host memory that queued work uses.
  struct slot {
    std::vector<std::int32_t> tokens;
    double loss = 0;
    double squared_norm = 0;
    typename device::event_type done{};
    step_metrics report{};
    bool queued = false;
  };

  [[nodiscard]] static std::size_t sequences_of(const training_config& config, int ranks) {
    const std::size_t parts = static_cast<std::size_t>(ranks) * config.accumulation;
    if (parts == 0 || config.batch == 0 || config.batch % parts != 0) {
      throw rondel::invalid_argument(
          rondel::concat("trainer: a batch of ", config.batch, " sequences is not divisible by ",
                         ranks, " ranks times ", config.accumulation, " micro-batches"));
    }
    return config.batch / parts;
  }

  [[nodiscard]] batch_shape shape() const noexcept { return {sequences_, config_.model.context}; }

  // Averages a bucket whose gradients are complete once the work queued so far has run.
  void reduce(std::size_t bucket) {
    compute_.record(bucket_ready_[bucket]);
    communication_.wait(bucket_ready_[bucket]);
    const auto part = model_.gradients().subspan(buckets_[bucket].offset, buckets_[bucket].count);
    rondel::all_reduce(*gradient_comm_, communication_, part,
                       rondel::in_rank_order(rondel::mean{}));
  }

  [[nodiscard]] std::optional<step_metrics> collect(slot& one) {
    if (!one.queued) return std::nullopt;
    one.done.synchronize();
    one.queued = false;
    one.report.loss = one.loss;
    one.report.gradient_norm = std::sqrt(one.squared_norm);
    return one.report;
  }

  training_config config_;
  C* gradient_comm_;
  C* metric_comm_;
  std::size_t sequences_;
  std::size_t step_ = 0;
  // Queued work uses what is declared before its stream, and streams finish their work when they
  // die, last first: an exception may leave both with work.
  std::array<slot, delay> slots_;
  stream compute_;
  gpt<T, device> model_;
  adamw_optimizer<T, device> optimizer_;
  std::vector<gradient_bucket> buckets_;
  rondel::device_array<std::int32_t, device> tokens_;
  rondel::device_array<double, device> loss_;
  std::vector<typename device::event_type> bucket_ready_;
  typename device::event_type reduced_{};
  stream communication_;
};

}  // namespace train_gpt
