#pragma once
#include <rondel/mpi.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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

// A counter that all processes share, in a file that is gone before anybody uses it: the processes
// of one machine, also where that stands for several hosts.
class shared_counter {
 public:
  shared_counter() {
    std::array<char, 64> name{};
    int file = -1;
    if (mpi_rank() == 0) {
      std::snprintf(name.data(), name.size(), "/tmp/rondel-counter-XXXXXX");
      file = mkstemp(name.data());
      if (file < 0 || ftruncate(file, sizeof(std::atomic<int>)) != 0) std::abort();
    }
    MPI_Bcast(name.data(), static_cast<int>(name.size()), MPI_CHAR, 0, MPI_COMM_WORLD);
    if (file < 0) file = open(name.data(), O_RDWR | O_CLOEXEC);
    void* const at =
        mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) std::abort();  // NOLINT
    counter_ = static_cast<std::atomic<int>*>(at);
    if (mpi_rank() == 0) new (at) std::atomic<int>(0);
    MPI_Barrier(MPI_COMM_WORLD);
    if (mpi_rank() == 0) unlink(name.data());
  }
  shared_counter(const shared_counter&) = delete;
  shared_counter& operator=(const shared_counter&) = delete;
  ~shared_counter() { munmap(counter_, sizeof(std::atomic<int>)); }

  [[nodiscard]] std::atomic<int>& get() noexcept { return *counter_; }

 private:
  std::atomic<int>* counter_ = nullptr;
};

}  // namespace test
