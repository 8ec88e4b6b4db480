#pragma once
#include <rondel/comm/mpi_api.hpp>
#include <rondel/comm/mpi_collectives.hpp>
#include <rondel/comm/mpi_context.hpp>
#include <rondel/comm/mpi_group.hpp>
#include <rondel/comm/mpi_world.hpp>
#include <rondel/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rondel {
namespace detail {

// Tells `world` how many of its ranks share this machine, by a hash of its name.
inline void find_neighbours(const std::shared_ptr<mpi_world>& world, seconds timeout) {
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  check_mpi(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name", world->rank());
  std::uint64_t mine = 0xcbf29ce484222325U;
  for (int i = 0; i < length; ++i) {
    mine = (mine ^ static_cast<unsigned char>(name[static_cast<std::size_t>(i)])) * 0x100000001b3U;
  }
  std::vector<int> all(static_cast<std::size_t>(world->ranks()));
  for (std::size_t r = 0; r < all.size(); ++r) all[r] = static_cast<int>(r);
  mpi_group everybody(world, world->base(), std::move(all));
  mpi_transfer transfer(*world);
  rank_call call{world->rank(), true, {.kind = operation_kind::exchange_host}, 0, {timeout}};
  everybody.run(call, [&] {
    take_back_on_failure(*world, transfer, [&] {
      const mpi_run run(everybody, call, transfer);
      const std::byte* const names = mpi_gather_whole(run, &mine, sizeof mine);
      int here = 0;
      for (int r = 0; r < world->ranks(); ++r) {
        here +=
            std::memcmp(names + static_cast<std::size_t>(r) * sizeof mine, &mine, sizeof mine) == 0
                ? 1
                : 0;
      }
      world->set_neighbours(here);
    });
  });
}

}  // namespace detail

/// A world of the processes of `comm`, each of which then makes one `mpi_communicator` from it.
///
/// Collective over `comm`, an intracommunicator, and polled with `options.timeout`. Duplicates
/// `comm`, whose messages and error handler stay the user's. The duplicate stays with `comm` as an
/// attribute: a world that was closed (`close(timeout)` of the result, collective, when all its
/// communicators are gone) leaves it to the next one on `comm`, others use it up. Throws
/// `invalid_argument` if MPI is not running, `comm` is none that can be used, or the options are
/// not the same on all ranks or out of range; `timed_out`.
[[nodiscard]] inline std::shared_ptr<detail::mpi_world> make_mpi_world(
    MPI_Comm comm = MPI_COMM_WORLD, const mpi_options& options = {}) {
  const auto refuse = [](const std::string& why) {
    throw invalid_argument("a world over MPI: " + why);
  };
  if (!detail::mpi_is_initialized()) refuse("MPI is not initialised: keep an mpi_environment");
  if (detail::mpi_is_finalized()) refuse("MPI was finalised before");
  detail::check_mpi_open(detail::mpi_section(), -1);
  if (comm == MPI_COMM_NULL) refuse("the communicator is MPI_COMM_NULL");
  if (options.message_limit < 64 || options.message_limit > 0x7fff'ffffU) {
    refuse(concat("message_limit is ", options.message_limit, " B, 64 to 2147483647 expected"));
  }
  int between = 0;
  detail::check_mpi(MPI_Comm_test_inter(comm, &between), "MPI_Comm_test_inter", -1);
  if (between != 0) refuse("an intercommunicator has two groups of ranks, one expected");
  const int level = mpi_environment::thread_level();
  int on_main = 0;
  detail::check_mpi(MPI_Is_thread_main(&on_main), "MPI_Is_thread_main", -1);
  if (level < MPI_THREAD_SERIALIZED && on_main == 0) {
    refuse(concat("this thread is not the one that initialised MPI, with ",
                  detail::mpi_level_name(level)));
  }
  int rank = 0;
  int ranks = 0;
  detail::check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank", -1);
  detail::check_mpi(MPI_Comm_size(comm, &ranks), "MPI_Comm_size", rank);
  detail::patience left{options.timeout};
  auto world = std::make_shared<detail::mpi_world>(
      detail::take_mpi_context(comm, rank, ranks, left, options.message_limit), rank, ranks, level,
      options);
  detail::find_neighbours(world, options.timeout);
  world->open(world->base(), world->base() + 1);
  return world;
}

}  // namespace rondel
