#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/core/text.hpp>
#include <rondel/core/work.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/sim.hpp>
#include <rondel/launch.hpp>
#include <rondel/launch_engines.hpp>
#include <rondel/trace/ledger.hpp>
#include <rondel/trace/timeline.hpp>

#include "checkpoint.hpp"
#include "generate.hpp"
#include "options.hpp"
#include "text.hpp"
#include "trainer.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace train_gpt {

/// What one rank held, did and sent.
struct rank_outcome {
  /// Bytes of its parts on the device.
  std::size_t parameters = 0, gradients = 0, optimizer = 0, activations = 0;
  /// Its device memory at the end of training.
  rondel::memory_usage memory{};
  /// Allocations before the first step.
  std::uint64_t allocations_at_start = 0;
  /// Work from the first step to the last, evaluations and saves between them not counted.
  rondel::work_total work{};
  /// Messages of the gradients, and of what is reported.
  rondel::ledger gradient_traffic, metric_traffic;
};

/// What a training run gave.
struct outcome {
  /// Number of parameters.
  std::size_t parameters = 0;
  /// Buckets that a step's gradient is reduced in.
  std::size_t buckets = 0;
  /// Bytes of one parameter.
  std::size_t element_bytes = 0;
  /// One per step of this run.
  std::vector<step_metrics> steps;
  /// Seconds of training, evaluations, saves and pauses not counted.
  double seconds = 0;
  /// Checkpoints that were saved, that failed, and the bytes of the last.
  std::size_t saves = 0, failed_saves = 0;
  std::uint64_t save_bytes = 0;
  /// Seconds of all saves, waiting for the steps before not counted.
  double save_seconds = 0;
  /// Mean loss over windows of the learnt and of the held-out text, in nats a byte.
  double train_loss = 0, held_out_loss = 0;
  /// Predictions that each of the two is the mean of.
  std::size_t train_predictions = 0, held_out_predictions = 0;
  /// The same of the bigram model, for the same predictions.
  double bigram_train_loss = 0, bigram_held_out_loss = 0;
  /// Generated text, the prompt first.
  std::vector<std::uint8_t> sample;
  /// One per rank.
  std::vector<rank_outcome> ranks;
};

/// The numbers of a run left the range of its precision.
class diverged : public std::runtime_error {
 public:
  /// `what` is not finite at step `step`, counted from 1.
  diverged(std::size_t step, const char* what)
      : std::runtime_error(rondel::concat("training diverged at step ", step, ": ", what,
                                          " is not finite (try a lower --lr)")) {}
};

/// Hears of the progress of a run, on rank 0's thread.
class listener {
 public:
  virtual ~listener() = default;
  /// Training begins: number of parameters, of buckets they are reduced in, and of steps that were
  /// done before.
  virtual void begins(std::size_t parameters, std::size_t buckets, std::size_t first_step) = 0;
  /// A step was reported, after `seconds` of training.
  virtual void step(const step_metrics& m, double seconds) = 0;
  /// The held-out text was evaluated after `steps` steps.
  virtual void evaluated(std::size_t steps, double loss) = 0;
  /// The state after `steps` steps is durable, after `seconds` of saving.
  virtual void saved(std::size_t steps, const save_result& result, double seconds) = 0;
  /// Something failed, and training goes on.
  virtual void not_saved(const save_failed& failure) = 0;
};

/// One rank's part of a run. Every rank calls `train`, on a thread of its own.
template <class T, rondel::communicator World>
class rank_session {
 public:
  /// `recorder` may be null; the rest must outlive the session.
  rank_session(World& world, const options& o, const text_split& text, checkpoint_store& store,
               rondel::timeline* recorder, listener& heard)
      : options_(o),
        text_(text),
        store_(store),
        recorder_(recorder),
        heard_(heard),
        gradients_(world.duplicate(), own_.gradient_traffic),
        metrics_(world.duplicate(), own_.metric_traffic),
        trainer_(gradients_, metrics_, o.training()) {}

