# shellcheck shell=bash
# Shared by demo.sh and test.sh, which source it from the repository root with `set -euo pipefail`.

# Packages that are programs, and the command that shows they are there, wherever it came from.
declare -A command_of=(
  [ccache]=ccache
  [clang]=clang++
  [clang-format]=clang-format
  [cmake]=cmake
  [doxygen]=doxygen
  [g++]=g++
  [git]=git
  [llvm]=llvm-symbolizer
  [ninja-build]=ninja
  [python3]=python3
)

has_package() {
  local command=${command_of[$1]:-}
  if [[ -n $command ]]; then
    command -v "$command" >/dev/null
  else
    dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed$'
  fi
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

# require <install: yes|no> <package>...
# Installs the packages that are missing, or names them and fails. Where there is no apt only the programs
# are required: CMake fetches the libraries.
require() {
  local install=$1 package
  local missing=()
  shift
  for package in "$@"; do
    if [[ -n ${command_of[$package]:-} ]] || command -v apt-get >/dev/null; then
      has_package "$package" || missing+=("$package")
    fi
  done

  if [[ ${#missing[@]} -gt 0 ]]; then
    if [[ $install == no ]] || ! command -v apt-get >/dev/null; then
      echo "missing packages (Debian names): ${missing[*]}" >&2
      return 1
    fi
    echo "installing with apt-get: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  fi

  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*//p')
  if [[ $(printf '%s\n' 3.25 "$version" | sort -V | head -n 1) != 3.25 ]]; then
    echo "CMake 3.25 or newer is needed, this is $version (newer ones: https://cmake.org/download)" >&2
    return 1
  fi
}
