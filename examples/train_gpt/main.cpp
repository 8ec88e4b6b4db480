#include <rondel/core/file.hpp>
#include <rondel/launch.hpp>
#include <rondel/trace/perfetto.hpp>
#include <rondel/trace/svg.hpp>
#include <rondel/trace/timeline.hpp>

#include "options.hpp"
#include "report.hpp"
#include "session.hpp"
#include "text.hpp"

#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace train_gpt;

// The project's own sources and documentation.
[[nodiscard]] std::vector<std::string> default_text() {
  const std::filesystem::path root = RONDEL_TRAIN_GPT_DEFAULT_TEXT;
  std::vector<std::string> out;
  for (const char* part : {"README.md", "docs", "examples", "include", "tests"}) {
    if (std::filesystem::exists(root / part)) out.push_back((root / part).string());
  }
  if (out.empty()) {
    throw usage_error("--text: the project's sources are not at '" + root.string() +
                      "' any more; name files to learn from");
  }
  return out;
}

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

[[nodiscard]] outcome run(const options& o, const text_split& text, rondel::timeline* recorder) {
  progress_printer heard(o);
  const auto ranks = static_cast<int>(o.ranks);
  const bool single = o.precision == "f32";
  if (o.engine == "sim") {
    rondel::simulated engine{.ranks = ranks};
    if (o.memory_limit > 0) engine.memory_limit = o.memory_bytes();
    return single ? run_session<float>(engine, o, text, nullptr, heard)
                  : run_session<double>(engine, o, text, nullptr, heard);
  }
  rondel::threads engine{.ranks = ranks, .recorder = recorder};
  if (o.streams == "worker") engine.streams = rondel::stream_mode::worker;
  if (o.memory_limit > 0) engine.memory_limit = o.memory_bytes();
  return single ? run_session<float>(engine, o, text, recorder, heard)
                : run_session<double>(engine, o, text, recorder, heard);
}

void train(const options& o) {
  const loaded_text text = load_text(o.text.empty() ? default_text() : o.text);
  const text_split split = split_text(text.bytes, o.holdout, o.model.context);
  print(describe_setup(o, text, split));

  const bool dry = o.engine == "sim";
  std::optional<rondel::timeline> recorder;
  if (o.trace_steps > 0 && !dry) recorder.emplace();
  const outcome result = run(o, split, recorder ? &*recorder : nullptr);

  if (!dry) print(describe_learning(o, result));
  print(describe_memory(result) + describe_traffic(o, result) + describe_work(o, result));
  if (recorder) {
    print(describe_overlap(*recorder));
    const std::string picture = o.out + "/timeline.svg";
    const std::string trace = o.out + "/trace.json";
    rondel::write_text_file(picture, rondel::to_svg(*recorder));
    rondel::write_text_file(trace, rondel::to_perfetto_json(*recorder));
    print("  " + picture + " (any browser)\n  " + trace + " (ui.perfetto.dev)\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const auto chosen = parse_options(argc, argv)) train(*chosen);
    return 0;
  } catch (const usage_error& e) {
    std::fprintf(stderr, "train_gpt: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "train_gpt: %s\n", e.what());
    return 1;
  }
}
