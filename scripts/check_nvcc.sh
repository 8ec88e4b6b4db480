#!/usr/bin/env bash
# Compiles one CUDA file for the oldest and the newest supported GPU, warnings as errors; no GPU is needed.
# Usage: check_nvcc.sh <file.cu> <output folder>
set -euo pipefail
source=$(realpath "$1")
output=$2
root=$(cd "$(dirname "$0")/.." && pwd)

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if [[ ! -x $nvcc ]]; then
  echo "skipped: nvcc is not installed"
  exit 77
fi

mkdir -p "$output"
for arch in sm_80 sm_90; do
  "$nvcc" -std=c++20 -arch="$arch" -Werror all-warnings -I"$root/include" -I"$root/tests/support" \
    -c "$source" -o "$output/$(basename "$source" .cu).$arch.o"
  echo "$arch: compiled"
done
