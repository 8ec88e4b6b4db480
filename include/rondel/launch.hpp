#pragma once
#include <rondel/comm/fault_plan.hpp>
#include <rondel/comm/rank_listener.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/device/host.hpp>
#include <rondel/device/sim.hpp>
#include <rondel/trace/flight_report.hpp>
#include <rondel/trace/timeline.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace rondel {

/// Ranks that are threads of this process, each with a `host_device` of its own.
struct threads {
  /// Number of ranks.
  int ranks = 1;
  /// Mode of the streams that the devices make.
  stream_mode streams = stream_mode::immediate;
  /// Bytes that may be live on each device.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// How long a call may wait for its peers.
  seconds timeout{600};
  /// Where all streams record what they run; null for nowhere. Must outlive the run.
  timeline* recorder = nullptr;
  /// How many of each rank's last calls are kept for the words of a failure; 0 for none.
  std::size_t flight_records = 32;
};

/// Ranks on `sim_device`: the program runs, its kernels do not; memory, work and messages are
/// counted.
struct simulated {
  /// Number of ranks.
  int ranks = 1;
  /// Bytes that may be live on each device.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// How long a call may wait for its peers.
  seconds timeout{600};
  /// How many of each rank's last calls are kept for the words of a failure; 0 for none.
  std::size_t flight_records = 32;
};

/// What a rank's program is given: its device and its world.
template <communicator C>
class rank_context {
 public:
  /// Device type.
  using device_type = typename C::device_type;
  /// Communicator type.
  using communicator_type = C;

  /// `device` must outlive it.
  rank_context(device_type& device, C world) : device_(&device), world_(std::move(world)) {}

  /// This rank.
  [[nodiscard]] int rank() const noexcept { return world_.rank(); }
  /// Number of ranks.
  [[nodiscard]] int size() const noexcept { return world_.size(); }
  /// The rank's device.
  [[nodiscard]] device_type& device() noexcept { return *device_; }
  /// The communicator of all ranks. To wrap one, wrap its `duplicate()`.
  [[nodiscard]] C& world() noexcept { return world_; }

 private:
  device_type* device_;
  C world_;
};

