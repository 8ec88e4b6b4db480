#pragma once
#include <rondel/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace rondel {

/// What may have started this process as one of several.
enum class launcher : std::uint8_t {
  /// PyTorch's torchrun, or whoever sets its variables.
  torchrun,
  /// Open MPI's mpirun.
  open_mpi,
  /// MPICH's mpiexec (hydra), and others that speak PMI.
  mpich,
  /// Slurm's srun.
  slurm,
};

/// Name of `l`, as a string literal.
[[nodiscard]] constexpr const char* to_string(launcher l) noexcept {
  constexpr std::array<const char*, 4> names = {"torchrun", "Open MPI's mpirun", "MPICH's mpiexec",
                                                "srun"};
  return names[static_cast<std::size_t>(l)];
}

/// Which process this is among those that a launcher has started.
struct launch_environment {
  /// Who says so, all of one mind; empty if this process was started by itself.
  std::vector<launcher> launchers;
  /// This process's rank.
  int rank = 0;
  /// How many processes there are.
  int size = 1;
  /// Its rank among those of this machine, -1 if that is not known.
  int local_rank = 0;
  /// How many are on this machine, 0 if that is not known.
  int local_size = 1;
};

namespace detail {

// One launcher's variables. Local ones may be missing unless `all_needed`.
struct launcher_variables {
  launcher kind;
  const char *rank, *size, *local_rank, *local_size;
  bool all_needed;
};

inline constexpr std::array<launcher_variables, 4> launcher_table = {{
    {launcher::torchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", true},
    {launcher::open_mpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", true},
    {launcher::mpich, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", false},
    {launcher::slurm, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE",
     false},
}};

// The whole number in the variable `name`, at least `least`.
[[nodiscard]] inline int launch_number(const char* name, std::string_view text, int least) {
  std::int64_t value = 0;
  bool good = !text.empty() && text.size() <= 10;
  for (const char c : text) {
    good = good && c >= '0' && c <= '9';
    if (good) value = value * 10 + (c - '0');
  }
  if (!good || value < least || value > std::numeric_limits<int>::max()) {
    throw invalid_argument(concat("the environment variable ", name, " is '", text,
                                  "', a whole number from ", least, " to ",
                                  std::numeric_limits<int>::max(), " expected"));
  }
  return static_cast<int>(value);
}

// What one launcher says; no launchers if it says nothing.
template <class Lookup>
[[nodiscard]] launch_environment read_launcher(const launcher_variables& v, const Lookup& get) {
  launch_environment out;
  const char* const rank = get(v.rank);
  const char* const size = get(v.size);
  // The shell of an allocation has Slurm's variables too, but is no step of it.
  if (v.kind == launcher::slurm && get("SLURM_STEP_ID") == nullptr) return out;
  if (rank == nullptr && size == nullptr) return out;
  const char* const local_rank = get(v.local_rank);
  const char* const local_size = get(v.local_size);
  const auto need = [&](const char* name, const char* value) {
    if (value != nullptr) return;
    const bool has_rank = rank != nullptr;
    throw invalid_argument(concat("the environment variable ", has_rank ? v.rank : v.size,
                                  " is set, as by ", to_string(v.kind), ", but ", name, " is not"));
  };
  need(v.rank, rank);
  need(v.size, size);
  if (v.all_needed) {
    need(v.local_rank, local_rank);
    need(v.local_size, local_size);
  }
  out.launchers = {v.kind};
  out.rank = launch_number(v.rank, rank, 0);
  out.size = launch_number(v.size, size, 1);
  out.local_rank = local_rank == nullptr ? -1 : launch_number(v.local_rank, local_rank, 0);
  out.local_size = local_size == nullptr ? 0 : launch_number(v.local_size, local_size, 1);
  const auto below = [](const char* name, int value, const char* bound, int limit) {
    if (value < limit) return;
    throw invalid_argument(concat("the environment variable ", name, " is ", value,
                                  ", less than the ", limit, " of ", bound, " expected"));
  };
  below(v.rank, out.rank, v.size, out.size);
  if (out.local_rank >= 0 && out.local_size > 0) {
    below(v.local_rank, out.local_rank, v.local_size, out.local_size);
  }
  // Slurm says how many tasks a node may have, which may be more than there are.
  if (v.all_needed && out.local_size > out.size) {
    throw invalid_argument(concat("the environment variable ", v.local_size, " is ", out.local_size,
                                  ", more than the ", out.size, " of ", v.size));
  }
  return out;
}

}  // namespace detail

/// Finds out from the environment who has started this process: torchrun, Open MPI's mpirun,
/// MPICH's mpiexec, srun, or nobody. `get(name)` returns the value of an environment variable, or
/// null.
///
/// srun may start one of the others on each node; then it says another number of processes, and the
/// other one holds. Throws `invalid_argument`, naming the variables, if a value is no number or out
/// of its range, one is missing, or two launchers disagree.
template <class Lookup>
[[nodiscard]] launch_environment detect_launcher(const Lookup& get) {
  launch_environment out;
  const detail::launcher_variables* from = nullptr;
  for (const detail::launcher_variables& v : detail::launcher_table) {
    launch_environment one = detail::read_launcher(v, get);
    if (one.launchers.empty()) continue;
    if (from == nullptr) {
      out = std::move(one);
      from = &v;
      continue;
    }
    if (v.kind == launcher::slurm && one.size != out.size) continue;
    if (one.rank != out.rank || one.size != out.size) {
      throw invalid_argument(concat("two launchers disagree: ", from->rank, " is ", out.rank,
                                    " of ", out.size, " (", from->size, "), and ", v.rank, " is ",
                                    one.rank, " of ", one.size, " (", v.size, ")"));
    }
    out.launchers.push_back(v.kind);
    if (out.local_rank < 0) out.local_rank = one.local_rank;
    if (out.local_size == 0) out.local_size = one.local_size;
  }
  return out;
}

/// The same for the environment of this process.
[[nodiscard]] inline launch_environment detect_launcher() {
  return detect_launcher([](const char* name) { return std::getenv(name); });
}

/// Which of the machine's `devices` this process uses: the one of its local rank. Throws
/// `invalid_argument` if there is none, or the local rank is not known and there are several.
[[nodiscard]] inline int device_of(const launch_environment& environment, int devices) {
  const int local = environment.local_rank < 0 && devices == 1 ? 0 : environment.local_rank;
  if (local < 0) {
    throw invalid_argument(concat("rank ", environment.rank, " has no local rank to choose one of ",
                                  devices, " devices by"));
  }
  if (local >= devices) {
    throw invalid_argument(concat("local rank ", local, " of rank ", environment.rank,
                                  " is beyond the ", devices, devices == 1 ? " device" : " devices",
                                  " of this machine"));
  }
  return local;
}

}  // namespace rondel
