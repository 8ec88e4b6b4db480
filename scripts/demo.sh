#!/usr/bin/env bash
# Builds the train_gpt example and runs it with the given arguments in the caller's folder.
# Usage: scripts/demo.sh [--no-install] [argument of train_gpt]...
# Missing packages are installed with apt-get; --no-install, wherever it stands, names them and stops instead.
# Standard output is the program's alone.
set -euo pipefail

# Bash reads a script while it runs it; a function is read whole, so an edit meanwhile does no harm.
main() {
  local root install=yes argument
  local arguments=()
  root=$(dirname "$(dirname "$(realpath "$0")")")
  source "$root/scripts/common.sh"

  for argument in "$@"; do
    if [[ $argument == --no-install ]]; then
      install=no
    else
      arguments+=("$argument")
    fi
  done

  require "$install" cmake g++ ninja-build libeigen3-dev libcli11-dev >&2
  (
    cd "$root"
    cmake --preset release -DRONDEL_BUILD_TESTS=OFF
    cmake --build --preset release --target train_gpt
  ) >&2
  exec "$root/build/release/examples/train_gpt/train_gpt" "${arguments[@]}"
}

main "$@"; exit
