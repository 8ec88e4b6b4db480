#include "options.hpp"

#include <rondel/core/text.hpp>

#include "layout.hpp"
#include "text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

namespace train_gpt {
namespace {

using rondel::concat;

// A number as a reader writes it.
[[nodiscard]] std::string plain(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// Checks of option values: the empty string, or what is wrong. Whole numbers lose their leading
// zeros, which the parser would take for the mark of an octal number.
[[nodiscard]] auto whole_number(std::uint64_t least, std::uint64_t most) {
  return [=](std::string& text) -> std::string {
    const std::string given = text;
    text.erase(0, std::min(text.find_first_not_of('0'), text.size() - (text.empty() ? 0 : 1)));
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= least &&
        value <= most) {
      return {};
    }
    return concat("'", given, "' is not a whole number from ", least, " to ", most);
  };
}

enum class bound { open, closed };

[[nodiscard]] auto real_number(double least, bound below, double most, bound above) {
  return [=](const std::string& text) -> std::string {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool fits = below == bound::closed ? value >= least : value > least;
    if (error == std::errc() && end == text.data() + text.size() && fits &&
        (above == bound::closed ? value <= most : value < most)) {
      return {};
    }
    return concat("'", text, "' is not a number in ", below == bound::closed ? "[" : "(",
                  plain(least), ", ", plain(most), above == bound::closed ? "]" : ")");
  };
}

[[nodiscard]] auto one_of(std::string_view first, std::string_view second) {
  return [=](const std::string& text) -> std::string {
    if (text == first || text == second) return {};
    return concat("'", text, "' is neither ", first, " nor ", second);
  };
}

[[nodiscard]] std::string known_engine(const std::string& text) {
  for (const char* name : {"auto", "threads", "mpi", "sim"}) {
    if (text == name) return {};
  }
  return concat("'", text, "' is none of auto, threads, mpi and sim");
}

// Declares the options on one parser.
class declaration {
 public:
  explicit declaration(CLI::App& app) : app_(&app) {}

  void group(const char* name) { group_ = name; }

  template <class T>
  void add(const char* name, T& value, const char* unit, auto&& check, const char* help) {
    CLI::Option* option = app_->add_option(name, value, help);
    option->type_name(unit)->group(group_);
    // May change the text, unlike a check.
    option->transform(CLI::Validator(std::forward<decltype(check)>(check), ""));
    if constexpr (std::is_floating_point_v<T>) {
      option->default_str(plain(value));
    } else if constexpr (requires { value.has_value(); }) {
      // The help text says what holds if it is not given.
    } else {
      option->capture_default_str();
    }
  }

