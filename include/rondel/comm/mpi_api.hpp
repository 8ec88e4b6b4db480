#pragma once
// The bindings of MPI-2 would come with mpi.h, and with them most of its compile time.
#if !defined(OMPI_SKIP_MPICXX)
#define OMPI_SKIP_MPICXX 1
#endif
#if !defined(MPICH_SKIP_MPICXX)
#define MPICH_SKIP_MPICXX 1
#endif
#include <rondel/core/error.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <mpi.h>

namespace rondel {
namespace detail {

[[nodiscard]] inline std::string mpi_error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) {
    return concat("MPI error ", code);
  }
  return {text.data(), static_cast<std::size_t>(length)};
}

// Throws unless `code` is success; `rank` is who called `what`.
inline void check_mpi(int code, const char* what, int rank) {
  if (code != MPI_SUCCESS) {
    throw communication_error(concat("rank ", rank, ": ", what, ": ", mpi_error_text(code)), rank);
  }
}

[[nodiscard]] inline const char* mpi_level_name(int level) noexcept {
  return level == MPI_THREAD_MULTIPLE     ? "MPI_THREAD_MULTIPLE"
         : level == MPI_THREAD_SERIALIZED ? "MPI_THREAD_SERIALIZED"
         : level == MPI_THREAD_FUNNELED   ? "MPI_THREAD_FUNNELED"
                                          : "MPI_THREAD_SINGLE";
}

[[nodiscard]] inline bool mpi_is_initialized() noexcept {
  int yes = 0;
  return MPI_Initialized(&yes) == MPI_SUCCESS && yes != 0;
}
[[nodiscard]] inline bool mpi_is_finalized() noexcept {
  int yes = 0;
  return MPI_Finalized(&yes) == MPI_SUCCESS && yes != 0;
}

// Whether a world of this process has failed, after which MPI_Finalize may wait for ever.
[[nodiscard]] inline std::atomic<bool>& mpi_world_has_failed() noexcept {
  static std::atomic<bool> failed{false};
  return failed;
}

// A stretch of code that may call MPI, unless MPI is shut for good: once a message of a failed
// world could not be ended, its memory may be freed, and any call of MPI might go on with that
// message.
class mpi_section {
 public:
  mpi_section() noexcept {
    inside().fetch_add(1, std::memory_order_seq_cst);
    open_ = !is_shut().load(std::memory_order_seq_cst);
    if (!open_) inside().fetch_sub(1, std::memory_order_seq_cst);
  }
  mpi_section(const mpi_section&) = delete;
  mpi_section& operator=(const mpi_section&) = delete;
  ~mpi_section() {
    if (open_) inside().fetch_sub(1, std::memory_order_seq_cst);
  }
  [[nodiscard]] explicit operator bool() const noexcept { return open_; }

  // Returns when no thread is in a section, after which none gets into one. Not from within one.
  static void shut() noexcept {
    is_shut().store(true, std::memory_order_seq_cst);
    while (inside().load(std::memory_order_seq_cst) != 0) sync::yield();
  }

 private:
  [[nodiscard]] static std::atomic<int>& inside() noexcept {
    static std::atomic<int> count{0};
    return count;
  }
  [[nodiscard]] static std::atomic<bool>& is_shut() noexcept {
    static std::atomic<bool> shut{false};
    return shut;
  }
  bool open_;
};

// Throws unless MPI may be called.
inline void check_mpi_open(const mpi_section& section, int rank) {
  if (!section) {
    throw communication_error(
        concat("rank ", rank,
               ": MPI cannot be used any more in this process, because a message of "
               "a world that failed could not be ended"),
        rank);
  }
}

// Keeps memory that MPI may yet write to or read from, as long as the process lives.
inline void keep_for_mpi(std::shared_ptr<void> memory) {
  static std::mutex mutex;
  // Never destroyed: MPI may use what it holds until the process has ended.
  static auto* const kept = new std::vector<std::shared_ptr<void>>;
  const std::lock_guard lock(mutex);
  kept->push_back(std::move(memory));
}

}  // namespace detail

/// How a world over MPI is set up. The message limit must be the same on all ranks.
struct mpi_options {
  /// How long the ranks may take to come.
  seconds timeout{600};
  /// The most bytes of one MPI message; longer ones are cut. From 64 to 2^31 - 1.
  std::size_t message_limit = std::size_t{1} << 30;
  /// How many of this rank's last calls are kept for the words of a failure; 0 for none.
  std::size_t flight_records = 32;
};

/// MPI, for as long as this object lives: initialised unless somebody has, and finalised only if
/// this object has initialised it. After the failure of a world, or when an exception destroys it,
/// it is not finalised, because that might wait for ever for a rank that does not come; the process
/// then must end, with a code that is not zero.
///
/// Where it initialises MPI it sets `MPI_ERRORS_RETURN` on `MPI_COMM_WORLD` and `MPI_COMM_SELF`:
/// MPICH raises there what goes wrong with any message.
///
/// MPI cannot be initialised twice in a process, so a program that needs it more than once keeps
/// one object for the whole of `main`. Throws `invalid_argument` if MPI was finalised before.
class mpi_environment {
 public:
  /// Asks for the thread level `level` if it initialises MPI. What is given may be less.
  explicit mpi_environment(int level = MPI_THREAD_MULTIPLE) {
    if (detail::mpi_is_finalized()) {
      throw invalid_argument(
          "MPI was finalised before and cannot be initialised again in this process: keep one "
          "mpi_environment for the whole program");
    }
    if (detail::mpi_is_initialized()) return;
    int given = MPI_THREAD_SINGLE;
    detail::check_mpi(MPI_Init_thread(nullptr, nullptr, level, &given), "MPI_Init_thread", -1);
    owner_ = true;
    for (const MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF}) {
      detail::check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler",
                        -1);
    }
  }
  mpi_environment(const mpi_environment&) = delete;
  mpi_environment& operator=(const mpi_environment&) = delete;
  ~mpi_environment() {
    const bool unwinds = std::uncaught_exceptions() > exceptions_;
    if (owner_ && !unwinds && !detail::mpi_is_finalized() &&
        !detail::mpi_world_has_failed().load()) {
      MPI_Finalize();
    }
  }

  /// Whether this object has initialised MPI.
  [[nodiscard]] bool owner() const noexcept { return owner_; }

  /// The thread level that the MPI library gives.
  [[nodiscard]] static int thread_level() {
    int level = MPI_THREAD_SINGLE;
    detail::check_mpi(MPI_Query_thread(&level), "MPI_Query_thread", -1);
    return level;
  }

 private:
  bool owner_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace rondel
