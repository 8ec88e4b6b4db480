# shellcheck shell=bash
# Shared by demo.sh and test.sh, which source it with `set -euo pipefail`.

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

oldest_cmake=3.25

# Whether a version, which may be empty, is no older than oldest_cmake.
recent_cmake() {
  [[ -n $1 ]] && printf '%s\n' "$oldest_cmake" "$1" | sort -V -C
}

# The version in PATH, empty when there is none.
cmake_version() {
  if command -v cmake >/dev/null; then
    cmake --version | sed -n '1s/[^0-9]*//p'
  fi
}

# Fails, and says so, when apt knows a CMake and it is too old.
check_cmake_of_apt() {
  local candidate here
  candidate=$(LC_ALL=C apt-cache policy cmake | sed -n 's/^ *Candidate: \([0-9]*:\)\?\([0-9][0-9.]*\).*/\2/p')
  if [[ -n $candidate ]] && ! recent_cmake "$candidate"; then
    here=$(cmake_version)
    echo "CMake $oldest_cmake or newer is needed, here is ${here:-none} and apt has $candidate; Debian 12 and" \
      "Ubuntu 24.04 have it, for others see https://cmake.org/download" >&2
    return 1
  fi
}

has_package() {
  local command=${command_of[$1]:-}
  if [[ $1 == cmake ]]; then
    recent_cmake "$(cmake_version)"
  elif [[ -n $command ]]; then
    command -v "$command" >/dev/null
  else
    dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed$'
  fi
}

# Never asks for a password.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

# install_packages <package>...
install_packages() {
  if ! as_root true 2>/dev/null; then
    echo "needs root to install: $*; run: sudo apt-get install $*" >&2
    return 1
  fi
  echo "installing with apt-get: $*"
  as_root apt-get update -qq || return 1
  # Only now may apt know a CMake at all.
  if [[ " $* " == *" cmake "* ]]; then
    check_cmake_of_apt || return 1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# require <install: yes|no> <package>...
# Installs the packages that are missing, or names them and fails. Where there is no apt only the programs
# are required: CMake fetches the libraries.
require() {
  local install=$1 package version
  local missing=() apt=no
  shift
  if command -v apt-get >/dev/null; then
    apt=yes
  fi
  for package in "$@"; do
    if [[ -n ${command_of[$package]:-} || $apt == yes ]]; then
      has_package "$package" || missing+=("$package")
    fi
  done

  if [[ $apt == yes && " ${missing[*]} " == *" cmake "* ]]; then
    check_cmake_of_apt || return 1
  fi
  if [[ ${#missing[@]} -gt 0 ]]; then
    if [[ $install == no || $apt == no ]]; then
      echo "missing packages (Debian names): ${missing[*]}" >&2
      if [[ " ${missing[*]} " == *" cmake "* ]]; then
        echo "CMake must be $oldest_cmake or newer (https://cmake.org/download)" >&2
      fi
      return 1
    fi
    install_packages "${missing[@]}" || return 1
    hash -r
  fi

  version=$(cmake_version)
  if ! recent_cmake "$version"; then
    echo "CMake $oldest_cmake or newer is needed, here is ${version:-none} (https://cmake.org/download)" >&2
    return 1
  fi
}
