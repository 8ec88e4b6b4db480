#!/usr/bin/env python3
"""Holds the direction of includes under include/rondel.

A folder may include itself, the folders above it in LAYERS, core and trace; trace only core. Headers are
included as <rondel/...>, never in quotes, without cycles. rondel.hpp never reaches a header of CUDA, NCCL or
MPI, not even behind an #if.
"""

import argparse
import pathlib
import re
import sys
import tempfile

LAYERS = [
    "core",
    "checkpoint",
    "device",
    "comm",
    "collective",
    "shard",
    "plan",
    "pipeline",
    "cache",
    "offload",
    "attention",
    "executor",
    "launcher.hpp",
    "launch.hpp",
    "launch_engines.hpp",
    "rondel.hpp",
    "cuda.hpp",
    "mpi.hpp",
    "nccl_launch.hpp",
    "nccl.hpp",
]
UMBRELLA = "rondel.hpp"
OPEN_TO_ALL = {"core", "trace"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
BACKEND = re.compile(r"^(cu[a-z_]+|cub/.*|cuda/.*|thrust/.*|nccl[a-z_]*|mpi|nvtx3/.*)(\.h|\.hpp|\.cuh)?$")
BACKEND_HEADER = re.compile(r"(^|/)(cuda|nccl|mpi)[a-z_]*\.hpp$|\.cuh$")


def layer_of(header):
    """The first folder of a header below rondel/, or the file itself at the top."""
    return header.split("/")[0]


def allowed(source, target):
    """Whether a header of layer source may include one of layer target; both are known."""
    if source == target or target == "core":
        return True
    if source in OPEN_TO_ALL:
        return False
    if target in OPEN_TO_ALL:
        return True
    return LAYERS.index(target) < LAYERS.index(source)


def read_includes(root):
    """Maps each header below root to its list of (line number, bracket, included name)."""
    includes = {}
    for path in sorted(root.rglob("*")):
        if path.suffix in (".hpp", ".cuh", ".h") and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            matches = ((number, INCLUDE.match(line)) for number, line in enumerate(lines, start=1))
            includes[path.relative_to(root).as_posix()] = [
                (number, match.group(1), match.group(2)) for number, match in matches if match
            ]
    return includes


def check_directions(includes):
    known = set(LAYERS) | OPEN_TO_ALL
    for header, lines in includes.items():
        source = layer_of(header)
        if source not in known:
            yield f"{header}: {source} is no layer"
            continue
        for number, bracket, name in lines:
            where = f"{header}:{number}"
            if bracket == '"':
                yield f'{where}: "{name}" is in quotes; write <rondel/...>'
            if bracket != "<" or not name.startswith("rondel/"):
                continue
            target = name.removeprefix("rondel/")
            if target not in includes:
                yield f"{where}: <{name}> does not exist"
            elif layer_of(target) in known and not allowed(source, layer_of(target)):
                yield f"{where}: {source} may not include {layer_of(target)} (<{name}>)"


def check_reach(includes):
    """Depth first from every header: cycles; from the umbrella: backends."""
    done = set()

    def visit(header, path):
        if header in path:
            cycle = path[path.index(header):] + [header]
            yield "cycle: " + " -> ".join(cycle)
            return
        if header in done:
            return
        for _, bracket, name in includes.get(header, []):
            target = name.removeprefix("rondel/")
            if bracket == "<" and name != target:
                yield from visit(target, path + [header])
        done.add(header)

    for header in includes:
        yield from visit(header, [])

    pending = [[UMBRELLA]] if UMBRELLA in includes else []
    reached = {UMBRELLA}
    while pending:
        path = pending.pop()
        if BACKEND_HEADER.search(path[-1]):
            yield f"{UMBRELLA} reaches a backend: " + " -> ".join(path)
        for _, _, name in includes.get(path[-1], []):
            target = name.removeprefix("rondel/")
            if name == target and BACKEND.match(name):
                yield f"{UMBRELLA} reaches <{name}>: " + " -> ".join(path)
            elif name != target and target not in reached:
                reached.add(target)
                pending.append(path + [target])


def check(root):
    includes = read_includes(root)
    return includes, [*check_directions(includes), *check_reach(includes)]


def self_test():
    """Each tree holds one fault; the message must name it. The first tree holds none."""
    cases = {
        None: {
            "core/a.hpp": "#include <vector>\n#include <cstring>",
            "core/detail/b.hpp": "#include <rondel/core/a.hpp>",
            "trace/a.hpp": "#include <rondel/core/a.hpp>",
            "comm/a.hpp": "#include <rondel/trace/a.hpp>\n#include <rondel/core/a.hpp>",
            "comm/mpi.hpp": "#include <mpi.h>\n#include <rondel/comm/a.hpp>",
            "launch.hpp": "#include <rondel/comm/a.hpp>",
            "rondel.hpp": "#include <rondel/launch.hpp>",
        },
        "core may not include comm": {"core/a.hpp": "#include <rondel/comm/b.hpp>", "comm/b.hpp": ""},
        "core may not include trace": {"core/a.hpp": "#include <rondel/trace/b.hpp>", "trace/b.hpp": ""},
        "trace may not include device": {"trace/a.hpp": "#include <rondel/device/b.hpp>", "device/b.hpp": ""},
        "comm may not include collective": {
            "comm/a.hpp": "# include <rondel/collective/b.hpp>",
            "collective/b.hpp": "",
        },
        "executor may not include launch.hpp": {
            "executor/a.hpp": "#include <rondel/launch.hpp>",
            "launch.hpp": "",
        },
        "launch.hpp may not include rondel.hpp": {
            "launch.hpp": "#include <rondel/rondel.hpp>",
            "rondel.hpp": "",
        },
        "is in quotes": {"core/a.hpp": '#include "../comm/b.hpp"', "comm/b.hpp": ""},
        "does not exist": {"core/a.hpp": "#include <rondel/core/gone.hpp>"},
        "misc is no layer": {"misc/a.hpp": ""},
        "cycle: core/a.hpp -> core/b.hpp -> core/a.hpp": {
            "core/a.hpp": "#include <rondel/core/b.hpp>",
            "core/b.hpp": "#include <rondel/core/a.hpp>",
        },
        "reaches <cuda_runtime.h>": {
            "device/a.hpp": "#if 0\n#include <cuda_runtime.h>\n#endif",
            "rondel.hpp": "#include <rondel/device/a.hpp>",
        },
        "reaches a backend": {"comm/mpi.hpp": "", "rondel.hpp": "#include <rondel/comm/mpi.hpp>"},
    }
    failed = False
    for expected, files in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text + "\n", encoding="utf-8")
            _, problems = check(root)
        right = not problems if expected is None else any(expected in problem for problem in problems)
        if not right:
            print(f"expected {expected!r}, got {problems}")
            failed = True
    print(f"{len(cases)} trees judged")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--self-test", action="store_true", help="judge small trees with known faults")
    if parser.parse_args().self_test:
        return self_test()

    root = pathlib.Path(__file__).resolve().parent.parent / "include" / "rondel"
    includes, problems = check(root)
    for problem in problems:
        print(problem)
    print(f"{len(includes)} headers read")
    return 1 if problems or not includes else 0


if __name__ == "__main__":
    sys.exit(main())
