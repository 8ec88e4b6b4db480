#!/usr/bin/env bash
# train_gpt over MPI gives what it gives on threads, bit for bit, and goes on from its checkpoints.
# Usage: mpi_run.sh <train_gpt> <launcher> [<argument>...]
set -euo pipefail
program=$(realpath "$1")
shift
launcher=("$@")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

for i in $(seq 400); do echo "line $((i % 7)): the quick brown fox jumps over $((i % 5)) lazy dogs"; done > text.txt
small=(--text text.txt --layers 1 --heads 2 --width 16 --context 16 --batch 12 --steps 30 --warmup 3
       --sample-length 20 --log-every 1 --eval-windows 20 --trace-steps 0 --timeout 60)

fail() {
  echo "$1"
  cat output errors
  exit 1
}
# What does not depend on time: every loss, norm and sample, what each rank held and sent.
steady() { sed -E 's/ +[0-9]+ tokens\/s.*//; /seconds|GFLOP|GB\/s| s$|tokens/d' output; }

on_threads() {
  "$program" "${small[@]}" "$@" >output 2>errors || fail "threads: $* failed"
}
on_mpi() {
  local ranks=$1
  shift
  "${launcher[@]}" -n "$ranks" "$program" "${small[@]}" "$@" >output 2>errors || fail "mpi: $ranks processes, $* failed"
}

for mode in "2 f32 worker" "2 f32 immediate" "3 f64 worker" "1 f32 worker"; do
  read -r ranks precision streams <<<"$mode"
  on_threads --ranks "$ranks" --precision "$precision" --streams "$streams"
  steady > threads
  [[ $(grep -c '^step' threads) -eq 30 ]] || fail "there are not 30 steps"
  on_mpi "$ranks" --precision "$precision" --streams "$streams"
  steady > processes
  cmp threads processes || { diff threads processes; fail "threads and processes differ: $mode"; }
done

# The control: another seed gives other losses.
on_mpi 2 --seed 2
steady > processes
if cmp -s threads processes; then fail "another seed gives the same"; fi

# A run over MPI goes on from a checkpoint of threads, and threads from one of MPI.
on_threads --ranks 2
steady | grep -E '^step +(2[1-9]|30)/' > whole
on_threads --ranks 2 --checkpoint saves --save-every 20
rm saves/*-step-30.json
on_mpi 2 --checkpoint saves --resume latest
steady | grep -E '^step +(2[1-9]|30)/30 +loss' > resumed
cmp whole resumed || fail "a run over MPI that goes on from threads differs"

code=0
"${launcher[@]}" -n 2 "$program" "${small[@]}" --ranks 3 >output 2>errors || code=$?
[[ $code -eq 2 ]] || fail "3 ranks of 2 processes: exit code $code"
[[ $(grep -c 'train_gpt: --engine: 3 ranks of engine mpi were asked for, and 2 processes are running' errors) -eq 1 ]] ||
  fail "the error does not say so once"
echo "threads and processes agree"
