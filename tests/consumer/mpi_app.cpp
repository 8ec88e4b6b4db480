// That the component rondel::mpi brings what a program over MPI needs.
#include <rondel/mpi.hpp>

int main() {
  return rondel::run(rondel::mpi{}, [](auto& rank) { return rank.size() == 1 ? 0 : 1; });
}
