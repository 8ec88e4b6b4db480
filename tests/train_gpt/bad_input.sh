#!/usr/bin/env bash
# Runs train_gpt with input that it must refuse: exit code 2, nothing on standard output, and one line
# on standard error that says what is wrong. Nothing may be left on the disk.
# Usage: bad_input.sh <train_gpt>
set -euo pipefail
program=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

: > empty.txt
printf 'short' > short.txt
head -c 5000 /dev/zero | tr '\0' 'x' > text.txt
touch file
mkdir folder taken taken/timeline.svg
ln -s loop folder/loop
printf 'late' > "$(printf 'odd\nname')"

failures=0
cases=0
long=$(printf 'x%.0s' {1..300})

contents() { find . ! -name output ! -name errors | sort; }
before=$(contents)

# refuse <part of the message> <argument>...
refuse() {
  local expected=$1 code=0
  shift
  cases=$((cases + 1))
  timeout 20 "$program" "$@" >output 2>errors || code=$?
  if [[ $code -ne 2 || -s output || $(wc -l <errors) -ne 1 || $(contents) != "$before" ]] ||
    ! grep -qF -- "$expected" errors; then
    failures=$((failures + 1))
    echo "arguments: $*"
    echo "  expected exit code 2 and one line with: $expected"
    echo "  got exit code $code, $(wc -c <output) B of output, and: $(cat errors)"
  fi
}

refuse "there is no file or folder 'missing.txt'" --text missing.txt
refuse "the file 'empty.txt' is empty" --text empty.txt
refuse "the text has 5 bytes, of which 5 are for training; a context of 128 needs at least 129" --text short.txt
refuse "500 are held out" --text text.txt --context 1000
refuse "--ranks: '0' is not a whole number from 1" --ranks 0
refuse "--ranks: '-1' is not a whole number from 1" --ranks -1
refuse "--ranks: 'two' is not a whole number" --ranks two
refuse "--ranks: '2.5' is not a whole number" --ranks 2.5
refuse "32 sequences are not divisible by 3 ranks" --batch 32 --ranks 3
refuse "times 5 micro-batches" --batch 32 --ranks 2 --accumulation 5
refuse "--width: 128 is not divisible by 5 heads" --width 128 --heads 5
refuse "--layers: '0'" --layers 0
refuse "--heads: '0'" --heads 0
refuse "--width: '-8'" --width -8
refuse "--context: '0'" --context 0
refuse "--context: '99999999999999999999'" --context 99999999999999999999
refuse "--batch: '0'" --batch 0
refuse "--accumulation: '0'" --accumulation 0
refuse "--steps: '0'" --steps 0
refuse "--lr: '0' is not a number in (0," --lr 0
refuse "--lr: 'nan'" --lr nan
refuse "--lr: 'inf'" --lr inf
refuse "--lr: '1e-3x'" --lr 1e-3x
refuse "--min-lr: 1 is more than the rate 0.001" --lr 0.001 --min-lr 1
refuse "--warmup: 20 steps are more than all 10 steps" --warmup 20 --steps 10
refuse "--beta1: '1' is not a number in [0, 1)" --beta1 1
refuse "--beta2: '-0.1' is not a number in [0, 1)" --beta2 -0.1
refuse "--eps: '0'" --eps 0
refuse "--clip: '-1'" --clip -1
refuse "--weight-decay: '-1'" --weight-decay -1
refuse "--holdout: '0' is not a number in (0, 1)" --holdout 0
refuse "--holdout: '1'" --holdout 1
refuse "--bucket: '0'" --bucket 0
refuse "--precision: 'f16' is neither f32 nor f64" --precision f16
refuse "--engine: 'cuda' is none of auto, threads, mpi and sim" --engine cuda
refuse "--timeout: '0' is not a number in (0," --timeout 0
refuse "--streams: 'none' is neither immediate nor worker" --streams none
refuse "--top-k: '257'" --top-k 257
refuse "--temperature: '-1'" --temperature -1
refuse "--no-such-option" --no-such-option
refuse "stray" stray
refuse "--steps" --steps
refuse "the folder 'file/below' cannot be written to" --text text.txt --out file/below
refuse "the folder 'file' cannot be written to" --text text.txt --out file
refuse "the folder 'taken' cannot be written to" --text text.txt --out taken
refuse "the folder '$long' cannot be written to" --text text.txt --out "$long"
refuse "the folder 'new/$long' cannot be written to" --text text.txt --out "new/$long"
refuse "there is no file or folder 'folder/loop'" --text folder/loop
refuse "the text has 0 bytes" --text folder
refuse "the text has 5 bytes" --text short.txt --out new/folder
refuse "the text has 4 bytes" --text "$(printf 'odd\nname')"
refuse 'there is no file or folder '"'"'a\x0ab\x1bc'"'" --text "$(printf 'a\nb\033c')"
refuse "stray" "$(printf 'stray\nmore')"
refuse "--bucket: '0.0001' is not a number in [0.001," --bucket 0.0001
refuse "--eps: 1e-40 is less than 1.17549e-38, the smallest normal number of f32" --eps 1e-40
refuse "--steps: '00' is not a whole number from 1" --steps 00
refuse "TiB on each rank" --width 65536 --heads 1 --layers 1000 --context 65536 --batch 1000000

refuse "--save-every: there is no folder to save to (--checkpoint)" --save-every 5
refuse "--resume: latest is the newest in --checkpoint, which is not given" --resume latest
refuse "--on-save-error: 'ignore' is neither stop nor continue" --on-save-error ignore
refuse "--keep: '0'" --keep 0
refuse "--checkpoint: a dry run has no state" --engine sim --checkpoint new
refuse "--resume: a dry run has no state" --engine sim --resume folder
refuse "--resume: there is no checkpoint in 'folder'" --text text.txt --resume folder
refuse "--resume: there is no checkpoint in 'none'" --text text.txt --resume none
refuse "--resume: cannot list the folder 'file': Not a directory" --text text.txt --resume file
refuse "--checkpoint: cannot open the folder 'file': Not a directory" --text text.txt --checkpoint file
refuse "--checkpoint: cannot open the folder 'file': Not a directory" --text text.txt --checkpoint file/below

echo "$cases cases, $failures failed"
[[ $failures -eq 0 ]]
