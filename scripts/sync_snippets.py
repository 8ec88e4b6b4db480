#!/usr/bin/env python3
"""Keeps the Markdown files equal to the code and output that they show, and their links alive.

A fenced block that follows one of these comments holds a copy of what the comment names:
    <!-- snippet: FILE#NAME -->   the lines between two `//! [NAME]` lines of FILE, without their common indent;
                                  of CMake and shell files, between two `#! [NAME]` lines
    <!-- snippet: FILE -->        all of FILE
    <!-- output: FILE -->         all of FILE, the committed output of a program
Each ```cpp and ```cmake block needs one. Without arguments the blocks are rewritten; --check only compares,
and also finds relative links and headings that do not exist and regions of SNIPPETS that no page shows.
"""

import argparse
import pathlib
import re
import sys
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/*.md", "examples/*/README.md")
SNIPPETS = ("tests/docs/*.cpp", "tests/consumer/*")
SOURCE = re.compile(r"^<!-- (snippet|output): ([^#\s]+)(?:#(\S+))? -->$")
FENCE = re.compile(r"^```(\S*)$")
MARK = re.compile(r"^\s*(?://|#)! \[(\S+)\]$")
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")


class Fault(Exception):
    pass


def regions(path):
    """Maps each region of a source file to its lines."""
    found, opened = {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        mark = MARK.match(line)
        if mark and mark[1] in opened:
            found[mark[1]] = textwrap.dedent("\n".join(opened.pop(mark[1]))).split("\n")
        elif mark and mark[1] in found:
            raise Fault(f"{path.name}: region {mark[1]} is there twice")
        elif mark:
            opened[mark[1]] = []
        else:
            for lines in opened.values():
                lines.append(line)
    if opened:
        raise Fault(f"{path.name}: region {', '.join(opened)} does not end")
    return found


def source_lines(root, name, region):
    path = root / name
    if not path.is_file():
        raise Fault(f"no file {name}")
    if region is None:
        return path.read_text(encoding="utf-8").splitlines()
    found = regions(path)
    if region not in found:
        raise Fault(f"{name} has no region {region}")
    return found[region]


def synced(root, text):
    """The text with every copied block renewed, the faults as (line number, sentence), and the regions used."""
    lines = text.splitlines()
    out, faults, used = [], [], set()
    number = 0
    while number < len(lines):
        line = lines[number]
        out.append(line)
        number += 1
        fence = FENCE.match(line)
        if not fence:
            if line.startswith("<!-- snippet") or line.startswith("<!-- output"):
                if not SOURCE.match(line):
                    faults.append((number, "cannot read this comment"))
                elif number == len(lines) or not FENCE.match(lines[number]):
                    faults.append((number, "no fenced block follows"))
            continue
        first = number
        while number < len(lines) and lines[number] != "```":
            number += 1
        if number == len(lines):
            faults.append((first, "this block does not end"))
            out += lines[first:]
            break
        block = lines[first:number]
        number += 1
        source = SOURCE.match(lines[first - 2]) if first >= 2 else None
        if source:
            try:
                wanted = source_lines(root, source[2], source[3])
                used.add((source[2], source[3]))
                if wanted != block:
                    faults.append((first, f"differs from {source[2]}{'#' + source[3] if source[3] else ''}"))
                    block = wanted
            except Fault as fault:
                faults.append((first, str(fault)))
        elif fence[1] in ("cpp", "c++", "cuda", "cmake"):
            faults.append((first, "this block comes from no compiled file"))
        out += block + ["```"]
    return "\n".join(out) + "\n", faults, used


def prose(text):
    """(line number, line) of what is outside fenced blocks, without inline code."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, re.sub(r"`[^`]*`", "``", line)


def anchors(text):
    """The names that GitHub gives to the headings of a page."""
    names = set()
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        heading = re.match(r"^#+ (.*)$", line)
        if heading and not inside:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            names.add(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    return names


def dead_links(root, page, text):
    for number, line in prose(text):
        for target in LINK.findall(line):
            if re.match(r"^[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.exists():
                yield number, f"no such file: {target}"
            elif root.resolve() not in [path, *path.parents]:
                yield number, f"outside of the project: {target}"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8")):
                yield number, f"no such heading: {target}"


def run(root, check):
    """Prints the faults; returns how many there are."""
    count = 0
    used = set()
    pages = sorted(page for pattern in PAGES for page in root.glob(pattern))
    if not pages:
        print("no page found")
        return 1
    for page in pages:
        text = page.read_text(encoding="utf-8")
        renewed, faults, shown = synced(root, text)
        used |= shown
        if not check:
            if renewed != text:
                page.write_text(renewed, encoding="utf-8")
                print(f"{page.relative_to(root)}: rewritten")
            faults = [fault for fault in faults if not fault[1].startswith("differs from")]
        faults += dead_links(root, page, renewed)
        for number, fault in sorted(faults):
            print(f"{page.relative_to(root)}:{number}: {fault}")
            count += 1
    for source in sorted(source for pattern in SNIPPETS for source in root.glob(pattern)):
        name = source.relative_to(root).as_posix()
        for region in regions(source):
            if (name, region) not in used:
                print(f"{name}: no page shows region {region}")
                count += 1
    print(f"{len(pages)} pages and {len(used)} copies read")
    return count


def self_test():
    """Each fault must be found, each good page pass, and a rewritten page be good."""
    source = "int a;\n  //! [part]\n  int b;\n    int c;\n  //! [part]\n"
    part = "<!-- snippet: tests/docs/a.cpp#part -->\n```cpp\n"
    shell = "<!-- snippet: b.sh#part -->\n```sh\nls\n```\n"
    good = "# Head, one\n" + part + "int b;\n  int c;\n```\n[a](docs/b.md) [b](#head-one) `[c](no)`\n"
    bad = [
        good.replace("int c;", "int d;"),
        good.replace("  int c;", "   int c;"),
        good.replace("int b;\n", ""),
        good.replace("#part", "#other"),
        good.replace("a.cpp", "b.cpp"),
        good.replace("docs/b.md", "docs/c.md"),
        good.replace("docs/b.md", "../b.md"),
        good.replace("#head-one", "#head-two"),
        good + "```cpp\nint x;\n```\n",
        good + "```cmake\nproject(x)\n```\n",
        good + shell.replace("ls", "cat"),
        good + "<!-- snippet tests/docs/a.cpp -->\n",
        good + "<!-- output: out.txt -->\n```text\n2\n```\n",
        good + "<!-- output: out.txt -->\n\n```text\n1\n```\n",
        good + "```text\n",
        "no region is shown\n",
    ]
    also_good = [
        good + "<!-- output: out.txt -->\n```text\n1\n```\n",
        good + "```sh\nls\n```\n",
        good + shell,
        good + "```text\n[a](no)\n```\n",
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "docs").mkdir()
        (root / "tests/docs").mkdir(parents=True)
        (root / "docs/b.md").write_text("# B\n")
        (root / "out.txt").write_text("1\n")
        (root / "b.sh").write_text("#!/bin/sh\n#! [part]\nls\n#! [part]\n")
        (root / "tests/docs/a.cpp").write_text(source)

        def faults(page, check=True):
            (root / "README.md").write_text(page)
            return run(root, check)

        wrong = [page for page in bad if faults(page) == 0]
        wrong += [page for page in [good, *also_good] if faults(page) != 0]
        faults(bad[0], check=False)
        if (root / "README.md").read_text() != good:
            wrong.append("a page that was rewritten")
        (root / "tests/docs/a.cpp").write_text(source + "//! [open]\n")
        try:
            faults(good)
            wrong.append("a region that does not end")
        except Fault:
            pass
    print(f"--- {len(wrong)} wrong verdicts")
    for page in wrong:
        print(f"wrong verdict on:\n{page}")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; fail if anything is wrong")
    parser.add_argument("--self-test", action="store_true", help="judge known good and bad pages")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    try:
        return 1 if run(ROOT, arguments.check) else 0
    except Fault as fault:
        print(fault)
        return 1


if __name__ == "__main__":
    sys.exit(main())
