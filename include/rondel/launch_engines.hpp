#pragma once
#include <rondel/core/error.hpp>
#include <rondel/launch.hpp>
#include <rondel/launcher.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {

/// What `launch` is told beside the environment.
struct launch_options {
  /// Name of the engine, or `"auto"` for the one that the environment asks for.
  std::string engine = "auto";
  /// Number of ranks; 0 for what the environment or the engine says.
  int ranks = 0;
};

/// What `launch` must know of an engine: a specialisation per engine with
/// - `name`, a string literal;
/// - `starts_ranks`: whether it starts its ranks itself, in this process;
/// - `serves(launcher)`: whether it joins the processes that this launcher starts.
template <class Engine>
struct engine_traits;

/// Threads need no launcher.
template <>
struct engine_traits<threads> {
  /// For `launch_options::engine`.
  static constexpr const char* name = "threads";
  /// They are started by `run`.
  static constexpr bool starts_ranks = true;
  /// None.
  [[nodiscard]] static constexpr bool serves(launcher) noexcept { return false; }
};

/// Simulated ranks need no launcher either, and are only taken by name.
template <>
struct engine_traits<simulated> {
  /// For `launch_options::engine`.
  static constexpr const char* name = "sim";
  /// They are started by `run`.
  static constexpr bool starts_ranks = true;
  /// None.
  [[nodiscard]] static constexpr bool serves(launcher) noexcept { return false; }
};

/// The engines that a program is built with, in the order of preference, and how they are set up.
template <class... Engines>
struct engines {
  /// The engines with their own defaults.
  engines() = default;
  /// The engines set up as given.
  explicit engines(Engines... set_up) requires(sizeof...(Engines) > 0)
      : all(std::move(set_up)...) {}

  /// How they are set up.
  std::tuple<Engines...> all{};
};

/// `engine_traits` as values.
struct engine_facts {
  /// `engine_traits::name`.
  std::string name;
  /// `engine_traits::starts_ranks`.
  bool starts_ranks = false;
  /// `engine_traits::serves`.
  bool (*serves)(launcher) = nullptr;
};

/// Which of `built` runs: by name, else the first that serves the launcher of this process, else,
/// where there is none, the first that starts its own ranks.
///
/// Throws `invalid_argument` if the name is not among them, no engine serves the launcher, or
/// `options.ranks` is not the number of processes that the launcher has started.
[[nodiscard]] inline std::size_t choose_engine(std::span<const engine_facts> built,
                                               const launch_environment& environment,
                                               const launch_options& options) {
  std::string names;
  for (const engine_facts& e : built) names += concat(names.empty() ? "" : ", ", e.name);
  const auto started_by = [&] {
    std::string out;
    for (const launcher l : environment.launchers) {
      out += concat(out.empty() ? "" : " and ", to_string(l));
    }
    return out;
  };
  const auto index_of = [&](const auto& wanted) {
    return static_cast<std::size_t>(std::find_if(built.begin(), built.end(), wanted) -
                                    built.begin());
  };
  std::size_t chosen = built.size();
  if (options.engine != "auto") {
    chosen = index_of([&](const engine_facts& e) { return e.name == options.engine; });
    if (chosen == built.size()) {
      throw invalid_argument(concat("engine '", options.engine,
                                    "' is not built into this program, which has: ", names));
    }
  } else if (!environment.launchers.empty()) {
    chosen = index_of([&](const engine_facts& e) {
      return std::any_of(environment.launchers.begin(), environment.launchers.end(), e.serves);
    });
    // One process alone needs nobody to join.
    if (chosen == built.size() && environment.size > 1) {
      throw invalid_argument(concat("this is process ", environment.rank, " of ", environment.size,
                                    " that ", started_by(),
                                    " has started, and no engine of this program joins them: it "
                                    "has ",
                                    names));
    }
  }
  if (chosen == built.size()) {
    chosen = index_of([](const engine_facts& e) { return e.starts_ranks; });
  }
  if (chosen == built.size()) chosen = 0;
  const engine_facts& engine = built[chosen];
  if (!engine.starts_ranks && options.ranks > 0 && options.ranks != environment.size) {
    throw invalid_argument(concat(
        options.ranks, " ranks of engine ", engine.name, " were asked for, and ", environment.size,
        environment.size == 1 ? " process is" : " processes are", " running",
        environment.launchers.empty() ? ": start it by mpirun, srun or torchrun" : ""));
  }
  return chosen;
}

namespace detail {

template <class... Engines>
[[nodiscard]] std::vector<engine_facts> facts_of(const engines<Engines...>&) {
  return {engine_facts{engine_traits<Engines>::name, engine_traits<Engines>::starts_ranks,
                       &engine_traits<Engines>::serves}...};
}

// Runs on one engine; what this process's ranks return, in their order.
template <class Engine, class Program>
auto launch_on(Engine engine, int ranks, Program& program) {
  if constexpr (engine_traits<Engine>::starts_ranks) {
    if (ranks > 0) engine.ranks = ranks;
    return run(engine, program);
  } else {
    using returned = decltype(run(engine, program));
    if constexpr (std::is_void_v<returned>) {
      run(engine, program);
    } else {
      std::vector<returned> out;
      out.push_back(run(engine, program));
      return out;
    }
  }
}

}  // namespace detail

/// Runs `program(rank)` on the engine that the environment asks for, or that `options` name: under
/// mpirun, srun or torchrun as one of their processes, else on ranks of its own.
///
/// `program` takes any `rank_context&`, and returns the same type on all engines. Returns what the
/// ranks of this process return, in their order: of threads all, of a process one; or nothing.
/// Throws what `detect_launcher`, `choose_engine` and `run` throw.
template <class... Engines, class Program>
auto launch(const engines<Engines...>& built, const launch_options& options, Program&& program) {
  static_assert(sizeof...(Engines) > 0, "launch needs at least one engine");
  using first = std::tuple_element_t<0, std::tuple<Engines...>>;
  using result = decltype(detail::launch_on(std::declval<first>(), 0, program));
  const auto facts = detail::facts_of(built);
  const std::size_t chosen = choose_engine(facts, detect_launcher(), options);
  const auto on = [&]<std::size_t... Index>(std::index_sequence<Index...>)->result {
    if constexpr (std::is_void_v<result>) {
      ((Index == chosen
            ? (void)detail::launch_on(std::get<Index>(built.all), options.ranks, program)
            : void()),
       ...);
    } else {
      result out;
      ((Index == chosen
            ? (void)(out = detail::launch_on(std::get<Index>(built.all), options.ranks, program))
            : void()),
       ...);
      return out;
    }
  };
  return on(std::index_sequence_for<Engines...>{});
}

}  // namespace rondel
