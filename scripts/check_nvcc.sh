#!/usr/bin/env bash
# Compiles CUDA files for the oldest and the newest supported GPU, warnings as errors; no GPU is needed.
# Usage: check_nvcc.sh <file.cu> <output folder>
#        check_nvcc.sh --headers <output folder>
# --headers compiles each .cuh on its own, for one GPU, and tells how long that takes; the budget is 3 s.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$2"
output=$(cd "$2" && pwd)

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if [[ ! -x $nvcc ]]; then
  echo "skipped: nvcc is not installed"
  exit 77
fi
flags=(-std=c++20 -Werror all-warnings "-I$root/include" "-I$root/tests/support")

if [[ $1 == --headers ]]; then
  for header in $(cd "$root/include" && find rondel -name '*.cuh' | sort); do
    unit=$output/$(basename "$header").cu
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" > "$unit"
    TIMEFORMAT='%U %S'
    seconds=$({ time "$nvcc" "${flags[@]}" -arch=sm_90 -c "$unit" -o "$unit.o" >&2; } 2>&1) ||
      { echo "$seconds"; echo "$header does not compile alone"; exit 1; }
    awk -v header="$header" '{ printf "%5.2f s  %s%s\n", $1 + $2, header, ($1 + $2 > 3) ? ": over budget" : "" }' \
      <<<"$(tail -n 1 <<<"$seconds")"
  done
  exit 0
fi

architectures=()
for arch in 80 90; do
  architectures+=(-gencode "arch=compute_$arch,code=sm_$arch")
done
"$nvcc" "${flags[@]}" "${architectures[@]}" -c "$1" -o "$output/$(basename "$1" .cu).o"
echo "compiled for sm_80 and sm_90"