 private:
  CLI::App* app_;
  std::string group_;
};

constexpr std::uint64_t unlimited = std::numeric_limits<std::uint32_t>::max();
constexpr double large = 1e9;

void declare(CLI::App& app, options& o) {
  declaration all(app);
  const auto anything = [](const std::string&) { return std::string(); };
  const auto positive = real_number(0, bound::open, large, bound::closed);
  const auto not_negative = real_number(0, bound::closed, large, bound::closed);
  const auto share = real_number(0, bound::closed, 1, bound::open);

  all.group("Text");
  app.add_option("--text", o.text,
                 "Files to learn from, byte by byte; of a folder, all text files below it. "
                 "Default: the sources and documentation of this project")
      ->type_name("PATH")
      ->group("Text");
  all.add("--holdout", o.holdout, "SHARE", real_number(0, bound::open, 1, bound::open),
          "Share of the text, at its end, that is not learnt but predicted at the end");

  all.group("Model");
  all.add("--layers", o.model.layers, "N", whole_number(1, 1000), "Blocks");
  all.add("--heads", o.model.heads, "N", whole_number(1, 1000),
          "Attention heads of a block; divides the width");
  all.add("--width", o.model.width, "N", whole_number(1, 65536), "Width of the residual stream");
  all.add("--context", o.model.context, "BYTES", whole_number(1, 65536),
          "Bytes that a prediction looks back on");
  all.add("--precision", o.precision, "f32|f64", one_of("f32", "f64"), "Arithmetic");

  all.group("Training");
  all.add("--steps", o.steps, "N", whole_number(1, unlimited), "Optimizer steps");
  all.add("--batch", o.batch, "SEQUENCES", whole_number(1, 1000000),
          "Sequences per step over all ranks; divisible by ranks times accumulation");
  all.add("--accumulation", o.accumulation, "N", whole_number(1, 1000000),
          "Micro-batches per step; gradients are reduced in the last one");
  all.add("--lr", o.learning_rate, "RATE", positive, "Learning rate after the warm-up");
  all.add("--min-lr", o.minimum_rate, "RATE", not_negative,
          "Learning rate after the last step, approached along a cosine. Default: a tenth of --lr");
  all.add("--warmup", o.warmup, "STEPS", whole_number(0, unlimited),
          "Steps in which the learning rate rises. Default: a twentieth of --steps");
  all.add("--weight-decay", o.adamw.weight_decay, "RATE", not_negative,
          "Decoupled weight decay of matrices");
  all.add("--beta1", o.adamw.beta1, "SHARE", share, "Decay of AdamW's first moment");
  all.add("--beta2", o.adamw.beta2, "SHARE", share, "Decay of AdamW's second moment");
  all.add("--eps", o.adamw.epsilon, "X", positive, "Added to the root of AdamW's second moment");
  all.add("--clip", o.adamw.clip, "NORM", not_negative,
          "The most that the gradient's norm may be; 0 for no limit");
  all.add("--seed", o.seed, "N", whole_number(0, unlimited),
          "Seed of initial parameters, batches and sampling");

  all.group("Ranks");
  all.add("--ranks", o.ranks, "N", whole_number(1, 1024),
          "Data-parallel ranks; of MPI as many as there are processes");
  all.add("--engine", o.engine, "NAME", known_engine,
          "threads of this process; processes of an mpi job; or sim, a dry run that counts memory, "
          "work and messages. auto is mpi under mpirun or srun, else threads");
  all.add("--timeout", o.timeout, "SECONDS", positive, "How long a rank waits for another one");
  all.add("--streams", o.streams, "immediate|worker", one_of("immediate", "worker"),
          "Streams run work inside the call; or each on a thread of its own, so that "
          "communication overlaps computation");
  all.add("--bucket", o.bucket, "MIB", real_number(0.001, bound::closed, 1e6, bound::closed),
          "Largest piece of the gradient that is reduced at once");
  all.add("--memory-limit", o.memory_limit, "MIB", not_negative,
          "Device memory of a rank; 0 for no limit");

  all.group("Checkpoints");
  all.add("--checkpoint", o.checkpoint, "FOLDER", anything,
          "Where the state of the training is saved, after the last step and as --save-every says");
  all.add("--save-every", o.save_every, "STEPS", whole_number(0, unlimited),
          "Steps between checkpoints; 0 for the end only");
  all.add("--keep", o.keep, "N", whole_number(1, 1000000), "Checkpoints that are kept");
  all.add("--on-save-error", o.on_save_error, "stop|continue", one_of("stop", "continue"),
          "What a checkpoint that cannot be written does to the training");
  all.add("--resume", o.resume, "latest|FOLDER", anything,
          "Go on from the newest complete checkpoint: latest is that in --checkpoint, or the start "
          "if there is none yet");

  all.group("Output");
  all.add("--log-every", o.log_every, "STEPS", whole_number(1, unlimited),
          "Steps between progress lines");
  app.add_flag("--quiet", o.quiet, "Print no progress lines")->group("Output");
  all.add("--eval-every", o.eval_every, "STEPS", whole_number(0, unlimited),
          "Steps between evaluations on the held-out text; 0 for the end only");
  all.add("--eval-windows", o.eval_windows, "N", whole_number(1, unlimited),
          "The most windows of a context's length that an evaluation reads");
  all.add("--sample-length", o.sample_length, "BYTES", whole_number(0, 1000000),
          "Bytes to generate at the end");
  all.add("--temperature", o.temperature, "X", not_negative,
          "Divides the logits before sampling; 0 takes the likeliest byte");
  all.add("--top-k", o.top_k, "N", whole_number(0, 256),
          "How many of the likeliest bytes are sampled from; 0 for all");
  all.add("--prompt", o.prompt, "TEXT", anything, "What the generated text goes on from");
  all.add("--out", o.out, "FOLDER", anything, "Where timeline.svg and trace.json go");
  all.add("--trace-steps", o.trace_steps, "STEPS", whole_number(0, 1000),
          "Steps that they show; 0 for neither file");
}

// Whether the file can be written to; leaves the disk as it was.
[[nodiscard]] bool writable(const std::string& path) {
  std::error_code error;
  const bool there = std::filesystem::exists(std::filesystem::symlink_status(path, error));
  std::FILE* file = std::fopen(path.c_str(), "ab");
  if (file == nullptr) return false;
  std::fclose(file);
  if (!there) std::filesystem::remove(path, error);
  return true;
}

}  // namespace

training_config options::training() const {
  return {.model = model,
          .batch = batch,
          .accumulation = accumulation,
          .adamw = adamw,
          .schedule = {.peak = learning_rate,
                       .minimum = minimum_rate.value_or(learning_rate / 10),
                       .warmup = warmup.value_or(steps / 20),
                       .steps = steps},
          .seed = seed,
          .bucket_bytes = static_cast<std::size_t>(bucket * 1024 * 1024)};
}

void check_options(const options& o) {
  if (o.model.width % o.model.heads != 0) {
    throw usage_error(concat("--width: ", o.model.width, " is not divisible by ", o.model.heads,
                             " heads (--heads)"));
  }
  if (o.batch % (o.ranks * o.accumulation) != 0) {
    throw usage_error(concat("--batch: ", o.batch, " sequences are not divisible by ", o.ranks,
                             " ranks (--ranks) times ", o.accumulation,
                             " micro-batches (--accumulation)"));
  }
  if (o.minimum_rate && *o.minimum_rate > o.learning_rate) {
    throw usage_error(concat("--min-lr: ", plain(*o.minimum_rate), " is more than the rate ",
                             plain(o.learning_rate), " that it comes down from (--lr)"));
  }
  if (o.warmup && *o.warmup > o.steps) {
    throw usage_error(
        concat("--warmup: ", *o.warmup, " steps are more than all ", o.steps, " steps (--steps)"));
  }
  const bool single = o.precision == "f32";
  const double normal =
      single ? std::numeric_limits<float>::min() : std::numeric_limits<double>::min();
  if (o.adamw.epsilon < normal) {
    throw usage_error(concat("--eps: ", plain(o.adamw.epsilon), " is less than ", plain(normal),
                             ", the smallest normal number of ", o.precision, " (--precision)"));
  }
  if (o.save_every > 0 && o.checkpoint.empty()) {
    throw usage_error("--save-every: there is no folder to save to (--checkpoint)");
  }
  if (o.resume == "latest" && o.checkpoint.empty()) {
    throw usage_error("--resume: latest is the newest in --checkpoint, which is not given");
  }
  if (o.engine == "sim" && (!o.checkpoint.empty() || !o.resume.empty())) {
    throw usage_error(concat(o.checkpoint.empty() ? "--resume" : "--checkpoint",
                             ": a dry run has no state (--engine sim)"));
  }
  // In floating point, because the product may not fit an integer.
  const auto rows = static_cast<double>(o.batch / o.ranks / o.accumulation * o.model.context);
  const auto layers = static_cast<double>(o.model.layers);
  const auto width = static_cast<double>(o.model.width);
  const double scores = static_cast<double>(o.model.heads * o.model.context);
  const double activations = rows * layers * (17 * width + scores);
  const double bytes = 8 * (activations + 48 * layers * width * width);
  if (bytes > 0x1p46) {
    throw usage_error(concat("--width: the model needs about ", plain(bytes / 0x1p40),
                             " TiB on each rank, more than any machine has"));
  }
}

void check_output(const options& o) {
  if (o.trace_steps == 0 || o.engine == "sim" || o.process > 0) return;
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> made;  // the innermost folder first
  for (fs::path p = o.out; !p.empty() && !fs::exists(fs::symlink_status(p, error));
       p = p.parent_path()) {
    made.push_back(p);
  }
  fs::create_directories(o.out, error);
  std::error_code unknown;
  if (fs::is_directory(o.out, unknown) && writable(o.timeline_path()) && writable(o.trace_path())) {
    return;
  }
  for (const fs::path& p : made) fs::remove(p, error);
  throw usage_error(concat("--out: the folder '", o.out, "' cannot be written to"));
}

std::vector<rondel::engine_facts> own_engines() {
  return rondel::detail::facts_of(rondel::engines<rondel::threads, rondel::simulated>{});
}

std::optional<options> parse_options(int argc, const char* const* argv,
                                     const std::vector<rondel::engine_facts>& built,
                                     const rondel::launch_environment& started) {
  options out;
  CLI::App app(
      "Trains a small GPT on text, byte by byte, data-parallel over ranks, and shows what each "
      "rank computed, held and sent.",
      "train_gpt");
  declare(app, out);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    throw usage_error(e.what());
  }
  const bool ranks_given = app.count("--ranks") > 0;
  try {
    const auto& engine = built[rondel::choose_engine(
        built, started,
        {.engine = out.engine, .ranks = ranks_given ? static_cast<int>(out.ranks) : 0})];
    out.engine = engine.name;
    if (!engine.starts_ranks) {
      out.ranks = static_cast<std::size_t>(started.size);
      out.process = static_cast<std::size_t>(started.rank);
    }
  } catch (const rondel::invalid_argument& e) {
    throw usage_error(concat("--engine: ", e.what()));
  }
  check_options(out);
  return out;
}

}  // namespace train_gpt
