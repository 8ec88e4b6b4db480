#!/usr/bin/env python3
"""Fails when a tracked file holds a path of somebody's machine, or code holds a note of unfinished work.

Git lists the files: without a checkout this is skipped, or fails where CI is set.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Written with brackets so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.~*}])/(wor[k]|roo[t]|hom[e]/[a-z])/?(?=[/a-z])")
UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X])\b")
UNFINISHED_FOLDERS = ("include", "examples", "scripts", "cmake")


def findings(path, text):
    """Yields (line number, matched text) for one file; path is relative to the root."""
    folder = path.split("/")[0]
    for number, line in enumerate(text.splitlines(), start=1):
        patterns = [MACHINE_PATH] + ([UNFINISHED] if folder in UNFINISHED_FOLDERS else [])
        for pattern in patterns:
            match = pattern.search(line)
            if match:
                yield number, match.group(0)


def tracked_files():
    """The files that git knows or does not ignore; none where there is no git or no checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def self_test():
    slash = "/"
    bad = [
        ("docs/a.md", f"see {slash}work{slash}notes"),
        ("docs/a.md", f"`{slash}root{slash}x`"),
        ("include/a.hpp", "// TOD" + "O: later"),
        ("scripts/a.sh", "# XX" + "X"),
    ]
    good = [
        ("docs/a.md", "the network/work/load split"),
        ("docs/a.md", "a TOD" + "O list in prose"),
        ("include/a.hpp", "// reads build/work/x"),
    ]
    wrong = [case for case in bad if not list(findings(*case))]
    wrong += [case for case in good if list(findings(*case))]
    for case in wrong:
        print(f"wrong verdict on {case}")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--self-test", action="store_true", help="judge known good and bad lines")
    if parser.parse_args().self_test:
        return self_test()

    names = tracked_files()
    if not names:
        if os.environ.get("CI"):
            print("not a git checkout")
            return 1
        print("skipped: not a git checkout")
        return 77
    failed = False
    for name in names:
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, word in findings(name, text):
            print(f"{name}:{number}: {word}")
            failed = True
    print(f"{len(names)} files read")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