namespace detail {

[[nodiscard]] inline host_device make_device(const threads& t, int rank,
                                             stream_listener& listener) {
  return host_device({.streams = t.streams,
                      .memory_limit = t.memory_limit,
                      .rank = rank,
                      .recorder = t.recorder,
                      .listener = &listener});
}
[[nodiscard]] inline sim_device make_device(const simulated& s, int rank, stream_listener&) {
  return sim_device({.memory_limit = s.memory_limit, .rank = rank});
}

struct nothing {};

// One rank's thread, whatever it ends with.
template <class World, class Program, class Slot, class Result>
void run_rank(World& world, int rank, Program& program, Slot& context,
              std::optional<Result>& result, std::exception_ptr& failure) {
  try {
    if constexpr (std::is_same_v<Result, nothing>) {
      program(*context);
      result.emplace();
    } else {
      result.emplace(program(*context));
    }
    context.reset();
  } catch (const injected_death&) {
    failure = std::current_exception();  // its seat stays taken: nobody is told
  } catch (const std::exception& e) {
    failure = std::current_exception();
    world.fail(rank, e.what());
  } catch (...) {
    failure = std::current_exception();
    world.fail(rank, "an exception that is no std::exception");
  }
}

// Rethrows `failure`; what the engine itself has thrown gets `flights()`, a text, appended.
template <class Flights>
[[noreturn]] void rethrow_with_flights(const std::exception_ptr& failure, const Flights& known) {
  std::string flights;
  const auto words = [&](const error& e) { return concat(e.what(), "\n", flights); };
  try {
    std::rethrow_exception(failure);
  } catch (const communication_error& e) {
    flights = known();
    if (flights.empty()) throw;
    if (typeid(e) == typeid(peer_failed)) {
      const auto& failed = static_cast<const peer_failed&>(e);
      throw peer_failed(words(e), e.rank(), failed.failed_rank(), e.where());
    }
    if (typeid(e) == typeid(timed_out)) throw timed_out(words(e), e.rank(), e.where());
    if (typeid(e) == typeid(mismatched_operation)) {
      throw mismatched_operation(words(e), e.rank(), e.where());
    }
    throw;
  }
}

// What a run of all ranks ends with, once all have: the failure of the rank that failed first, or
// what they returned.
template <class Returned, class Result>
auto results_of(thread_world& world, const std::vector<std::exception_ptr>& failures,
                std::vector<std::optional<Result>>& results) {
  const auto flights = [&] { return to_table(world.flights()); };
  const int first = world.first_failed();
  if (first >= 0 && failures[static_cast<std::size_t>(first)] != nullptr) {
    rethrow_with_flights(failures[static_cast<std::size_t>(first)], flights);
  }
  for (const auto& failure : failures) {
    if (failure != nullptr) rethrow_with_flights(failure, flights);
  }
  if constexpr (!std::is_void_v<Returned>) {
    std::vector<Returned> out;
    out.reserve(results.size());
    for (auto& result : results) out.push_back(std::move(*result));
    return out;
  }
}

// Something that says how many threads are ranks, and makes their devices; by a friend
// `make_device` where it is no engine of this file.
template <class E>
concept rank_engine = requires(const E& engine, stream_listener& listener) {
  { engine.ranks } -> std::convertible_to<int>;
  { engine.timeout } -> std::convertible_to<seconds>;
  make_device(engine, 0, listener);
};

template <class Engine>
using device_made_by =
    decltype(make_device(std::declval<const Engine&>(), 0, std::declval<stream_listener&>()));

template <class Engine>
using context_of = rank_context<thread_communicator<device_made_by<Engine>>>;

template <class Engine, class Program>
auto run_threads(const Engine& engine, Program& program) {
  using device_type = device_made_by<Engine>;
  using context_type = context_of<Engine>;
  using returned = std::invoke_result_t<Program&, context_type&>;
  using result_type = std::conditional_t<std::is_void_v<returned>, nothing, returned>;

  const auto group = make_thread_group(engine.ranks, engine.flight_records);
  const auto ranks = static_cast<std::size_t>(engine.ranks);
  std::vector<std::exception_ptr> failures(ranks);
  std::vector<rank_listener<thread_world>> listeners;
  std::vector<device_type> devices;
  std::vector<std::optional<context_type>> contexts(ranks);
  std::vector<std::optional<result_type>> results(ranks);
  listeners.reserve(ranks);
  devices.reserve(ranks);
  for (int r = 0; r < engine.ranks; ++r) {
    listeners.emplace_back(group->world(), r);
    devices.push_back(make_device(engine, r, listeners.back()));
    contexts[static_cast<std::size_t>(r)].emplace(
        devices.back(), thread_communicator<device_type>(group, r, devices.back(), engine.timeout));
  }
  {
    std::vector<std::jthread> running;
    running.reserve(ranks);
    for (int r = 0; r < engine.ranks; ++r) {
      const auto i = static_cast<std::size_t>(r);
      try {
        running.emplace_back([&, r, i] {
          run_rank(group->world(), r, program, contexts[i], results[i], failures[i]);
        });
      } catch (const std::exception& e) {
        group->world().fail(r, concat("its thread could not be started: ", e.what()));
        throw;
      }
    }
  }
  return results_of<returned>(group->world(), failures, results);
}

}  // namespace detail

/// Runs `program(rank)` on every rank of `engine`, which is `threads`, `simulated` or
/// `cuda_threads`, each on a thread of its own, and waits for all. `rank` is a `rank_context&`.
///
/// Returns what the ranks return, in their order, or nothing if that is void. When ranks throw,
/// the others are woken (see `communicator`) and, once all have ended, the exception of the
/// rank that failed first comes out. To `peer_failed`, `timed_out` and `mismatched_operation` it
/// then appends where the ranks part first, and a table of their last calls. Throws
/// `invalid_argument` if `engine.ranks` is less than 1.
template <detail::rank_engine Engine, class Program>
requires std::invocable < Program&, detail::context_of<Engine>
& > auto run(const Engine& engine, Program&& program) {
  return detail::run_threads(engine, program);
}

}  // namespace rondel
