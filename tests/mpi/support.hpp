#pragma once
#include <rondel/mpi.hpp>

#include <atomic>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include <doctest/doctest.h>

namespace test {

inline int mpi_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}
inline int mpi_ranks() {
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  return ranks;
}

// Runs `f(rank)` on the processes of the job and reports what comes out as a failed check.
template <class F>
void on_mpi(const rondel::mpi& engine, F&& f) {
  const bool worker = engine.streams == rondel::stream_mode::worker;
  CAPTURE(worker);
  try {
    rondel::run(engine, std::forward<F>(f));
  } catch (const std::exception& e) {
    FAIL_CHECK(std::string(e.what()));
  }
}

// Runs `f(communicator, stream)` on immediate and on worker streams; the communicator is what
// `wrap` makes of the world.
template <class Wrap, class F>
void on_mpi_worlds(rondel::mpi engine, const Wrap& wrap, const F& f) {
  for (const auto mode : {rondel::stream_mode::immediate, rondel::stream_mode::worker}) {
    engine.streams = mode;
    on_mpi(engine, [&](auto& rank) {
      auto comm = wrap(rank.world().duplicate());
      auto stream = rank.device().make_stream("test");
      f(comm, stream);
      stream.synchronize();
    });
  }
}

// A counter that all processes of this machine share.
class shared_counter {
 public:
  shared_counter() {
    void* at = nullptr;
    const MPI_Aint size = mpi_rank() == 0 ? sizeof(std::atomic<int>) : 0;
    MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &at, &window_);
    MPI_Aint whole = 0;
    int unit = 0;
    MPI_Win_shared_query(window_, 0, &whole, &unit, &at);
    if (mpi_rank() == 0) new (at) std::atomic<int>(0);
    MPI_Barrier(MPI_COMM_WORLD);
    counter_ = static_cast<std::atomic<int>*>(at);
  }
  shared_counter(const shared_counter&) = delete;
  shared_counter& operator=(const shared_counter&) = delete;
  ~shared_counter() { MPI_Win_free(&window_); }

  [[nodiscard]] std::atomic<int>& get() noexcept { return *counter_; }

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  std::atomic<int>* counter_ = nullptr;
};

}  // namespace test
