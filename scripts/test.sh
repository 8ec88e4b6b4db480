#!/usr/bin/env bash
# Builds and tests everything: clang, sanitizers, then g++ with all checks. The first failure stops it.
# Usage: scripts/test.sh [--no-install] [--lane clang|asan-ubsan|tsan|dev|release]
# Missing packages are installed with apt-get; --no-install names them and stops instead.
# With CI set, the checks that need a git checkout fail where there is none; otherwise they are skipped.
set -euo pipefail

# run_lane <preset> [wrapper of the build and the tests]...
run_lane() {
  local lane=$1
  shift
  echo "=== $lane"
  cmake --preset "$lane"
  "$@" cmake --build --preset "$lane" --parallel "$(nproc)"
  "$@" ctest --preset "$lane" --parallel "$(nproc)"
}

# The sanitizers of clang 14 cannot place their shadow memory where addresses are highly randomised.
run_sanitized_lane() {
  local fixed_addresses=(setarch "$(uname -m)" -R)
  if "${fixed_addresses[@]}" true 2>/dev/null; then
    run_lane "$1" "${fixed_addresses[@]}"
  else
    echo "setarch -R is not possible here: $1 runs with randomised addresses and may fail to start"
    run_lane "$1"
  fi
}

# Bash reads a script while it runs it; a function is read whole, so an edit meanwhile does no harm.
main() {
  local install=yes lane
  local lanes=(clang asan-ubsan tsan dev)
  cd "$(dirname "$(dirname "$(realpath "$0")")")"
  source scripts/common.sh

  while [[ $# -gt 0 ]]; do
    case $1 in
      --no-install) install=no ;;
      --lane)
        lanes=("${2:?--lane needs a name}")
        shift
        ;;
      *)
        echo "unknown argument: $1" >&2
        exit 2
        ;;
    esac
    shift
  done

  require "$install" ccache clang clang-format cmake doxygen g++ git libclang-rt-dev llvm ninja-build python3 \
    doctest-dev libbenchmark-dev libcli11-dev libdlpack-dev libeigen3-dev nlohmann-json3-dev python3-venv \
    iproute2 libmpich-dev libopenmpi-dev mpich openmpi-bin

  for lane in "${lanes[@]}"; do
    case $lane in
      asan-ubsan | tsan) run_sanitized_lane "$lane" ;;
      *) run_lane "$lane" ;;
    esac
  done
}

main "$@"; exit
