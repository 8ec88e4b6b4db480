#!/usr/bin/env bash
# Builds and tests everything: clang, sanitizers, then g++ with all checks. The first failure stops it.
# Usage: scripts/test.sh [--no-install] [--lane clang|asan-ubsan|tsan|dev|release]
# Missing packages are installed with apt-get; --no-install names them and stops instead.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

install=yes
lanes=(clang asan-ubsan tsan dev)
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
  doctest-dev libbenchmark-dev libeigen3-dev libcli11-dev nlohmann-json3-dev

# The thread sanitizer of clang 14 cannot place its shadow memory where addresses are highly randomised.
fixed_addresses=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
  fixed_addresses=(setarch "$(uname -m)" -R)
fi

run_lane() {
  local wrapper=()
  if [[ $1 == tsan ]]; then
    wrapper=("${fixed_addresses[@]}")
  fi
  echo "=== $1"
  cmake --preset "$1"
  "${wrapper[@]}" cmake --build --preset "$1" --parallel "$(nproc)"
  "${wrapper[@]}" ctest --preset "$1" --parallel "$(nproc)"
}

for lane in "${lanes[@]}"; do
  run_lane "$lane"
done
