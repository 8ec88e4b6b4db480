#include <rondel/core/version.hpp>

#include <doctest/doctest.h>

#if RONDEL_VERSION_MAJOR * 10000 + RONDEL_VERSION_MINOR * 100 + RONDEL_VERSION_PATCH < 100
#error "the version is not usable in preprocessor arithmetic"
#endif

TEST_CASE("the version numbers are integer constants") {
  static_assert(RONDEL_VERSION_MAJOR >= 0 && RONDEL_VERSION_MINOR >= 0 &&
                RONDEL_VERSION_PATCH >= 0);
  CHECK(RONDEL_VERSION_MAJOR + RONDEL_VERSION_MINOR + RONDEL_VERSION_PATCH > 0);
}
