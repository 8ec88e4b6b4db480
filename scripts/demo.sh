#!/usr/bin/env bash
# Builds the train_gpt example and runs it with the given arguments.
# Usage: scripts/demo.sh [--no-install] [argument of train_gpt]...
# Missing packages are installed with apt-get; --no-install names them and stops instead.
# Standard output is the program's alone.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

install=yes
if [[ ${1:-} == --no-install ]]; then
  install=no
  shift
fi

{
  require "$install" cmake g++ ninja-build libeigen3-dev libcli11-dev nlohmann-json3-dev
  cmake --preset release -DRONDEL_BUILD_TESTS=OFF
  cmake --build --preset release --target train_gpt
} >&2
exec build/release/examples/train_gpt/train_gpt "$@"
