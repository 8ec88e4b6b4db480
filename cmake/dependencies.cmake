# What tests, examples and benchmarks need beyond the library: the system's package where there is one,
# otherwise a pinned release from its home.
include(FetchContent)

# rondel_header_dependency(<package> <target> <repository> <tag> <include folder>)
# A fetched header-only package is not configured, only included, and its warnings are not ours.
macro(rondel_header_dependency package target repository tag include)
  find_package(${package} CONFIG QUIET)
  if(NOT TARGET ${target})
    message(STATUS "${package}: no system package, fetching ${tag}")
    FetchContent_Declare(${package}
      GIT_REPOSITORY ${repository} GIT_TAG ${tag} GIT_SHALLOW ON SOURCE_SUBDIR not_configured)
    FetchContent_MakeAvailable(${package})
    string(TOLOWER ${package} package_lower)
    add_library(rondel_fetched_${package} INTERFACE)
    add_library(${target} ALIAS rondel_fetched_${package})
    target_include_directories(rondel_fetched_${package}
      SYSTEM INTERFACE ${${package_lower}_SOURCE_DIR}/${include})
  endif()
endmacro()

if(RONDEL_BUILD_TESTS)
  rondel_header_dependency(doctest doctest::doctest
    https://github.com/doctest/doctest.git v2.4.11 .)
  if(doctest_SOURCE_DIR)
    list(APPEND CMAKE_MODULE_PATH ${doctest_SOURCE_DIR}/scripts/cmake)
  endif()
  rondel_header_dependency(nlohmann_json nlohmann_json::nlohmann_json
    https://github.com/nlohmann/json.git v3.11.2 include)
endif()

if(RONDEL_BUILD_TESTS OR RONDEL_BUILD_EXAMPLES)
  rondel_header_dependency(Eigen3 Eigen3::Eigen
    https://gitlab.com/libeigen/eigen.git 3.4.0 .)
  rondel_header_dependency(CLI11 CLI11::CLI11
    https://github.com/CLIUtils/CLI11.git v2.3.2 include)
endif()

if(RONDEL_BUILD_BENCH)
  find_package(benchmark CONFIG QUIET)
  if(NOT TARGET benchmark::benchmark)
    message(STATUS "benchmark: no system package, fetching v1.8.3")
    set(BENCHMARK_ENABLE_TESTING OFF)
    set(BENCHMARK_ENABLE_INSTALL OFF)
    FetchContent_Declare(benchmark
      GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.8.3 GIT_SHALLOW ON SYSTEM)
    FetchContent_MakeAvailable(benchmark)
  endif()
endif()
