#!/usr/bin/env python3
"""Compares examples/train_gpt with the same model in PyTorch on the CPU, at 1 and 2 ranks of one thread each.

PyTorch runs 2 ranks by DistributedDataParallel over Gloo. The programs take turns; the figures are medians. Writes
train_gpt.json and train_gpt.svg. Needs PyTorch in the Python that runs this, and matplotlib.

  cmake --preset release && cmake --build --preset release --target train_gpt
  python3 bench/compare_train_gpt.py
"""

import re
import statistics
import sys

import comparison

STEPS = 40
LABELS = {
    ("rondel", 1): "rondel, 1 rank",
    ("torch", 1): "PyTorch, 1 rank",
    ("rondel", 2): "rondel, 2 ranks",
    ("torch", 2): "PyTorch DDP over Gloo, 2 ranks",
}


def tokens_per_second(output):
    return float(re.findall(r"(\d+) tokens/s", output)[-1])


def measure(build, program, ranks):
    if program == "torch":
        script = comparison.ROOT / "bench" / "train_gpt_torch.py"
        return tokens_per_second(comparison.run([sys.executable, script, "--ranks", str(ranks), "--steps", str(STEPS)]))
    train_gpt = build / "examples/train_gpt/train_gpt"
    options = ["--ranks", str(ranks), "--steps", str(STEPS), "--eval-windows", "1", "--trace-steps", "0", "--quiet"]
    # Two ranks fill two cores; a thread for each of their streams would find none.
    return tokens_per_second(comparison.run([train_gpt, *options, "--streams", "immediate"]))


def main():
    options = comparison.parser(__doc__, rounds=7).parse_args()
    figures = {key: [] for key in LABELS}
    for i in range(options.rounds):
        print(f"round {i + 1} of {options.rounds}", flush=True)
        for program, ranks in figures:
            figures[program, ranks].append(measure(options.build, program, ranks))
    import torch

    rows = []
    for ranks in (1, 2):
        ratios = [own / other for own, other in zip(figures["rondel", ranks], figures["torch", ranks])]
        rows.append(
            {
                "ranks": ranks,
                "rondel": round(statistics.median(figures["rondel", ranks])),
                "torch": round(statistics.median(figures["torch", ranks])),
                "rondel_to_torch": round(statistics.median(ratios), 2),
            }
        )
        print("{ranks} ranks: rondel {rondel}, PyTorch {torch} tokens/s, {rondel_to_torch} times".format(**rows[-1]))
    machine = comparison.machine()
    result = {"machine": machine, "torch": torch.__version__, "rounds": options.rounds, "unit": "tokens/s", "rows": rows}
    comparison.store(options.output, "train_gpt", result)
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; PyTorch {torch.__version__}; medians of {options.rounds} rounds of"
        f" {STEPS} steps, {machine['date']}, commit {machine['commit']}; tokens a second.",
        "",
        "| ranks | rondel | PyTorch | times faster |",
        "|--:|--:|--:|--:|",
    ]
    lines += ["| {ranks} | {rondel:,} | {torch:,} | {rondel_to_torch:.2f} |".format(**r) for r in rows]
    comparison.publish("train_gpt", lines)

    plots = comparison.plots()
    figure, axis = plots.subplots(figsize=(6, 2.2), layout="constrained")
    values = [statistics.median(figures[key]) for key in LABELS]
    axis.barh(list(LABELS.values()), values, color=["#1f5fa8", "#b0413e"] * 2)
    axis.bar_label(axis.containers[0], fmt="{:,.0f}", fontsize=8, padding=2)
    axis.invert_yaxis()
    axis.set_title("train_gpt, tokens a second, one thread a rank", fontsize=9)
    note = f"{machine['cpu']}, {machine['cores']} cores; PyTorch {torch.__version__}; {machine['date']}"
    axis.set_xlabel(note, fontsize=7)
    comparison.save_plot(figure, options.output, "train_gpt")
    return 0 if all(r["rondel_to_torch"] >= 1 for r in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
