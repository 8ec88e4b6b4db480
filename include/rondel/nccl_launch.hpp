#pragma once
#include <rondel/comm/nccl.hpp>
#include <rondel/comm/rank_listener.hpp>
#include <rondel/device/cuda.hpp>
#include <rondel/launch.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {

/// Ranks that are threads of this process, each with a GPU, joined by NCCL.
struct nccl {
  /// Number of ranks.
  int ranks = 1;
  /// The CUDA device of each rank; if empty, rank `i` has device `i`. Several ranks on one GPU need
  /// NCCL 2.30, with NCCL_MULTI_RANK_GPU_ENABLE=1 and NCCL_NVLS_ENABLE=0 in the environment.
  std::vector<int> devices{};
  /// Bytes that may be live on each device object.
  std::uint64_t memory_limit = std::numeric_limits<std::uint64_t>::max();
  /// How long a call may wait for its peers, joining included.
  seconds timeout{600};
  /// How many of each rank's last calls are kept for the words of a failure; 0 for none.
  std::size_t flight_records = 32;
};

namespace detail {

using nccl_context = rank_context<nccl_communicator<cuda_device>>;

// One rank of a run.
struct nccl_rank {
  std::optional<rank_listener<thread_world>> listener;
  std::optional<cuda_device> device;
  std::shared_ptr<nccl_world> world;
  std::optional<nccl_context> context;
};

// Joins the world, on the rank's thread. Whether it could.
inline bool start_rank(const nccl& engine, const nccl_id& id,
                       const std::shared_ptr<nccl_shared>& shared, int rank, nccl_rank& out,
                       std::exception_ptr& failure) {
  try {
    const auto i = static_cast<std::size_t>(rank);
    out.device.emplace(cuda_options{.ordinal = engine.devices.empty() ? rank : engine.devices[i],
                                    .memory_limit = engine.memory_limit,
                                    .rank = rank,
                                    .listener = &out.listener.emplace(shared->world(), rank)});
    nccl_communicator<cuda_device> world(
        *out.device, id,
        {.rank = rank, .size = engine.ranks, .timeout = engine.timeout, .channel = shared});
    out.world = nccl_access::world(world);
    out.context.emplace(*out.device, std::move(world));
    return true;
  } catch (const std::exception& e) {
    failure = std::current_exception();
    shared->world().fail(rank, e.what());
  } catch (...) {
    failure = std::current_exception();
    shared->world().fail(rank, "an exception that is no std::exception");
  }
  return false;
}

// Ends what all ranks have, once their programs have: together and in good order, or, if one
// failed, all at once.
inline void end_ranks(std::vector<nccl_rank>& ranks, nccl_shared& shared) {
  for (nccl_rank& one : ranks) one.context.reset();
  std::vector<nccl_world*> worlds;
  std::vector<std::shared_ptr<nccl_entry>> entries;
  for (const nccl_rank& one : ranks) {
    if (one.world == nullptr) continue;
    worlds.push_back(one.world.get());
    const auto& own = one.world->entries();
    entries.insert(entries.end(), own.begin(), own.end());
  }
  if (!shared.world().failed()) {
    nccl_close_all<cuda_device>(worlds, entries);
  } else {
    std::vector<std::jthread> aborting;  // an abort may wait for the others'
    for (nccl_world* const w : worlds) aborting.emplace_back([w] { w->abort_all(); });
  }
}

}  // namespace detail

/// Runs `program(rank)` on every rank of `engine`, each on a thread of its own, and waits for all.
/// `rank` is a `rank_context` of `nccl_communicator<cuda_device>`. As `run` on `threads` otherwise.
/// Communicators end when all programs have, and what is queued on them then is waited for. Throws
/// `invalid_argument` for ranks and devices that do not go together.
template <class Program>
requires std::invocable<Program&, detail::nccl_context&>
auto run(const nccl& engine, Program&& program) {
  using returned = std::invoke_result_t<Program&, detail::nccl_context&>;
  using result_type = std::conditional_t<std::is_void_v<returned>, detail::nothing, returned>;
  const auto size = static_cast<std::size_t>(engine.ranks < 0 ? 0 : engine.ranks);
  if (!engine.devices.empty() && engine.devices.size() != size) {
    throw invalid_argument(
        concat("nccl: ", engine.devices.size(), " devices for ", engine.ranks, " ranks"));
  }
  const auto shared = std::dynamic_pointer_cast<detail::nccl_shared>(
      make_thread_channel(engine.ranks, engine.flight_records));
  const nccl_id id = make_nccl_id();
  std::vector<std::exception_ptr> failures(size);
  std::vector<std::optional<result_type>> results(size);
  std::vector<detail::nccl_rank> ranks(size);
  {
    std::vector<std::jthread> running;
    running.reserve(size);
    for (int r = 0; r < engine.ranks; ++r) {
      const auto i = static_cast<std::size_t>(r);
      try {
        running.emplace_back([&, r, i] {
          if (!detail::start_rank(engine, id, shared, r, ranks[i], failures[i])) return;
          detail::run_rank(shared->world(), r, program, ranks[i].context, results[i], failures[i]);
        });
      } catch (const std::exception& e) {
        shared->world().fail(r, concat("its thread could not be started: ", e.what()));
        throw;
      }
    }
  }
  std::exception_ptr at_the_end;
  try {
    detail::end_ranks(ranks, *shared);
  } catch (...) {
    at_the_end = std::current_exception();
  }
  for (auto& one : ranks) one.world.reset();
  for (const auto& failure : failures) {
    if (failure != nullptr) at_the_end = nullptr;  // that one came first
  }
  if (at_the_end != nullptr) {
    detail::rethrow_with_flights(at_the_end, [&] { return to_table(shared->world().flights()); });
  }
  return detail::results_of<returned>(shared->world(), failures, results);
}

}  // namespace rondel
