#pragma once
// Everything of the component rondel::mpi: processes of an MPI job as ranks.
#include <rondel/comm/mpi.hpp>
#include <rondel/comm/rank_listener.hpp>
#include <rondel/launch.hpp>
#include <rondel/launch_engines.hpp>
#include <rondel/launcher.hpp>
#include <rondel/trace/flight_calls.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

namespace rondel {

/// Ranks that are the processes of an MPI job, each with a `host_device` of its own.
struct mpi {
  /// Whose processes are the ranks. Duplicated, never freed.
  MPI_Comm communicator = MPI_COMM_WORLD;
  /// Mode of the streams that the device makes. Worker streams need `MPI_THREAD_MULTIPLE`.
  stream_mode streams = stream_mode::immediate;
  /// Bytes that may be live on the device.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// How long a call may wait for its peers.
  seconds timeout{600};
  /// The most bytes of one MPI message, the same on all ranks.
  std::size_t message_limit = std::size_t{1} << 30;
  /// Where all streams of this rank record what they run; null for nowhere. Must outlive the run.
  timeline* recorder = nullptr;
  /// How many of this rank's last calls are kept for the words of a failure; 0 for none.
  std::size_t flight_records = 32;
};

/// Processes of an MPI job join each other.
template <>
struct engine_traits<mpi> {
  /// For `launch_options::engine`.
  static constexpr const char* name = "mpi";
  /// The launcher has.
  static constexpr bool starts_ranks = false;
  /// Those that start MPI jobs.
  [[nodiscard]] static constexpr bool serves(launcher l) noexcept {
    return l == launcher::open_mpi || l == launcher::mpich || l == launcher::slurm;
  }
};

namespace detail {

using mpi_rank_context = rank_context<mpi_communicator<host_device>>;

template <class Program>
auto run_mpi(const mpi& engine, Program& program) {
  using returned = std::invoke_result_t<Program&, mpi_rank_context&>;
  using result_type = std::conditional_t<std::is_void_v<returned>, nothing, returned>;

  const mpi_environment environment;
  const auto world = make_mpi_world(engine.communicator, {.timeout = engine.timeout,
                                                          .message_limit = engine.message_limit,
                                                          .flight_records = engine.flight_records});
  rank_listener<mpi_world> listener(*world, world->rank());
  host_device device({.streams = engine.streams,
                      .memory_limit = engine.memory_limit,
                      .rank = world->rank(),
                      .recorder = engine.recorder,
                      .listener = &listener});
  std::optional<mpi_rank_context> context;
  context.emplace(device, mpi_communicator<host_device>(world, device, engine.timeout));
  std::optional<result_type> result;
  std::exception_ptr failure;
  run_rank(*world, world->rank(), program, context, result, failure);
  if (failure == nullptr) {
    try {
      world->close(engine.timeout);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure != nullptr) {
    rethrow_with_flights(failure, [&] { return last_calls(world->flights(), world->rank()); });
  }
  if constexpr (!std::is_void_v<returned>) return std::move(*result);
}

}  // namespace detail

/// Runs `program(rank)` once in this process, as one rank of an MPI job, and returns what it
/// returns. Collective over `engine.communicator`. `rank` is a `rank_context&`.
///
/// Initialises MPI unless that was done, and then finalises it at the end: keep an
/// `mpi_environment` in `main` to run more than once. Ends with a meeting of all ranks, under the
/// same timeout. When this rank throws, the others are woken (see `communicator`) and its
/// exception comes out; when another one does, `peer_failed`. To the errors of the engine it
/// appends this rank's last calls. After a failure MPI is not finalised, because that might
/// wait for ever: let the process end with a code that is not zero, and the launcher ends the job.
template <class Program>
requires std::invocable<Program&, detail::mpi_rank_context&>
auto run(const mpi& engine, Program&& program) { return detail::run_mpi(engine, program); }

}  // namespace rondel