  /// Trains, evaluates and generates. Rank 0 fills `out`, apart from `ranks`. Throws `diverged`,
  /// `save_failed` if that is to stop the run, and what reading a checkpoint throws.
  [[nodiscard]] rank_outcome train(outcome& out) {
    auto& model = trainer_.model();
    out_ = leads() ? &out : nullptr;
    if (leads()) {
      out.parameters = model.layout().size();
      out.buckets = trainer_.buckets().size();
      out.element_bytes = sizeof(T);
      heard_.begins(out.parameters, out.buckets, store_.first_step());
    }
    if (const auto& found = store_.found()) {
      training_state<T, communicator>(trainer_).read(store_.source().open(*found),
                                                     store_.first_step());
    }
    trainer_.finish();
    own_.parameters = own_.gradients = model.layout().size() * sizeof(T);
    own_.optimizer = trainer_.optimizer().state_bytes();
    own_.activations = model.activation_bytes();
    own_.allocations_at_start = device().memory().allocations;
    const rondel::work_total before = device().work_done();

    run_steps();
    own_.work = difference(difference(device().work_done(), before), beside_);
    own_.memory = device().memory();
    if (!dry) finish(out);
    return std::move(own_);
  }

 private:
  using communicator = rondel::ledger_communicator<World>;
  using device_type = typename World::device_type;
  using clock = std::chrono::steady_clock;
  static constexpr bool dry = std::same_as<device_type, rondel::sim_device>;

  [[nodiscard]] device_type& device() { return gradients_.device(); }
  [[nodiscard]] bool leads() const { return gradients_.rank() == 0; }

  [[nodiscard]] static rondel::work_total difference(rondel::work_total a,
                                                     const rondel::work_total& b) {
    a.launches -= b.launches;
    a.flops -= b.flops;
    a.bytes_read -= b.bytes_read;
    a.bytes_written -= b.bytes_written;
    return a;
  }

  [[nodiscard]] static rondel::work_total sum(rondel::work_total a, const rondel::work_total& b) {
    a.launches += b.launches;
    a.flops += b.flops;
    a.bytes_read += b.bytes_read;
    a.bytes_written += b.bytes_written;
    return a;
  }

  void run_steps() {
    const std::size_t steps = options_.steps, first = store_.first_step();
    const std::size_t traced =
        recorder_ == nullptr ? 0 : std::min(options_.trace_steps, steps - first);
    const std::size_t first_traced = first + (steps - first - traced) / 2;
    since_ = clock::now();
    for (std::size_t step = first; step < steps; ++step) {
      if (traced > 0 && step == first_traced) record(true);
      if (auto report = trainer_.step(batch(step))) hear(*report);
      if (traced > 0 && step + 1 == first_traced + traced) record(false);
      const std::size_t done = step + 1;
      if (options_.eval_every > 0 && done % options_.eval_every == 0 && done < steps) {
        beside_training([&] {
          const double loss = evaluate(text_.held_out, done);
          if (leads() && !dry) heard_.evaluated(done, loss);
        });
      }
      if (store_.saves() &&
          (done == steps || (options_.save_every > 0 && done % options_.save_every == 0))) {
        beside_training([&] { save(done); });
      }
    }
    pause();
    if (leads()) out_->seconds = trained_;
  }

  // Runs `f` while no step is on its way; its time and its work do not count.
  template <class F>
  void beside_training(F&& f) {
    pause();
    const rondel::work_total before = device().work_done();
    f();
    beside_ = sum(beside_, difference(device().work_done(), before));
    resume();
  }

  // Every rank gets the same result, so all of them throw at the same step.
  void save(std::size_t done) {
    const clock::time_point begin = clock::now();
    const save_result result = save_checkpoint(store_, trainer_, metrics_, done);
    const double seconds = std::chrono::duration<double>(clock::now() - begin).count();
    if (!result.problem.empty() && options_.on_save_error == "stop") {
      throw save_failed(result.problem);
    }
    if (!leads()) return;
    if (!result.problem.empty()) {
      ++out_->failed_saves;
      heard_.not_saved(save_failed(result.problem));
      return;
    }
    ++out_->saves;
    out_->save_bytes = result.bytes;
    out_->save_seconds += seconds;
    heard_.saved(done, result, seconds);
  }

