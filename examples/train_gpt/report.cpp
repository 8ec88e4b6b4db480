#include "report.hpp"

#include <rondel/comm/blocks.hpp>
#include <rondel/core/text.hpp>
#include <rondel/trace/format.hpp>
#include <rondel/trace/ledger_table.hpp>
#include <rondel/trace/summary.hpp>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace train_gpt {
namespace {

using rondel::concat;
using rondel::format_bytes;

// printf into a string; messages here are short.
[[gnu::format(printf, 1, 2)]] std::string line(const char* format, ...) {
  char text[256];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return std::string(text) + "\n";
}

// 1234567 as "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

[[nodiscard]] std::string clock_time(double seconds) {
  char text[32];
  const auto whole = static_cast<long>(seconds + 0.5);
  std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

// `count` and what is counted: "1 file", "2 files".
[[nodiscard]] std::string counted(std::size_t count, const char* what, const char* plural = "s") {
  return concat(grouped(count), " ", what, count == 1 ? "" : plural);
}

// Each line of `text` behind a bar.
[[nodiscard]] std::string quoted(const std::string& text) {
  std::string out = "  | ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "  | ";
  }
  return out + "\n";
}

}  // namespace

std::string describe_setup(const options& o, const loaded_text& text, const text_split& split) {
  return concat(
      "text      ", counted(text.files, "file"), ", ", grouped(text.bytes.size()),
      " bytes; the last ", grouped(split.held_out.size()), " are held out\n",  //
      "model     ", counted(o.model.layers, "block"), ", ", counted(o.model.heads, "head"),
      ", width ", o.model.width, ", context ", o.model.context, ", ", o.precision, "\n",  //
      "training  ", counted(o.steps, "step"), " of ", counted(o.batch, "sequence"), " on ",
      counted(o.ranks, "rank"), ", ", counted(o.accumulation, "micro-batch", "es"), " each\n");
}

std::string describe_resume(const options& o, const checkpoint_store& store) {
  if (o.resume.empty()) return "";
  if (!store.found()) {
    return concat("resumed   from the start: there is no checkpoint in '", o.checkpoint, "' yet\n");
  }
  std::string out;
  for (const std::string& one : store.found()->damaged) out += concat("damaged   ", one, "\n");
  return concat(out, "resumed   from ", to_string(store.found()->id), " in '",
                store.source().path(), "'\n");
}

void progress_printer::begins(std::size_t parameters, std::size_t buckets, std::size_t first_step) {
  first_step_ = last_step_ = first_step;
  std::printf("          %s parameters, gradients reduced in %s\n\n", grouped(parameters).c_str(),
              counted(buckets, "bucket").c_str());
  std::fflush(stdout);
}

void progress_printer::step(const step_metrics& m, double seconds) {
  const std::size_t done = m.step + 1;
  if (options_.quiet || options_.engine == "sim") return;
  if (done != first_step_ + 1 && done % options_.log_every != 0 && done != options_.steps) return;
  const double per_step = static_cast<double>(options_.batch * options_.model.context);
  const double passed = seconds - last_seconds_;
  const double rate = passed > 0 ? static_cast<double>(done - last_step_) * per_step / passed : 0;
  const double left = seconds / static_cast<double>(done - first_step_) *
                      static_cast<double>(options_.steps - done);
  std::printf("step %5zu/%zu  loss %.4f  norm %6.3f  lr %.2e  %7.0f tokens/s  %s left\n", done,
              options_.steps, m.loss, m.gradient_norm, m.learning_rate, rate,
              clock_time(left).c_str());
  std::fflush(stdout);
  last_step_ = done;
  last_seconds_ = seconds;
}

void progress_printer::evaluated(std::size_t steps, double loss) {
  if (options_.quiet) return;
  std::printf("step %5zu/%zu  held-out loss %.4f\n", steps, options_.steps, loss);
  std::fflush(stdout);
}

