# shellcheck shell=bash
# Sourced by checks that need a Python package, with `set -euo pipefail`.

# use_python_package <folder of a virtual environment> <requirement> <command that succeeds with it>...
# Where the command fails, the requirement is installed into the folder, which then comes first in PATH. Where
# that is impossible the check ends as skipped.
use_python_package() {
  local folder=$1 requirement=$2 log=$1.log
  shift 2
  if "$@" >/dev/null 2>&1; then
    return
  fi
  export PATH=$folder/bin:$PATH
  hash -r
  if "$@" >/dev/null 2>&1; then
    return
  fi
  echo "installing $requirement into $folder"
  mkdir -p "$folder"
  if ! {
    python3 -m venv "$folder" &&
      "$folder/bin/python3" -m pip install --quiet --retries 1 --timeout 20 --disable-pip-version-check "$requirement" &&
      hash -r &&
      "$@"
  } >"$log" 2>&1; then
    tail -n 5 "$log"
    echo "skipped: $requirement is not installed and cannot be had with pip"
    exit 77
  fi
}
