#!/usr/bin/env bash
# Runs the conformance suite and train_gpt on two hosts, which are two network namespaces joined by a pair of
# virtual links, over TCP; then cuts the link while train_gpt runs: both sides must end with an error, and a run that
# goes on from the last checkpoint must give what an uninterrupted one gives.
# Needs root, iproute2 and Open MPI. Exit code 77, with the reason, where namespaces cannot be made.
# Usage: two_hosts.sh <mpirun> <conformance test> <train_gpt>
set -euo pipefail
mpirun=$1
conformance=$(realpath "$2")
program=$(realpath "$3")
hosts=("rondel-$$-a" "rondel-$$-b")
network=10.213.77
scratch=$(mktemp -d)

clean_up() {
  local host pid
  for host in "${hosts[@]}"; do
    for pid in $(ip netns pids "$host" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns del "$host" 2>/dev/null || true
  done
  rm -rf "$scratch"
}

skip() {
  echo "skipped: $1"
  rm -rf "$scratch"
  exit 77
}
[[ $(id -u) -eq 0 ]] || skip "only root may make network namespaces"
command -v ip >/dev/null || skip "there is no ip (package iproute2)"
"$mpirun" --version 2>/dev/null | grep -qE "Open MPI|OpenRTE" || skip "$mpirun is not Open MPI's"
ip netns add "${hosts[0]}" 2>"$scratch/reason" || skip "no network namespace can be made: $(cat "$scratch/reason")"
trap clean_up EXIT
{
  ip netns add "${hosts[1]}"
  ip link add "rdl$$a" netns "${hosts[0]}" type veth peer name "rdl$$b" netns "${hosts[1]}"
} 2>"$scratch/reason" || { clean_up; trap - EXIT; skip "no virtual link can be made: $(cat "$scratch/reason")"; }
links=("rdl$$a" "rdl$$b")
for i in 0 1; do
  ip -n "${hosts[i]}" address add "$network.$((i + 1))/24" dev "${links[i]}"
  ip -n "${hosts[i]}" link set lo up
  ip -n "${hosts[i]}" link set "${links[i]}" up
done

# Stands for ssh: the first argument is the host. Each host has a name and a temporary folder of its own.
for i in 0 1; do mkdir "$scratch/tmp$i"; done
cat >"$scratch/agent" <<END
#!/usr/bin/env bash
shift
exec ip netns exec ${hosts[1]} unshare --uts sh -c 'hostname ${hosts[1]}; export TMPDIR=$scratch/tmp1; exec sh -c "\$0"' "\$*"
END
chmod +x "$scratch/agent"

# on_two_hosts <processes> <command>...: the first half on one host, the second on the other.
on_two_hosts() {
  local processes=$1
  shift
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR=$scratch/tmp0 \
    ip netns exec "${hosts[0]}" unshare --uts sh -c 'hostname "$0"; exec "$@"' "${hosts[0]}" \
    "$mpirun" -n "$processes" --host "$network.1:$((processes / 2)),$network.2:$((processes / 2))" \
    --oversubscribe --mca plm_rsh_agent "$scratch/agent" --mca btl self,vader,tcp \
    --mca btl_tcp_if_include "$network.0/24" --mca oob_tcp_if_include "$network.0/24" "$@"
}
fail() {
  echo "$1"
  tail -n 40 "$scratch"/output* "$scratch"/errors* 2>/dev/null || true
  exit 1
}
cd "$scratch"

names=$(on_two_hosts 2 hostname 2>errors | sort | tr '\n' ' ') || fail "mpirun does not start on two hosts"
[[ $names == "${hosts[0]} ${hosts[1]} " ]] || fail "the hosts are: $names"

on_two_hosts 4 "$conformance" >output 2>errors || fail "the conformance suite fails on two hosts"
grep -q 'Status: SUCCESS\|0 failed' output || fail "the conformance suite did not run"
echo "conformance suite: passed by 4 processes on 2 hosts"

for i in $(seq 400); do echo "line $((i % 7)): the quick brown fox jumps over $((i % 5)) lazy dogs"; done > text.txt
small=(--text "$scratch/text.txt" --layers 1 --heads 2 --width 16 --context 16 --batch 12 --warmup 3
       --sample-length 0 --log-every 1 --eval-windows 20 --trace-steps 0 --timeout 3)
losses() { sed -nE 's/ +[0-9]+ tokens\/s.*//; /^step +[0-9]+\/[0-9]+  loss/p' "$1"; }

"$program" "${small[@]}" --ranks 2 --steps 1500 >output.threads 2>errors || fail "train_gpt fails on threads"
on_two_hosts 2 "$program" "${small[@]}" --steps 1500 >output 2>errors || fail "train_gpt fails on two hosts"
cmp -s <(losses output) <(losses output.threads) || fail "two hosts and threads give other losses"
echo "train_gpt: the losses of $(losses output | wc -l) steps on 2 hosts are those of threads"

# Each rank writes what it ends with, because from one of them nothing comes back any more.
cat >ends <<END
#!/usr/bin/env bash
code=0
"$program" "\$@" 2>"$scratch/errors.\$OMPI_COMM_WORLD_RANK" || code=\$?
echo "\$code" >"$scratch/code.\$OMPI_COMM_WORLD_RANK"
exit "\$code"
END
chmod +x ends
on_two_hosts 2 "$scratch/ends" "${small[@]}" --steps 1500 --checkpoint "$scratch/saves" --save-every 50 --keep 3 \
  >output.cut 2>errors &
job=$!
for _ in $(seq 600); do
  if ls saves/*-step-[0-9]*.json >/dev/null 2>&1; then break; fi
  sleep 0.05
done
ls saves/*.json >/dev/null 2>&1 || fail "there was no checkpoint"
sleep 0.2
ip -n "${hosts[1]}" link set "${links[1]}" down
for _ in $(seq 400); do
  if [[ -s code.0 && -s code.1 ]]; then break; fi
  sleep 0.05
done
[[ -s code.0 && -s code.1 ]] || fail "a side hangs after the link was cut"
for side in 0 1; do
  [[ $(cat "code.$side") -ne 0 ]] || fail "rank $side ended as if nothing had happened"
  grep -qE "waited 3\.0+ s|failed first" "errors.$side" || fail "rank $side does not say what it waited for"
  echo "cut link: rank $side: $(cut -c -150 "errors.$side" | head -1)"
done
# The launcher's own halves do not notice a cut for minutes.
for host in "${hosts[@]}"; do
  for pid in $(ip netns pids "$host"); do kill -KILL "$pid" 2>/dev/null || true; done
done
wait "$job" || true

ip -n "${hosts[1]}" link set "${links[1]}" up
on_two_hosts 2 "$program" "${small[@]}" --steps 1500 --checkpoint "$scratch/saves" --resume latest >output 2>errors ||
  fail "the run that goes on fails"
grep '^resumed' output
went_on=$(losses output | wc -l)
[[ $went_on -gt 0 && $went_on -lt 1500 ]] || fail "$went_on steps were left: nothing was cut"
cmp -s <(losses output) <(losses output.threads | tail -n "$went_on") || fail "the run that goes on gives other losses"
echo "train_gpt: the losses of the $went_on steps after the cut are those of an uninterrupted run"
