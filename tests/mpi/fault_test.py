#!/usr/bin/env python3
"""Kills and stops ranks of an MPI job at random moments.

Every other rank must end with peer_failed or timed_out within the deadline and a second more, or the launcher must
have ended it; nobody may hang. Usage: fault_test.py [options] <program> -- <launcher> [<argument>...]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time

RANKS = 3
TIMEOUT = 1.0
GRACE = 1.0  # beyond the deadline
HANG = 30.0


class Job:
    """A running job and what its ranks have said."""

    def __init__(self, launcher, program, steps, mode):
        command = [*launcher, "-n", str(RANKS), program, str(TIMEOUT), str(steps), mode]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.pids = {}
        self.said = {}
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            words = line.split(maxsplit=4)
            if words[:1] == ["ready"] and len(words) == 3:
                self.pids[int(words[1])] = int(words[2])
            elif words[:1] in (["failed"], ["done"]):
                self.said[int(words[1])] = words

    def wait_until(self, ready, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ready():
                return True
            time.sleep(0.002)
        return ready()

    def end(self):
        """Leaves nothing behind."""
        for pid in self.pids.values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def judge(job, victim):
    """What is wrong with how the job ended, or nothing."""
    problems = []
    for rank in range(RANKS):
        words = job.said.get(rank)
        if rank == victim or words is None:  # the launcher has ended it
            continue
        if words[0] == "done":
            problems.append(f"rank {rank} ended as if nothing had happened")
        elif words[2] not in ("peer_failed", "timed_out"):
            problems.append(f"rank {rank} ended with {' '.join(words[2:])}")
        elif float(words[3]) > TIMEOUT + GRACE:
            problems.append(f"rank {rank} took {words[3]} s, {TIMEOUT + GRACE} s expected at most")
    if job.process.returncode == 0:
        problems.append("the launcher returned 0")
    return problems


def run_case(launcher, program, how, victim, mode, moment):
    job = Job(launcher, program, 10**9, mode)
    try:
        if not job.wait_until(lambda: len(job.pids) == RANKS or job.process.poll() is not None, HANG):
            return ["the job did not start"], job
        if len(job.pids) != RANKS:
            return ["the job ended before anything was done to it"], job
        time.sleep(moment)
        os.kill(job.pids[victim], how)
        survivors = [pid for rank, pid in job.pids.items() if rank != victim]
        gone = job.wait_until(lambda: not any(alive(pid) for pid in survivors), HANG)
        problems = [] if gone else ["a rank hangs"]
    finally:
        job.end()
    return problems + judge(job, victim), job


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("program")
    parser.add_argument("launcher", nargs="+")
    options = parser.parse_args()
    random.seed(options.seed)

    # The control: a job that nobody touches comes to its end.
    job = Job(options.launcher, options.program, 50, "immediate")
    job.wait_until(lambda: job.process.poll() is not None, HANG)
    job.end()
    if job.process.returncode != 0 or any(words[0] != "done" for words in job.said.values()):
        print("the job fails by itself:", *job.lines, sep="\n")
        return 1

    wrong = 0
    heard = {"peer_failed": 0, "timed_out": 0}
    slowest = 0.0
    for case in range(options.cases):
        how = (signal.SIGKILL, signal.SIGSTOP)[case % 2]
        victim = case // 2 % RANKS
        mode = ("immediate", "worker")[case // (2 * RANKS) % 2]
        moment = random.uniform(0, 0.2)
        problems, job = run_case(options.launcher, options.program, how, victim, mode, moment)
        for rank, words in job.said.items():
            if words[0] == "failed" and rank != victim and words[2] in heard:
                heard[words[2]] += 1
                slowest = max(slowest, float(words[3]))
        if problems or options.verbose:
            print(f"case {case}: {how.name} of rank {victim} after {moment:.3f} s, {mode} streams")
            print(*problems, *job.lines, sep="\n")
        wrong += bool(problems)
    print(
        f"{options.cases} cases, {wrong} wrong; survivors: {heard['peer_failed']} peer_failed, "
        f"{heard['timed_out']} timed_out, the others ended by the launcher; "
        f"the last one {slowest:.2f} s after its call, of which the deadline is {TIMEOUT} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