void progress_printer::saved(std::size_t steps, const save_result& result, double seconds) {
  if (options_.quiet) return;
  std::printf("step %5zu/%zu  saved %s, %s in %s\n", steps, options_.steps,
              to_string(result.id).c_str(), format_bytes(result.bytes).c_str(),
              rondel::format_seconds(seconds).c_str());
  std::fflush(stdout);
}

void progress_printer::not_saved(const save_failed& failure) {
  std::fprintf(stderr, "train_gpt: %s; training goes on\n", one_line(failure.what()).c_str());
}

std::string describe_learning(const options& o, const outcome& r) {
  std::string out = "\nlearnt, in nats a byte\n";
  out += line("  %-12s %12s %12s", "", "train", "held out");
  out += line("  %-12s %12.4f %12.4f", "this model", r.train_loss, r.held_out_loss);
  out += line("  %-12s %12.4f %12.4f", "bigram model", r.bigram_train_loss, r.bigram_held_out_loss);
  out += line("  %-12s %12zu %12zu", "predictions", r.train_predictions, r.held_out_predictions);
  const double below = r.bigram_held_out_loss - r.held_out_loss;
  out += line("  The held-out loss is %.4f nats %s the bigram model's.", std::abs(below),
              below > 0 ? "below" : "NOT below but above");
  if (!r.sample.empty()) {
    out += "\nsample, ";
    if (o.temperature == 0 || o.top_k == 1) {
      out += "the likeliest byte each time\n";
    } else if (o.top_k == 0 || o.top_k >= o.model.vocabulary) {
      out += line("temperature %g, of all bytes", o.temperature);
    } else {
      out += line("temperature %g, of the %zu likeliest bytes", o.temperature, o.top_k);
    }
    out += quoted(printable(r.sample));
  }
  return out;
}

std::string describe_memory(const outcome& r) {
  std::string out = "\ndevice memory of each rank\n";
  out += line("  %4s %12s %12s %12s %12s %12s %12s %8s", "rank", "parameters", "gradients",
              "optimizer", "activations", "other", "peak", "allocs");
  for (std::size_t i = 0; i < r.ranks.size(); ++i) {
    const rank_outcome& one = r.ranks[i];
    const std::uint64_t parts = one.parameters + one.gradients + one.optimizer + one.activations;
    out +=
        line("  %4zu %12s %12s %12s %12s %12s %12s %8s", i, format_bytes(one.parameters).c_str(),
             format_bytes(one.gradients).c_str(), format_bytes(one.optimizer).c_str(),
             format_bytes(one.activations).c_str(), format_bytes(one.memory.peak - parts).c_str(),
             format_bytes(one.memory.peak).c_str(), grouped(one.memory.allocations).c_str());
  }
  std::uint64_t during = 0;
  for (const rank_outcome& one : r.ranks) {
    during += one.memory.allocations - one.allocations_at_start;
  }
  out += line("  Allocations during the steps: %s.", grouped(during).c_str());
  return out;
}

std::vector<std::uint64_t> expected_bytes_sent(const options& o, const outcome& r) {
  const std::size_t ranks = r.ranks.size();
  std::vector<std::uint64_t> out(ranks);
  for (const gradient_bucket& bucket :
       plan_buckets(r.parameters, r.element_bytes, o.training().bucket_bytes)) {
    const rondel::balanced_blocks blocks(bucket.count, static_cast<int>(ranks));
    for (std::size_t i = 0; i < ranks; ++i) {
      const std::size_t own = blocks.size(static_cast<int>(i));
      // Every block to its owner but its own, which then goes to all others.
      out[i] += ((bucket.count - own) + (ranks - 1) * own) * r.element_bytes * r.steps.size();
    }
  }
  return out;
}

