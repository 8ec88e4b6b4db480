// What less than MPI_THREAD_MULTIPLE allows, and that MPI stays the program's that has initialised
// it. Usage: mpi_levels single|funneled|serialized
#include <rondel/collective/all_reduce.hpp>
#include <rondel/mpi.hpp>

#include "host_data.hpp"
#include "message_of.hpp"

#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>

namespace {

int failures = 0;

void check(bool right, const std::string& what) {
  if (right) return;
  ++failures;
  std::printf("wrong: %s\n", what.c_str());
}
void check_says(const std::string& text, const std::string& part) {
  check(text.find(part) != std::string::npos, "'" + text + "' does not say '" + part + "'");
}

const auto program = [](auto& rank) {
  auto stream = rank.device().make_stream();
  test::uploaded<std::int64_t> x(rank.device(), stream, {1});
  rondel::all_reduce(rank.world(), stream, x.span());
  return test::download(stream, x.span()).front();
};

}  // namespace

int main(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "";
  const int level = wanted == "single"     ? MPI_THREAD_SINGLE
                    : wanted == "funneled" ? MPI_THREAD_FUNNELED
                                           : MPI_THREAD_SERIALIZED;
  const auto refusal = [](const rondel::mpi& engine) {
    return test::message_of<rondel::invalid_argument>([&] { rondel::run(engine, program); });
  };
  check_says(test::message_of<rondel::invalid_argument>([] { (void)rondel::make_mpi_world(); }),
             "MPI is not initialised");
  int given = -1;
  MPI_Init_thread(&argc, &argv, level, &given);
  if (given != level) {
    std::printf("skipped: this MPI gives %s instead\n", rondel::detail::mpi_level_name(given));
  } else {
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    check(rondel::run(rondel::mpi{.timeout = {30}}, program) == size, "immediate streams");
    const std::string text = refusal({.streams = rondel::stream_mode::worker, .timeout = {30}});
    check_says(text, "all_reduce on a worker stream needs MPI_THREAD_MULTIPLE");
    check_says(text, rondel::detail::mpi_level_name(level));
    rondel::detail::mpi_world_has_failed().store(false);  // by that refusal, on all ranks alike
    if (level == MPI_THREAD_FUNNELED) {
      std::thread other(
          [&] { check_says(refusal({.timeout = {30}}), "not the one that initialised MPI"); });
      other.join();
    }
    const rondel::mpi_environment environment;
    check(!environment.owner(), "an environment takes MPI over");
  }
  check(!rondel::detail::mpi_is_finalized(), "MPI was finalised by somebody else");
  MPI_Finalize();
  check_says(refusal({}), "keep one mpi_environment for the whole program");
  return failures;
}
