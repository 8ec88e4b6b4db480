#!/usr/bin/env python3
"""Kills train_gpt with SIGKILL at random moments and resumes it, again and again.

After each kill the newest checkpoint on the disk must be complete, judged by this script alone, and not older
than the last one that was reported as saved; the next run must begin from there; and every loss that is printed,
and the final state, must be those of a run that nobody disturbed.
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

STEPS = 40
OPTIONS = [
    "--text", "text.txt", "--layers", "1", "--heads", "1", "--width", "16", "--context", "8", "--batch", "8",
    "--steps", str(STEPS), "--warmup", "4", "--sample-length", "0", "--eval-windows", "4", "--log-every", "1",
    "--trace-steps", "0",
]
SAVED = re.compile(r"^step +(\d+)/\d+  saved (\S+), ", re.MULTILINE)
LOSS = re.compile(r"^step +(\d+)/\d+  (loss \S+  norm +\S+  lr \S+)", re.MULTILINE)
RESUMED = re.compile(r"^resumed   from checkpoint-\d+-step-(\d+) ", re.MULTILINE)


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return f"{crc ^ 0xFFFFFFFF:08x}"


def newest(folder):
    """Step and shards of the newest checkpoint, after a check of every byte; (0, []) without one."""
    manifests = sorted(folder.glob("checkpoint-*.json"))
    if not manifests:
        return 0, []
    text = manifests[-1].read_bytes()
    manifest = json.loads(text)
    end = text.rindex(b'"crc32c": "')
    assert crc32c(text[:end]) == manifest["crc32c"], f"{manifests[-1].name} is damaged"
    shards = []
    for entry in manifest["files"]:
        data = (folder / entry["name"]).read_bytes()
        assert len(data) == entry["bytes"], f"{entry['name']} has another size"
        assert crc32c(data) == entry["crc32c"], f"{entry['name']} is damaged"
        shards.append(data)
    return manifest["step"], shards


class Runs:
    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.saves = folder / "saves"
        (folder / "text.txt").write_text("".join(f"{i % 7} ships sail past {i % 5}\n" for i in range(200)))

    def start(self, *more):
        command = [self.program, *OPTIONS, "--checkpoint", self.saves.name, "--save-every", "1", *more]
        self.output = open(self.folder / "output", "wb")
        return subprocess.Popen(command, cwd=self.folder, stdout=self.output, stderr=subprocess.STDOUT)

    def said(self):
        """The whole lines that were printed."""
        self.output.close()
        text = (self.folder / "output").read_text(encoding="utf-8", errors="replace")
        return text[: text.rfind("\n") + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    choose = random.Random(arguments.seed)

    with tempfile.TemporaryDirectory() as scratch:
        runs = Runs(arguments.program.resolve(), pathlib.Path(scratch))
        begin = time.monotonic()
        code = runs.start().wait()
        longest = time.monotonic() - begin
        text = runs.said()
        assert code == 0, text
        losses = dict(LOSS.findall(text))
        assert len(losses) == STEPS, text
        final_step, final = newest(runs.saves)
        assert final_step == STEPS

        kills, trajectories, between, promised = 0, 0, 0, 0
        shutil.rmtree(runs.saves)
        while kills < arguments.kills or promised > 0:
            keep = choose.choice(("1", "2", "3"))
            streams = choose.choice(("worker", "immediate"))
            process = runs.start("--resume", "latest", "--keep", keep, "--streams", streams)
            try:
                process.wait(choose.uniform(0, longest) if kills < arguments.kills else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            text = runs.said()
            killed = process.returncode == -signal.SIGKILL
            assert killed or process.returncode == 0, text
            assert "damaged" not in text, text
            for step, loss in LOSS.findall(text):
                assert losses[step] == loss, f"step {step}: {loss} instead of {losses[step]}\n{text}"
            resumed = RESUMED.search(text)
            if resumed or LOSS.search(text):
                first = int(resumed[1]) if resumed else 0
                assert first >= promised, f"began at {first}, not at {promised}\n{text}"
            promised = max([promised, *(int(step) for step, _ in SAVED.findall(text))])
            found, shards = newest(runs.saves)
            assert found >= promised, f"step {found} is found, {promised} was saved\n{text}"
            if killed:
                kills += 1
                between += 0 < found < STEPS
                if found == 0:
                    longest *= 1.3  # the machine got slower
            else:
                longest *= 0.7  # or faster
                assert (found, shards) == (STEPS, final), "the final state is another"
                trajectories += 1
                promised = 0
                shutil.rmtree(runs.saves)
    print(f"{kills} kills, {between} of them inside the training, {trajectories} runs that came to the end")
    assert between * 4 >= kills, "too few kills hit the training"
    return 0


if __name__ == "__main__":
    sys.exit(main())