std::string describe_traffic(const options& o, const outcome& r) {
  const std::uint64_t ranks = r.ranks.size();
  const std::uint64_t formula = 2 * (ranks - 1) * r.parameters * r.element_bytes;
  const std::vector<std::uint64_t> each = expected_bytes_sent(o, r);
  const std::size_t steps = r.steps.size();
  const bool even = each.front() == each.back();
  std::string out = "\nbytes sent to average the gradients\n";
  out += concat("  formula   2 (N-1)/N P bytes a rank, N = ", ranks,
                ", P = ", grouped(r.parameters), " of ", r.element_bytes, " B",
                even ? "" : "; N blocks of a bucket differ by at most one element", "\n");
  std::uint64_t sent = 0, reports = 0;
  for (std::size_t i = 0; i < ranks; ++i) {
    const std::uint64_t mine = r.ranks[i].gradient_traffic.bytes(rondel::direction::sent);
    sent += mine;
    reports += r.ranks[i].metric_traffic.bytes(rondel::direction::sent);
    out += concat("  rank ", i, "    ", grouped(mine), " in ", counted(steps, "step"), ", formula ",
                  grouped(each[i]), "\n");
  }
  const std::uint64_t expected = formula * steps;
  const std::uint64_t difference = sent > expected ? sent - expected : expected - sent;
  out += concat("  all ranks ", grouped(sent / std::max<std::size_t>(1, steps)),
                " a step, formula ", grouped(formula), "; ", grouped(sent), " in all, formula ",
                grouped(expected), ", difference ", grouped(difference), "\n");
  out += concat("  beside    ", grouped(reports), " to average the reported losses\n");
  return out;
}

std::string describe_work(const options& o, const outcome& r) {
  if (r.steps.empty()) return "";
  const auto steps = static_cast<double>(r.steps.size());
  const double tokens = steps * static_cast<double>(o.batch * o.model.context);
  rondel::work_total all;
  for (const rank_outcome& one : r.ranks) {
    all.launches += one.work.launches;
    all.flops += one.work.flops;
    all.bytes_read += one.work.bytes_read;
    all.bytes_written += one.work.bytes_written;
  }
  std::string out = "\nwork of all ranks\n";
  out += line("  %.0f launches, %.3f GFLOP, %.3f GB read and %.3f GB written a step",
              static_cast<double>(all.launches) / steps, all.flops / steps * 1e-9,
              static_cast<double>(all.bytes_read) / steps * 1e-9,
              static_cast<double>(all.bytes_written) / steps * 1e-9);
  if (o.engine == "sim") return out;
  out += line("  %.2f million tokens in %.1f s: %.0f tokens/s, %.1f GFLOP/s", tokens * 1e-6,
              r.seconds, tokens / r.seconds, all.flops / r.seconds * 1e-9);
  return out;
}

std::string describe_saves(const options& o, const outcome& r) {
  if (o.checkpoint.empty()) return "";
  std::string out =
      concat("\ncheckpoints in '", o.checkpoint, "'\n  ", counted(r.saves, "checkpoint"), " saved");
  if (r.saves > 0) {
    out += concat(" of ", format_bytes(r.save_bytes), ", ",
                  rondel::format_seconds(r.save_seconds / static_cast<double>(r.saves)), " each");
  }
  return out + concat("; ", r.failed_saves, " failed\n");
}

std::string describe_overlap(const rondel::timeline& recorded) {
  std::string out = "\ncommunication in the recorded steps, waiting for the other ranks included\n";
  if (const std::uint64_t dropped = recorded.dropped(); dropped > 0) {
    return out + concat("  The recorder had no room for ", counted(dropped, "span"),
                        ", so the files below are not complete and sums are left out.\n");
  }
  const auto lanes = recorded.lanes();
  for (const rondel::timeline_lane* lane : lanes) {
    if (lane->name() != "communication") continue;
    for (const rondel::timeline_lane* other : lanes) {
      if (other->rank() != lane->rank() || other->name() != "compute") continue;
      const double busy = rondel::summarize(*lane).busy;
      const double hidden = rondel::overlap(*lane, *other);
      out += line("  rank %d  %.2f ms, of which %.2f ms beside computation and %.2f ms exposed",
                  lane->rank(), busy * 1e3, hidden * 1e3, (busy - hidden) * 1e3);
    }
  }
  return out;
}

}  // namespace train_gpt
