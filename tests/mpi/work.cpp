// A rank that makes calls of all kinds until something goes wrong or the steps are done, for
// fault_test.py, which signals it meanwhile.
// Usage: mpi_work <timeout in seconds> <steps> immediate|worker
// Prints "ready <rank> <pid>", and at the end "done <rank>", or "failed <rank> <kind> <seconds that
// the last call took> <its words>".
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/mpi.hpp>

#include "host_data.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

using clock = std::chrono::steady_clock;

template <class C>
void step(C& comm, rondel::host_stream& stream, std::mt19937& random) {
  const std::size_t ranks = static_cast<std::size_t>(comm.size());
  const std::size_t block = std::array<std::size_t, 3>{3, 3000, 100'000}[random() % 3];
  const auto kind = random() % 8;
  const int root = static_cast<int>(random() % ranks);
  test::uploaded<float> whole(comm.device(), stream, std::vector<float>(block * ranks));
  test::uploaded<float> other(comm.device(), stream, std::vector<float>(block * ranks));
  const auto part = other.span().first(block);
  switch (kind) {
    case 0:
      rondel::all_reduce(comm, stream, whole.span());
      break;
    case 1:
      rondel::reduce_scatter(comm, stream, whole.span(), part);
      break;
    case 2:
      rondel::all_gather(comm, stream, part, whole.span());
      break;
    case 3:
      rondel::all_to_all(comm, stream, whole.span(), other.span());
      break;
    case 4:
      rondel::broadcast(comm, stream, whole.span(), root);
      break;
    case 5:
      rondel::barrier(comm, stream);
      break;
    case 6:
      rondel::send_recv(comm, stream, part, (comm.rank() + 1) % comm.size(),
                        whole.span().first(block), (comm.rank() + comm.size() - 1) % comm.size());
      break;
    default: {
      auto twin = comm.duplicate();
      rondel::barrier(twin, stream);
    }
  }
  stream.synchronize();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const double timeout = std::atof(argv[1]);
  const long steps = std::atol(argv[2]);
  const bool worker = std::string(argv[3]) == "worker";
  int self = -1;
  clock::time_point began = clock::now();
  const auto failed = [&](const char* kind, const std::string& what) {
    const double took = std::chrono::duration<double>(clock::now() - began).count();
    std::printf("failed %d %s %.3f %s\n", self, kind, took,
                what.substr(0, what.find('\n')).c_str());
    std::fflush(stdout);
    return 1;
  };
  try {
    rondel::run(rondel::mpi{.streams = worker ? rondel::stream_mode::worker
                                              : rondel::stream_mode::immediate,
                            .timeout = {timeout}},
                [&](auto& rank) {
                  self = rank.rank();
                  auto stream = rank.device().make_stream();
                  std::mt19937 random(5);  // the same on all ranks
                  rondel::barrier(rank.world(), stream);
                  stream.synchronize();
                  std::printf("ready %d %d\n", self, static_cast<int>(getpid()));
                  std::fflush(stdout);
                  for (long i = 0; i < steps; ++i) {
                    began = clock::now();
                    step(rank.world(), stream, random);
                  }
                });
  } catch (const rondel::timed_out& e) {
    return failed("timed_out", e.what());
  } catch (const rondel::peer_failed& e) {
    return failed("peer_failed", e.what());
  } catch (const std::exception& e) {
    return failed("other", e.what());
  }
  std::printf("done %d\n", self);
}
