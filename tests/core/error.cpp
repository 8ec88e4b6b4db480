#include <rondel/core/error.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

namespace {

void entry_point(rondel::source_location where = rondel::source_location::current()) {
  throw rondel::invalid_argument("entry_point: no", where);
}

bool here(const rondel::error& e, unsigned line) {
  return e.where().line() == line && std::string_view(e.where().file_name()) == __FILE__;
}

}  // namespace

TEST_CASE("an error knows where it was thrown") {
  unsigned line = 0;
  try {
    line = __LINE__ + 1;
    throw rondel::error("plain");
  } catch (const rondel::error& e) {
    CHECK(here(e, line));
    CHECK_FALSE(std::string_view(e.where().function_name()).empty());
  }
  try {
    line = __LINE__ + 1;
    throw rondel::io_error("io");
  } catch (const rondel::error& e) {
    CHECK(here(e, line));
  }
  try {
    line = __LINE__ + 1;
    throw rondel::timed_out("late", 3);
  } catch (const rondel::communication_error& e) {
    CHECK(here(e, line));
    CHECK(e.rank() == 3);
  }
}

TEST_CASE("an entry point can pass its caller's place on") {
  unsigned line = 0;
  try {
    line = __LINE__ + 1;
    entry_point();
  } catch (const rondel::error& e) {
    CHECK(here(e, line));
    CHECK(std::string(e.what()) == "entry_point: no");
  }
}

TEST_CASE("out_of_memory carries and prints its numbers") {
  const rondel::out_of_memory e(2, 3 << 20, 512, 1 << 20);
  CHECK(e.rank() == 2);
  CHECK(e.requested() == 3 << 20);
  CHECK(e.live() == 512);
  CHECK(e.limit() == 1 << 20);
  CHECK(std::string(e.what()) ==
        "out of device memory on rank 2: requested 3145728 B (3.0 MiB) while 512 B (512 B) of at "
        "most 1048576 B (1.0 MiB) are live");
  const rondel::out_of_memory nobody(-1, 1, 0, 0);
  CHECK(std::string(nobody.what()).rfind("out of device memory: requested 1 B", 0) == 0);
}

TEST_CASE("errors of communication name the ranks") {
  const rondel::peer_failed e("rank 1: rank 4 failed", 1, 4);
  CHECK(e.rank() == 1);
  CHECK(e.failed_rank() == 4);
  CHECK(std::string(e.what()) == "rank 1: rank 4 failed");
  const rondel::mismatched_operation other("differs", 5);
  CHECK(other.rank() == 5);
}

TEST_CASE("each error can be caught by its kind") {
  CHECK_THROWS_AS(throw rondel::peer_failed("x", 0, 1), rondel::communication_error);
  CHECK_THROWS_AS(throw rondel::timed_out("x", 0), rondel::communication_error);
  CHECK_THROWS_AS(throw rondel::mismatched_operation("x", 0), rondel::communication_error);
  CHECK_THROWS_AS(throw rondel::out_of_memory(0, 1, 1, 1), rondel::error);
  CHECK_THROWS_AS(throw rondel::invalid_argument("x"), rondel::error);
  CHECK_THROWS_AS(throw rondel::error("x"), std::runtime_error);
}
