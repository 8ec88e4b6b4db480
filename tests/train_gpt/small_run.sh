#!/usr/bin/env bash
# Runs train_gpt on a small text, in every mode, and looks for the parts of its report.
# Usage: small_run.sh <train_gpt>
set -euo pipefail
program=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

for i in $(seq 400); do echo "line $((i % 7)): the quick brown fox jumps over $((i % 5)) lazy dogs"; done > text.txt
common=(--text text.txt --layers 1 --heads 2 --width 16 --context 16 --batch 12 --sample-length 20
        --log-every 10 --eval-windows 20)
small=("${common[@]}" --steps 30 --warmup 3)

fail() {
  echo "$1"
  cat output errors
  exit 1
}

# expect <pattern>...: each stands in a line of the output.
expect() {
  local pattern
  for pattern in "$@"; do grep -qE -- "$pattern" output || fail "the output has no line with: $pattern"; done
}

run_common() {
  "$program" "${common[@]}" "$@" >output 2>errors || fail "train_gpt ${common[*]} $* failed"
  [[ ! -s errors ]] || fail "there are errors"
}

run() {
  run_common --steps 30 --warmup 3 "$@"
}

"$program" --help >output 2>errors || fail "no help"
for option in text holdout layers heads width context precision steps batch accumulation lr min-lr warmup \
  weight-decay beta1 beta2 eps clip seed ranks engine timeout streams bucket memory-limit log-every quiet eval-every \
  eval-windows sample-length temperature top-k prompt out trace-steps checkpoint save-every keep on-save-error resume; do
  expect "^ +--$option( |,|$)"
done

for mode in "--streams worker" "--streams immediate" "--precision f64" "--ranks 1" "--ranks 3" "--accumulation 2"; do
  rm -rf shown
  # shellcheck disable=SC2086  # two words each
  run --out shown --eval-every 20 $mode
  expect 'step +30/30  loss [0-9.]+ .* tokens/s  0:00 left' 'step +20/30  held-out loss [0-9.]+' \
    'this model +[0-9.]+ +[0-9.]+' 'bigram model +[0-9.]+ +[0-9.]+' 'nats .* the bigram' '  \| ///' \
    'Allocations during the steps: 0\.' 'all ranks .* difference 0$' 'GFLOP/s' 'shown/timeline.svg' 'shown/trace.json'
  [[ $(head -c 4 shown/timeline.svg) == "<svg" || $(head -c 5 shown/timeline.svg) == "<?xml" ]] || fail "no picture"
  [[ $(head -c 1 shown/trace.json) == "{" || $(head -c 1 shown/trace.json) == "[" ]] || fail "no trace"
done

# With more steps it beats the bigram model.
run_common --trace-steps 0 --steps 300 --lr 0.01
expect 'nats below the bigram'

# The same run twice prints the same losses and the same sample.
steady() { grep -E '^  \||held|model' output | grep -v tokens/s; }
run --trace-steps 0
steady > first
run --trace-steps 0 --streams immediate
steady > second
cmp first second || fail "two runs differ"

# A dry run counts, and shows no losses.
run --engine sim
expect 'Allocations during the steps: 0\.' 'all ranks .* difference 0$' 'GFLOP'
if grep -q 'this model' output; then fail "a dry run shows losses"; fi

run --quiet
if grep -q '^step' output; then fail "--quiet prints progress"; fi

# A whole number may begin with zeros.
run_common --trace-steps 0 --steps 010
expect '^training +10 steps of 12 sequences on 2 ranks' 'step +10/10 '

run --trace-steps 0 --temperature 0 --quiet
expect '^sample, the likeliest byte each time$'

# Checkpoints: a run that goes on ends as the one that was not interrupted, whatever the ranks.
run --trace-steps 0 --checkpoint saves --save-every 20
expect '^step +20/30  saved checkpoint-000001-step-20, ' '^step +30/30  saved checkpoint-000002-step-30, ' \
  '^  2 checkpoints saved of [0-9.]+ KiB, [0-9.]+ .s each; 0 failed$'
steady > first
rm saves/*-step-30.json
run --trace-steps 0 --checkpoint saves --resume latest --streams immediate
expect "^resumed +from checkpoint-000001-step-20 in 'saves'$" '^step +21/30 ' 'in 10 steps' 'difference 0$'
steady | grep -v 'step  *20/' > second
cmp first second || fail "a resumed run differs"
run --trace-steps 0 --resume saves --ranks 3
expect "^resumed +from checkpoint-000003-step-30 in 'saves'$" 'in 0 steps' 'difference 0$'
truncate -s -1 saves/*-step-30-shard-1-of-2.safetensors
run --trace-steps 0 --resume saves
expect '^damaged +checkpoint-000003-step-30: .* B, the manifest says [0-9]+$' '^resumed +from checkpoint-000001-step-20 '

# A disk that gets full; a limit of the file size stands for it. The checkpoint before stays whole.
limited() {
  (
    trap '' XFSZ
    ulimit -f 32
    exec "$program" "${small[@]}" --trace-steps 0 --checkpoint saves --resume latest --save-every 5 "$@"
  )
}
rm saves/*-step-30*
code=0
limited >output 2>errors || code=$?
[[ $code -eq 1 && $(wc -l <errors) -eq 1 ]] || fail "a full disk: exit code $code"
grep -qE "the checkpoint after step 25 is not saved: cannot write 'saves/.*': File too large$" errors || fail "the error does not say so"
limited --on-save-error continue >output 2>errors || fail "a full disk stops the run"
[[ $(grep -c 'is not saved: .*; training goes on$' errors) -eq 2 && $(wc -l <errors) -eq 2 ]] || fail "two saves failed"
expect '^  0 checkpoints saved; 2 failed$' 'this model'
run --trace-steps 0 --resume saves
expect "^resumed +from checkpoint-000001-step-20 in 'saves'$"

# Failures while it runs: exit code 1 and one line.
lost() {
  [[ $1 -eq 1 && $(wc -l <errors) -eq 1 ]] || fail "$2: exit code $1"
}
for arguments in "--help" "${small[*]} --trace-steps 0"; do
  code=0
  # shellcheck disable=SC2086  # words
  "$program" $arguments >/dev/full 2>errors || code=$?
  lost "$code" "a full standard output"
  grep -q 'cannot write to standard output' errors || fail "the error does not say so"
done
code=0
"$program" "${small[@]}" --trace-steps 0 --lr 1e9 >output 2>errors || code=$?
lost "$code" "a diverged run"
grep -qE 'training diverged at step [0-9]+: .* is not finite \(try a lower --lr\)$' errors || fail "the error does not say so"

code=0
"$program" "${small[@]}" --memory-limit 0.1 >output 2>errors || code=$?
lost "$code" "too little memory"
grep -q 'out of device memory' errors || fail "the error does not say so"
