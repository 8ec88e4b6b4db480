#pragma once
#include <rondel/comm/mpi_api.hpp>
#include <rondel/comm/patience.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/sync.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

namespace rondel::detail {

// A duplicate of the user's communicator and the numbers of groups that were given on it. It is
// kept as an attribute of the user's communicator, so that later worlds on that one use it again
// and no destructor has to free it, which would be a hidden collective.
struct mpi_context {
  MPI_Comm comm = MPI_COMM_NULL;
  std::uint64_t next_number = 1;  // of a group; 0 is the control lane's
  bool in_use = false;
  bool clean = false;  // nothing is under way on it
};

// What hangs at the user's communicator.
struct mpi_contexts {
  std::shared_ptr<mpi_context> current;
};

// MPI calls it when the user frees the communicator, which is collective as the freeing here is.
// MPI_COMM_WORLD ends only with MPI itself, when nothing may be freed any more.
inline int delete_mpi_contexts(MPI_Comm comm, int, void* value, void*) noexcept {
  const std::unique_ptr<mpi_contexts> contexts(static_cast<mpi_contexts*>(value));
  const auto& current = contexts->current;
  if (comm != MPI_COMM_WORLD && current != nullptr && current->clean && !current->in_use) {
    MPI_Comm_free(&current->comm);
  }
  return MPI_SUCCESS;
}

[[nodiscard]] inline mpi_contexts& contexts_of(MPI_Comm user) {
  static std::mutex mutex;
  static int key = MPI_KEYVAL_INVALID;
  const std::lock_guard lock(mutex);
  if (key == MPI_KEYVAL_INVALID) {
    check_mpi(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, &delete_mpi_contexts, &key, nullptr),
              "MPI_Comm_create_keyval", -1);
  }
  void* value = nullptr;
  int found = 0;
  check_mpi(MPI_Comm_get_attr(user, key, &value, &found), "MPI_Comm_get_attr", -1);
  if (found == 0) {
    auto made = std::make_unique<mpi_contexts>();
    check_mpi(MPI_Comm_set_attr(user, key, made.get()), "MPI_Comm_set_attr", -1);
    value = made.release();
  }
  return *static_cast<mpi_contexts*>(value);
}

// What the ranks of a new world must agree on, and the requests that find out. It outlives a
// failure, because collectives of MPI cannot be taken back.
struct mpi_agreement {
  std::array<std::int64_t, 4> mine{}, least{};
  std::shared_ptr<mpi_context> made = std::make_shared<mpi_context>();
  MPI_Request request = MPI_REQUEST_NULL;

  void finish(const std::shared_ptr<mpi_agreement>& self, patience& left, int rank, int ranks) {
    for (int done = 0;;) {
      check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test", rank);
      if (done != 0) return;
      left.start();
      if (patience::clock::now() > left.end) {
        keep_for_mpi(self);
        mpi_world_has_failed().store(true);
        throw timed_out(concat("rank ", rank, " in making a world of ", ranks, " ranks waited ",
                               left.timeout.value, " s: not all ranks have come"),
                        rank);
      }
      sync::yield();
    }
  }
};

// A context on `user`, with a first number of groups that no rank has used, and the message limit
// if it is the same on all ranks. Collective over `user`.
[[nodiscard]] inline std::shared_ptr<mpi_context> take_mpi_context(MPI_Comm user, int rank,
                                                                   int ranks, patience& left,
                                                                   std::size_t message_limit) {
  mpi_contexts& contexts = contexts_of(user);
  const auto& current = contexts.current;
  const bool usable = current != nullptr && current->clean && !current->in_use;
  const auto agreed = std::make_shared<mpi_agreement>();
  const auto limit = static_cast<std::int64_t>(message_limit);
  agreed->mine = {usable ? 1 : 0, usable ? -static_cast<std::int64_t>(current->next_number) : 0,
                  limit, -limit};
  check_mpi(MPI_Iallreduce(agreed->mine.data(), agreed->least.data(), 4, MPI_INT64_T, MPI_MIN, user,
                           &agreed->request),
            "MPI_Iallreduce", rank);
  agreed->finish(agreed, left, rank, ranks);
  if (agreed->least[2] != -agreed->least[3]) {
    throw invalid_argument(concat("the ranks' message limits differ: rank ", rank, " has ", limit,
                                  " B, the smallest is ", agreed->least[2], " B and the largest ",
                                  -agreed->least[3], " B"));
  }
  if (agreed->least[0] == 1) {
    current->next_number = static_cast<std::uint64_t>(-agreed->least[1]);
    current->in_use = true;
    current->clean = false;
    return current;
  }
  check_mpi(MPI_Comm_idup(user, &agreed->made->comm, &agreed->request), "MPI_Comm_idup", rank);
  agreed->finish(agreed, left, rank, ranks);
  check_mpi(MPI_Comm_set_errhandler(agreed->made->comm, MPI_ERRORS_RETURN),
            "MPI_Comm_set_errhandler", rank);
  agreed->made->in_use = true;
  contexts.current = agreed->made;
  return agreed->made;
}

}  // namespace rondel::detail
