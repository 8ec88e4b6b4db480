#!/usr/bin/env bash
# Packages the library with Conan, tests the package, and uses it in a project of its own.
# Usage: check_conan.sh <work folder>
# Conan's cache lies in the work folder, and no remote is asked. Without a Conan 2 one is installed with pip.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
source "$root/scripts/venv.sh"

conan_is_2() { conan --version | grep -q '^Conan version 2\.'; }
use_python_package "$work/venv" 'conan>=2.8,<3' conan_is_2
conan --version

export CONAN_HOME=$work/home
rm -rf "$CONAN_HOME"
conan profile detect 2>/dev/null
conan remote disable '*'
if command -v ninja >/dev/null; then
  export CMAKE_GENERATOR=Ninja
  echo "tools.cmake.cmaketoolchain:generator=Ninja" >> "$CONAN_HOME/global.conf"
fi
echo "tools.cmake.cmake_layout:test_folder=$work/test" >> "$CONAN_HOME/global.conf"

cmake "-DTO=$work/consumer" "-DLIBRARY=$root" -P "$root/tests/consumer/project.cmake"
cd "$work/consumer"
bash conan.sh

# All that is packaged, in the only configuration there is.
expected=$(cd "$root/include" && find . -name '*.hpp' -o -name '*.cuh' | sort)
package=$(conan cache path "$(conan list 'rondel/*:*' --format=compact | grep -o 'rondel/[^ ]*:[0-9a-f]*' | head -n 1)")
found=$(cd "$package/include" && find . -type f | sort)
if [[ $found != "$expected" ]]; then
  diff <(echo "$expected") <(echo "$found") || true
  echo "the package and the checkout differ in the headers above"
  exit 1
fi
for file in licenses/LICENSE share/cmake/rondel/rondel-config.cmake; do
  if [[ ! -s $package/$file ]]; then
    echo "the package has no $file"
    exit 1
  fi
done
if grep -rlF "$root" "$package"; then
  echo "the files above name the folder that they were built from"
  exit 1
fi
echo "$(wc -l <<< "$expected") headers packaged"