  // This rank's sequences of a step: of all ranks' sequences together, the same for any number
  // of ranks.
  [[nodiscard]] std::vector<std::int32_t> batch(std::size_t step) const {
    const auto ranks = static_cast<std::size_t>(gradients_.size());
    const std::size_t mine = options_.batch / ranks;
    const std::size_t first = static_cast<std::size_t>(gradients_.rank()) * mine;
    std::vector<std::size_t> starts(mine);
    for (std::size_t i = 0; i < mine; ++i) {
      starts[i] = training_window(options_.seed, step, first + i, text_.train.size(),
                                  options_.model.context);
    }
    return window_tokens(text_.train, starts, options_.model.context);
  }

  // Every rank is told the same numbers, so all of them throw at the same step.
  void hear(const step_metrics& m) {
    if (!std::isfinite(m.loss)) throw diverged(m.step + 1, "the loss");
    if (!std::isfinite(m.gradient_norm)) throw diverged(m.step + 1, "the gradient's norm");
    if (!leads()) return;
    out_->steps.push_back(m);
    heard_.step(m, trained_ + std::chrono::duration<double>(clock::now() - since_).count());
  }

  // Stops the clock once all ranks have done their steps.
  void pause() {
    for (const step_metrics& m : trainer_.finish()) hear(m);
    meet();
    trained_ += std::chrono::duration<double>(clock::now() - since_).count();
  }
  void resume() {
    meet();
    since_ = clock::now();
  }

  // All ranks stand still when recording begins and ends, so that it shows whole steps.
  void record(bool on) {
    pause();
    if (leads()) on ? recorder_->start() : recorder_->stop();
    resume();
  }

  void meet() {
    const std::byte mine{};
    std::vector<std::byte> all(static_cast<std::size_t>(metrics_.size()));
    metrics_.exchange_host(std::span(&mine, 1), all);
  }

  [[nodiscard]] std::vector<std::size_t> windows(std::span<const std::uint8_t> text) const {
    return evaluation_windows(text.size(), options_.model.context, options_.eval_windows);
  }

  // Mean loss of `text` after `done` steps.
  [[nodiscard]] double evaluate(std::span<const std::uint8_t> text, std::size_t done) {
    std::vector<std::size_t> mine;
    const auto all = windows(text);
    const auto ranks = static_cast<std::size_t>(gradients_.size());
    for (auto i = static_cast<std::size_t>(gradients_.rank()); i < all.size(); i += ranks) {
      mine.push_back(all[i]);
    }
    const double loss = trainer_.evaluate(window_tokens(text, mine, options_.model.context));
    if (!std::isfinite(loss)) throw diverged(done, "the loss of an evaluation");
    return loss;
  }

  void finish(outcome& out) {
    const std::size_t context = options_.model.context;
    const double train_loss = evaluate(text_.train, options_.steps);
    const double held_out_loss = evaluate(text_.held_out, options_.steps);
    if (!leads()) return;
    const auto learnt = windows(text_.train);
    const auto held_out = windows(text_.held_out);
    const bigram_model bigram(text_.train);
    out.train_loss = train_loss;
    out.held_out_loss = held_out_loss;
    out.train_predictions = learnt.size() * context;
    out.held_out_predictions = held_out.size() * context;
    out.bigram_train_loss = bigram.loss(text_.train, learnt, context);
    out.bigram_held_out_loss = bigram.loss(text_.held_out, held_out, context);
    if (options_.sample_length == 0) return;
    out.sample = generate(
        options_.prompt, options_.sample_length, context,
        {.temperature = options_.temperature, .top_k = options_.top_k}, options_.seed,
        [this](std::span<const std::int32_t> tokens) { return trainer_.next_logits(tokens); });
  }

  const options& options_;
  const text_split& text_;
  checkpoint_store& store_;
  rondel::timeline* recorder_;
  listener& heard_;
  rank_outcome own_;
  communicator gradients_;
  communicator metrics_;
  trainer<T, communicator> trainer_;
  outcome* out_ = nullptr;
  clock::time_point since_{};
  double trained_ = 0;
  rondel::work_total beside_{};
};

