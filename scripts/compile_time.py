#!/usr/bin/env python3
"""Reports how long each public header takes to compile alone, against its budget. Never fails.

The budgets hold on a machine where <vector>, <string> and <memory> together take 0.47 s; times are scaled by
what those three take here. Times are processor time, which other work on the machine disturbs least.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
REFERENCE_HEADERS = ["vector", "string", "memory"]
REFERENCE_SECONDS = 0.47
BUDGET_SECONDS = {"rondel/rondel.hpp": 0.9}
DEFAULT_BUDGET_SECONDS = 0.5

BACKENDS = ("cuda", "mpi", "nccl")


def children_seconds():
    """Processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def best_seconds(compiler, headers, repeat, folders=()):
    """The shortest of repeat compilations of one file that includes headers; None if it does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "unit.cpp"
        source.write_text("".join(f"#include <{header}>\n" for header in headers), encoding="utf-8")
        command = [compiler, "-std=c++20", "-fsyntax-only", f"-I{ROOT / 'include'}"]
        command += [option for folder in folders for option in ("-isystem", folder)] + [str(source)]
        best = None
        for _ in range(repeat):
            start = children_seconds()
            result = subprocess.run(command, capture_output=True, check=False)
            seconds = children_seconds() - start
            if result.returncode != 0:
                return None
            best = seconds if best is None else min(best, seconds)
        return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--repeat", type=int, default=3, help="compilations per header, the best counts")
    parser.add_argument("--output", type=pathlib.Path, help="also write the report to this file")
    parser.add_argument("--backend", action="append", default=[], metavar="NAME=FOLDER[,FOLDER]...",
                        help="where the headers lie that those named NAME... include; without it they are left out")
    arguments = parser.parse_args()
    backends = {}
    for one in arguments.backend:
        name, _, folders = one.partition("=")
        backends[name] = [folder for folder in folders.split(",") if folder]

    reference = best_seconds(arguments.compiler, REFERENCE_HEADERS, arguments.repeat)
    if reference is None:
        print(f"{arguments.compiler} does not compile the reference unit")
        return 0
    scale = REFERENCE_SECONDS / reference

    rows = []
    include = ROOT / "include"
    for path in sorted(filter(pathlib.Path.is_file, include.rglob("*.hpp"))):
        header = path.relative_to(include).as_posix()
        backend = next((name for name in BACKENDS if path.name.startswith(name)), None)
        if backend is not None and backend not in backends:
            print(f"{header}: left out, there is no {backend} here")
            continue
        seconds = best_seconds(arguments.compiler, [header], arguments.repeat, backends.get(backend, []))
        budget = BUDGET_SECONDS.get(header, DEFAULT_BUDGET_SECONDS)
        rows.append((header, None if seconds is None else seconds * scale, budget))

    lines = [
        f"{arguments.compiler}, best of {arguments.repeat}; reference unit {reference:.2f} s here, "
        f"{REFERENCE_SECONDS} s where the budgets hold",
        f"{'scaled s':>9} {'budget s':>9}  header",
    ]
    for header, seconds, budget in sorted(rows, key=lambda row: -(row[1] or 0)):
        if seconds is None:
            lines.append(f"{'-':>9} {budget:9.2f}  {header}: does not compile alone")
        else:
            lines.append(f"{seconds:9.2f} {budget:9.2f}  {header}{': over budget' if seconds > budget else ''}")
    over = sum(seconds is not None and seconds > budget for _, seconds, budget in rows)
    lines.append(f"{over} of {len(rows)} headers over budget")

    report = "\n".join(lines) + "\n"
    print(report, end="")
    if arguments.output:
        arguments.output.write_text(report, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
