#!/usr/bin/env python3
"""Compares rondel's thread ranks with an MPI library and with what memory allows.

bench_collectives and bench_mpi_collectives take turns, so that a busy moment of the machine meets both; the figures are
medians over the rounds, the ratios medians of the rounds' ratios. Writes collectives.json and collectives.svg.

  cmake --preset release -DRONDEL_BUILD_BENCH=ON && cmake --build --preset release --target bench_collectives bench_mpi_collectives
  python3 bench/compare_collectives.py
"""

import csv
import statistics

import comparison

COLLECTIVES = ["all_reduce", "reduce_scatter", "all_gather", "all_to_all"]
# What must hold: (collective, ranks, from bytes, to bytes): the least ratio of the MPI library's time to rondel's.
FLOORS = [("all_reduce", 2, 1 << 10, 1 << 10, 2), ("all_reduce", 2, 1 << 16, 1 << 26, 3), ("all_reduce", 4, 1 << 20, 1 << 26, 3)]
FLOORS += [(c, n, 1 << 10, 1 << 26, 1) for c in COLLECTIVES for n in (2, 4)]
MEMORY_SHARE = 0.8  # of the speed of memory, at the largest all_reduce of 2 ranks


def measure(build, ranks):
    """Microseconds of one round, by (collective, form, bytes)."""
    fits = ranks <= (comparison.machine()["cores"] or 1)
    mpirun = ["mpirun", "-np", str(ranks), *(["--bind-to", "core"] if fits else ["--oversubscribe"])]
    outputs = [
        comparison.run([build / "bench/bench_collectives", f"--benchmark_filter=/{ranks}/", "--benchmark_format=csv"]),
        comparison.run(
            [*mpirun, build / "bench/bench_mpi_collectives", "--benchmark_format=csv"],
            OMPI_ALLOW_RUN_AS_ROOT="1",
            OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
        ),
    ]
    out = {}
    for output in outputs:
        table = output[output.index("name,") :].splitlines()
        for row in csv.DictReader(table):
            collective, form, size, *_ = row["name"].split("/")
            out[collective, form, int(size)] = float(row["real_time"])
    for key in [k for k in out if k[1] == "streamed_memory"]:
        memory = (key[0], "memory", key[2])
        out[memory] = min(out[memory], out.pop(key))
    return out


def summarise(rounds, ranks):
    rows = []
    for collective in COLLECTIVES:
        for size in sorted({k[2] for k in rounds[0] if k[0] == collective}):
            forms = [f for c, f, s in rounds[0] if c == collective and s == size]
            times = {f: [r[collective, f, size] for r in rounds] for f in forms}
            ratio = [mpi / own for mpi, own in zip(times["mpi"], times["threads"])]
            share = [memory / own for memory, own in zip(times["memory"], times["threads"])]
            rows.append(
                {
                    "collective": collective,
                    "ranks": ranks,
                    "bytes": size,
                    "us": {f: round(statistics.median(t), 3) for f, t in times.items()},
                    "mpi_to_threads": round(statistics.median(ratio), 2),
                    "share_of_memory": round(statistics.median(share), 2),
                }
            )
    return rows


