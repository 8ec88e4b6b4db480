#include <rondel/checkpoint/posix_disk.hpp>
#include <rondel/core/file.hpp>
#include <rondel/launch.hpp>
#include <rondel/launcher.hpp>
#include <rondel/trace/perfetto.hpp>
#include <rondel/trace/svg.hpp>
#include <rondel/trace/timeline.hpp>

#include "checkpoint.hpp"
#include "options.hpp"
#include "report.hpp"
#include "session.hpp"
#include "text.hpp"
#if defined(TRAIN_GPT_MPI)
#include "session_mpi.hpp"
#endif

#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

using namespace train_gpt;

// The project's own sources and documentation.
[[nodiscard]] std::vector<std::string> default_text() {
  const std::filesystem::path root = RONDEL_TRAIN_GPT_DEFAULT_TEXT;
  std::vector<std::string> out;
  for (const char* part : {"README.md", "docs", "examples", "include", "tests"}) {
    std::error_code unknown;
    if (std::filesystem::exists(root / part, unknown)) out.push_back((root / part).string());
  }
  if (out.empty()) {
    throw usage_error("--text: the project's sources are not at '" + root.string() +
                      "' any more; name files to learn from");
  }
  return out;
}

// Throws if anything printed so far was lost.
void check_printed() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw std::runtime_error("cannot write to standard output");
  }
}

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  check_printed();
}

// One line on standard error, whatever the message quotes.
void complain(const std::string& message) {
  std::fprintf(stderr, "train_gpt: %s\n", one_line(message).c_str());
}

[[nodiscard]] outcome run(const options& o, const text_split& text, checkpoint_store& store,
                          rondel::timeline* recorder) {
  progress_printer heard(o);
  const auto ranks = static_cast<int>(o.ranks);
  const bool single = o.precision == "f32";
  if (o.engine == "sim") {
    rondel::simulated engine{.ranks = ranks};
    if (o.memory_limit > 0) engine.memory_limit = o.memory_bytes();
    return single ? run_session<float>(engine, o, text, store, nullptr, heard)
                  : run_session<double>(engine, o, text, store, nullptr, heard);
  }
#if defined(TRAIN_GPT_MPI)
  if (o.engine == "mpi") {
    return single ? run_session_mpi<float>(o, text, store, recorder, heard)
                  : run_session_mpi<double>(o, text, store, recorder, heard);
  }
#endif
  rondel::threads engine{.ranks = ranks, .timeout = {o.timeout}, .recorder = recorder};
  if (o.streams == "worker") engine.streams = rondel::stream_mode::worker;
  if (o.memory_limit > 0) engine.memory_limit = o.memory_bytes();
  return single ? run_session<float>(engine, o, text, store, recorder, heard)
                : run_session<double>(engine, o, text, store, recorder, heard);
}

[[nodiscard]] std::vector<rondel::engine_facts> built_engines() {
  std::vector<rondel::engine_facts> out = own_engines();
#if defined(TRAIN_GPT_MPI)
  out.push_back(mpi_facts());
#endif
  return out;
}

// Where ranks are processes, the first one speaks for all.
void train(const options& o) {
  const loaded_text text = load_text(o.text.empty() ? default_text() : o.text);
  const text_split split = split_text(text.bytes, o.holdout, o.model.context);
  rondel::posix_disk disk;
  checkpoint_store store(disk, o, split);
  check_output(o);
  if (o.process == 0) print(describe_setup(o, text, split) + describe_resume(o, store));

  const bool dry = o.engine == "sim";
  std::optional<rondel::timeline> recorder;
  if (o.trace_steps > 0 && !dry) recorder.emplace();
  const outcome result = run(o, split, store, recorder ? &*recorder : nullptr);
  if (o.process > 0) return;

  if (!dry) print(describe_learning(o, result));
  print(describe_memory(result) + describe_traffic(o, result) + describe_work(o, result) +
        describe_saves(o, result));
  if (recorder) {
    print(describe_overlap(*recorder));
    rondel::write_text_file(o.timeline_path(), rondel::to_svg(*recorder));
    rondel::write_text_file(o.trace_path(), rondel::to_perfetto_json(*recorder));
    print("  " + o.timeline_path() + " (any browser)\n  " + o.trace_path() +
          " (ui.perfetto.dev)\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  rondel::launch_environment started;
  try {
    started = rondel::detect_launcher();
    if (const auto chosen = parse_options(argc, argv, built_engines(), started)) train(*chosen);
    check_printed();
    return 0;
  } catch (const usage_error& e) {
    if (started.rank == 0) complain(e.what());  // all processes were told the same
    return 2;
  } catch (const std::exception& e) {
    complain(e.what());
    return 1;
  }
}
