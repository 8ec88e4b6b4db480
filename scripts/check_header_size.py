#!/usr/bin/env python3
"""Fails when a public header is longer than 400 lines; prints the median and the longest."""

import pathlib
import statistics
import sys

LIMIT = 400
SUFFIXES = (".hpp", ".cuh")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    headers = [path for path in (ROOT / "include").rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    if not headers:
        print("no headers found")
        return 1
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in headers}
    too_long = {path: count for path, count in lines.items() if count > LIMIT}
    for path, count in sorted(too_long.items()):
        print(f"{path.relative_to(ROOT)}: {count} lines, over {LIMIT}")
    longest = max(lines, key=lambda path: lines[path])
    print(
        f"{len(headers)} headers, {sum(lines.values())} lines, median {statistics.median(lines.values()):g}, "
        f"longest {longest.relative_to(ROOT)} with {lines[longest]}"
    )
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