def name_of(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def missed(rows):
    out = []
    for collective, ranks, low, high, least in FLOORS:
        for r in rows:
            if (r["collective"], r["ranks"]) == (collective, ranks) and low <= r["bytes"] <= high:
                if r["mpi_to_threads"] < least:
                    out.append(
                        f"{collective}, {ranks} ranks, {name_of(r['bytes'])}: {r['mpi_to_threads']} of {least} times"
                    )
    for r in rows:
        if (r["collective"], r["ranks"], r["bytes"]) == ("all_reduce", 2, 1 << 26) and r["share_of_memory"] < MEMORY_SHARE:
            out.append(f"all_reduce, 2 ranks, 64 MiB: {r['share_of_memory']} of the speed of memory, {MEMORY_SHARE} wanted")
    return out


def table(rows, m, mpi, rounds):
    """Markdown of the sizes that tell most."""

    def cells(r):
        us = r["us"]
        names = ("threads", "mpi", "memory", "ring", "ledger", "fingerprint", "worker")
        return [f"{us[f]:,.{2 if us[f] < 10 else 0}f}" if f in us else "" for f in names]

    out = [
        f"{m['cpu']}, {m['cores']} cores; {mpi}; medians of {rounds} rounds, {m['date']}, commit {m['commit']};"
        " microseconds.",
        "",
        "| | ranks | size | threads | MPI | times faster | memory | ring | ledger | fingerprint | worker |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        own, mpi_time, *others = cells(r)
        out.append(
            f"| {r['collective']} | {r['ranks']} | {name_of(r['bytes'])} | {own} | {mpi_time} | "
            f"{r['mpi_to_threads']:.1f} | {' | '.join(others)} |"
        )
    return out


def draw(rows, output, title):
    plots = comparison.plots()
    figure, axes = plots.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    styles = {
        "mpi": ("Open MPI", "#b0413e", "o-"),
        "ring": ("rondel, ring over messages", "#8a8fa3", "s--"),
        "threads": ("rondel", "#1f5fa8", "o-"),
        "memory": ("reading and writing as much", "#333333", ":"),
    }
    for axis, ranks in zip(axes, (2, 4)):
        part = [r for r in rows if (r["collective"], r["ranks"]) == ("all_reduce", ranks)]
        for form, (label, color, style) in styles.items():
            axis.loglog([r["bytes"] for r in part], [r["us"][form] for r in part], style, ms=3, label=label, color=color)
        axis.set_title(f"all_reduce, {ranks} ranks on 2 cores", fontsize=9)
        axis.set_ylabel("microseconds")
    axes[0].legend(frameon=False, fontsize=8)
    colors = ["#1f5fa8", "#2e8b57", "#d98c21", "#7a4fa3"]
    for collective, color in zip(COLLECTIVES, colors):
        for ranks, style in ((2, "o-"), (4, "s--")):
            part = [r for r in rows if (r["collective"], r["ranks"]) == (collective, ranks)]
            axes[2].plot(
                [r["bytes"] for r in part],
                [r["mpi_to_threads"] for r in part],
                style,
                ms=3,
                color=color,
                label=f"{collective}, {ranks} ranks",
            )
    axes[2].axhline(1, color="#333333", lw=0.8)
    axes[2].set(xscale="log", yscale="log", title="")
    axes[2].set_title("times faster than Open MPI", fontsize=9)
    axes[2].legend(frameon=False, fontsize=7, ncols=2)
    sizes = [1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26]
    for axis in axes:
        axis.set_xticks(sizes, [name_of(s) for s in sizes], fontsize=8)
        axis.set_xticks([], minor=True)
    axes[2].set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    figure.suptitle(title, fontsize=8, x=0.01, ha="left", y=-0.02)
    comparison.save_plot(figure, output, "collectives")


def main():
    options = comparison.parser(__doc__, rounds=9).parse_args()
    rounds = {2: [], 4: []}
    for i in range(options.rounds):
        print(f"round {i + 1} of {options.rounds}", flush=True)
        for ranks in rounds:
            rounds[ranks].append(measure(options.build, ranks))
    rows = [row for ranks, measured in rounds.items() for row in summarise(measured, ranks)]
    mpi = comparison.run(["mpirun", "--version"]).splitlines()[0]
    result = {"machine": comparison.machine(), "mpi": mpi, "rounds": options.rounds, "unit": "us", "rows": rows}
    for r in rows:
        figures = "  ".join(f"{form} {us:.6g}" for form, us in r["us"].items())
        print(f"{r['collective']:15} {r['ranks']} ranks {name_of(r['bytes']):>7}  x{r['mpi_to_threads']:<6} {figures}")
    comparison.store(options.output, "collectives", result)
    m = result["machine"]
    comparison.publish("collectives", table(rows, m, mpi, options.rounds))
    draw(rows, options.output, f"{m['cpu']}, {m['cores']} cores; {mpi}; medians of {options.rounds} rounds; {m['date']}")
    below = missed(rows)
    print("\n".join(below) if below else "every floor is met")
    return 1 if below else 0


if __name__ == "__main__":
    raise SystemExit(main())