/// Every rank's outcome on every rank, for ranks that are processes. Collective.
template <rondel::communicator C>
[[nodiscard]] std::vector<rank_outcome> gather_outcomes(C& world, const rank_outcome& own) {
  struct fixed {
    std::array<std::size_t, 4> parts;
    rondel::memory_usage memory;
    std::uint64_t allocations_at_start;
    rondel::work_total work;
    std::array<std::size_t, 2> rows;  // of the two ledgers
  };
  static_assert(std::is_trivially_copyable_v<fixed> &&
                std::is_trivially_copyable_v<rondel::ledger_row>);
  const auto gather = [&]<class V>(const std::vector<V>& mine) {
    std::vector<V> all(mine.size() * static_cast<std::size_t>(world.size()));
    world.exchange_host(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
    return all;
  };
  std::vector<rondel::ledger_row> rows = own.gradient_traffic.rows();
  const auto& metric = own.metric_traffic.rows();
  const std::array sizes{rows.size(), metric.size()};
  rows.insert(rows.end(), metric.begin(), metric.end());
  const auto fixed_parts =
      gather(std::vector<fixed>{{{own.parameters, own.gradients, own.optimizer, own.activations},
                                 own.memory,
                                 own.allocations_at_start,
                                 own.work,
                                 sizes}});
  std::size_t most = 0;
  for (const fixed& f : fixed_parts) most = std::max(most, f.rows[0] + f.rows[1]);
  rows.resize(most);
  const auto all_rows = gather(rows);

  std::vector<rank_outcome> out;
  for (std::size_t r = 0; r < fixed_parts.size(); ++r) {
    const fixed& f = fixed_parts[r];
    rank_outcome& one = out.emplace_back();
    one.parameters = f.parts[0];
    one.gradients = f.parts[1];
    one.optimizer = f.parts[2];
    one.activations = f.parts[3];
    one.memory = f.memory;
    one.allocations_at_start = f.allocations_at_start;
    one.work = f.work;
    for (std::size_t i = 0; i < f.rows[0] + f.rows[1]; ++i) {
      const rondel::ledger_row& row = all_rows[r * most + i];
      auto& book = i < f.rows[0] ? one.gradient_traffic : one.metric_traffic;
      book.record(row.kind, row.peer, row.way, row.bytes);
    }
  }
  return out;
}

/// Runs the whole of `o` on `engine` in precision `T`, from where `store` says. Throws `diverged`
/// and `save_failed`. `recorder` is null, or what the engine records to; it is stopped but for the
/// traced steps. `heard` hears of the progress.
template <class T, class Engine>
[[nodiscard]] outcome run_session(const Engine& engine, const options& o, const text_split& text,
                                  checkpoint_store& store, rondel::timeline* recorder,
                                  listener& heard) {
  outcome out;
  if (recorder != nullptr) recorder->stop();
  const auto train = [&](auto& rank) {
    using world = std::remove_cvref_t<decltype(rank.world())>;
    rank_session<T, world> session(rank.world(), o, text, store, recorder, heard);
    return session.train(out);
  };
  if constexpr (rondel::engine_traits<Engine>::starts_ranks) {
    out.ranks = run(engine, train);
  } else {
    out.ranks = run(engine, [&](auto& rank) { return gather_outcomes(rank.world(), train(rank)); });
  }
  return out;
}

extern template outcome run_session<float>(const rondel::threads&, const options&,
                                           const text_split&, checkpoint_store&, rondel::timeline*,
                                           listener&);
extern template outcome run_session<float>(const rondel::simulated&, const options&,
                                           const text_split&, checkpoint_store&, rondel::timeline*,
                                           listener&);
extern template outcome run_session<double>(const rondel::threads&, const options&,
                                            const text_split&, checkpoint_store&, rondel::timeline*,
                                            listener&);
extern template outcome run_session<double>(const rondel::simulated&, const options&,
                                            const text_split&, checkpoint_store&, rondel::timeline*,
                                            listener&);

}  // namespace train_gpt
