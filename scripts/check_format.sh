#!/usr/bin/env bash
# Fails when a C++ or CUDA file is not as .clang-format wants it. --fix formats them.
# Other versions of clang-format decide differently, so only version 14 counts.
# Git lists the files: without a checkout this is skipped, or fails where CI is set.
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

list=(git ls-files --cached --others --exclude-standard --deduplicate -- '*.hpp' '*.cpp' '*.cu' '*.cuh')
mapfile -t files < <("${list[@]}" 2>/dev/null | while read -r file; do [[ -e $file ]] && echo "$file"; done)
if [[ ${#files[@]} -eq 0 ]]; then
  if [[ -n ${CI:-} ]]; then
    echo "not a git checkout"
    exit 1
  fi
  echo "skipped: not a git checkout"
  exit 77
fi

if [[ ${1:-} == --fix ]]; then
  "$tool" -i "${files[@]}"
else
  "$tool" --dry-run -Werror "${files[@]}"
  echo "${#files[@]} files are formatted"
fi
