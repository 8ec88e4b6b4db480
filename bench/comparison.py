"""What the comparisons share: who ran where, medians of programs that took turns, JSON and plots."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


def parser(doc, rounds):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release", help="of the preset release")
    p.add_argument("--output", type=pathlib.Path, default=ROOT / "bench" / "results")
    p.add_argument("--rounds", type=int, default=rounds, help="the programs take turns this often")
    return p


def run(command, **environment):
    """The output of a command; on failure its errors and the end of the script."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "commit": commit,
    }


def store(folder, name, result):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def publish(name, lines):
    """Puts a table between the marks of `name` in the page of the benchmarks."""
    begin, end = f"<!-- {name} figures -->\n", f"<!-- end of {name} figures -->"
    page = ROOT / "docs" / "benchmarks.md"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1], encoding="utf-8")
    print(f"updated {page}")


def plots():
    """matplotlib, set up so that the same figures give the same file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "rondel",
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    from matplotlib import pyplot

    return pyplot


def save_plot(figure, folder, name):
    path = folder / f"{name}.svg"
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    # Trailing blanks would only trouble whoever compares versions.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    print(f"wrote {path}")
