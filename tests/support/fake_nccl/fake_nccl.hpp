#pragma once
// A stand-in for libnccl whose ranks are threads of this process: it defines the entry points that
// rondel calls, against the real nccl.h. Operations run as kernels of the fake CUDA runtime on the
// given streams. It is as late as NCCL's rules allow, and reports who breaks them.
#include <cstdint>
#include <string>
#include <vector>

#include <nccl.h>

namespace fake_nccl {

/// What to do to a rank, counted in the communicator it is given for.
enum class fault {
  none,
  call_error,   ///< The call returns an error, once.
  async_error,  ///< The operation never ends, and the communicator reports an error.
  stall,        ///< The operation never ends.
  init_stall,   ///< The rank's initialisation never ends.
  abort_stall,  ///< An abort does not return until `release`.
  dirty_error,  ///< The call succeeds and leaves an error in the CUDA runtime.
};

struct settings {
  /// Of delays, polls and the order of reductions.
  unsigned seed = 1;
  /// What ncclGetVersion says.
  int version = NCCL_VERSION_CODE;
  /// A call is in progress for up to so many polls.
  int polls = 4;
  /// Microseconds that an operation may be late.
  int lateness = 50;
  /// How long a destroy waits for the other ranks before it is reported, in seconds.
  double destroy_patience = 0.2;
  /// The fault, the rank of the first communicator that has it, and which of its operations.
  fault kind = fault::none;
  int rank = 0;
  std::uint64_t operation = 0;
  ncclResult_t result = ncclSystemError;
};

/// Forgets everything that was made, and starts anew. No call may be under way.
void reset(const settings& s = {});
/// Lets stalled aborts go on.
void release();
/// Every breach of NCCL's rules so far, in words.
[[nodiscard]] std::vector<std::string> misuse();
/// Every communicator that was neither destroyed nor aborted.
[[nodiscard]] std::vector<std::string> leaks();
/// How many groups the calling thread has open.
[[nodiscard]] int open_groups() noexcept;
/// How many groups of operations streams have run, of all ranks.
[[nodiscard]] int runs() noexcept;
/// How often the entry point of this name was called.
[[nodiscard]] int calls(const std::string& name);

}  // namespace fake_nccl
