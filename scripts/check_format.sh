#!/usr/bin/env bash
# Fails when a C++ or CUDA file is not as .clang-format wants it. --fix formats them.
# Other versions of clang-format decide differently, so only version 14 counts.
set -euo pipefail
cd "$(dirname "$0")/.."

for candidate in clang-format-14 clang-format; do
  if command -v "$candidate" >/dev/null && "$candidate" --version | grep -q 'version 14\.'; then
    tool=$candidate
    break
  fi
done
if [[ -z ${tool:-} ]]; then
  echo "skipped: clang-format 14 is not installed"
  exit 77
fi

mapfile -t files < <(git ls-files --cached --others --exclude-standard --deduplicate \
  -- '*.hpp' '*.cpp' '*.cu' '*.cuh' | while read -r file; do [[ -e $file ]] && echo "$file"; done)
if [[ ${#files[@]} -eq 0 ]]; then
  echo "no C++ file found: is this a git checkout?"
  exit 1
fi

if [[ ${1:-} == --fix ]]; then
  "$tool" -i "${files[@]}"
else
  "$tool" --dry-run -Werror "${files[@]}"
  echo "${#files[@]} files are formatted"
fi
