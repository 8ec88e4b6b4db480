#!/usr/bin/env python3
"""Writes tests/train_gpt/goldens/train_gpt.json: losses and gradient norms of ten training steps by PyTorch.

The model, its initial parameters and its data follow integer formulas that tests/train_gpt/support.hpp repeats,
so only the results are stored. Needs PyTorch, on the CPU.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as functional

LAYERS, HEADS, WIDTH, CONTEXT, VOCABULARY = 2, 2, 16, 8, 32
BATCH, ACCUMULATION, STEPS = 8, 2, 10
PEAK, MINIMUM, WARMUP = 1e-2, 1e-3, 3
BETA1, BETA2, EPSILON, DECAY, CLIP = 0.9, 0.95, 1e-8, 0.1, 0.5

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "train_gpt" / "goldens" / "train_gpt.json"


def hashed(index, salt):
    """A number in [-1, 1) that single precision holds exactly."""
    mask = 0xFFFFFFFF
    x = (index * 2654435761 + salt * 40503) & mask
    x ^= x >> 16
    x = (x * 0x45D9F3B) & mask
    x ^= x >> 16
    return (x >> 8) / 8388608.0 - 1.0


def shapes():
    """Names and shapes in the order of the flat parameter buffer: last layer first."""
    yield "head.weight", (WIDTH, VOCABULARY)
    yield "norm.gain", (WIDTH,)
    yield "norm.bias", (WIDTH,)
    for layer in reversed(range(LAYERS)):
        yield f"{layer}.down.weight", (4 * WIDTH, WIDTH)
        yield f"{layer}.down.bias", (WIDTH,)
        yield f"{layer}.up.weight", (WIDTH, 4 * WIDTH)
        yield f"{layer}.up.bias", (4 * WIDTH,)
        yield f"{layer}.norm2.gain", (WIDTH,)
        yield f"{layer}.norm2.bias", (WIDTH,)
        yield f"{layer}.project.weight", (WIDTH, WIDTH)
        yield f"{layer}.project.bias", (WIDTH,)
        yield f"{layer}.qkv.weight", (WIDTH, 3 * WIDTH)
        yield f"{layer}.qkv.bias", (3 * WIDTH,)
        yield f"{layer}.norm1.gain", (WIDTH,)
        yield f"{layer}.norm1.bias", (WIDTH,)
    yield "position.weight", (CONTEXT, WIDTH)
    yield "token.weight", (VOCABULARY, WIDTH)


def parameters(dtype):
    out = {}
    for number, (name, shape) in enumerate(shapes()):
        values = [hashed(i, number + 1) for i in range(math.prod(shape))]
        values = [1 + v / 8 if name.endswith("gain") else v / 4 for v in values]
        out[name] = torch.tensor(values, dtype=torch.float64).to(dtype).reshape(shape).requires_grad_()
    return out


def tokens(step):
    count = BATCH * (CONTEXT + 1)
    values = [int((hashed(i, 1000 + step) + 1) / 2 * VOCABULARY) for i in range(count)]
    return torch.tensor(values).reshape(BATCH, CONTEXT + 1)


def loss_of(p, ids):
    inputs, targets = ids[:, :-1], ids[:, 1:]
    batch, length = inputs.shape
    x = p["token.weight"][inputs] + p["position.weight"][:length]
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    for layer in range(LAYERS):

        def part(name, layer=layer):
            return p[f"{layer}.{name}"]

        y = functional.layer_norm(x, (WIDTH,), part("norm1.gain"), part("norm1.bias"))
        y = (y @ part("qkv.weight") + part("qkv.bias")).reshape(batch, length, 3, HEADS, WIDTH // HEADS)
        q, k, v = y.permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(WIDTH // HEADS)
        y = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
        y = y.transpose(1, 2).reshape(batch, length, WIDTH)
        x = x + y @ part("project.weight") + part("project.bias")
        y = functional.layer_norm(x, (WIDTH,), part("norm2.gain"), part("norm2.bias"))
        y = functional.gelu(y @ part("up.weight") + part("up.bias"), approximate="tanh")
        x = x + y @ part("down.weight") + part("down.bias")
    x = functional.layer_norm(x, (WIDTH,), p["norm.gain"], p["norm.bias"])
    logits = x @ p["head.weight"]
    return functional.cross_entropy(logits.reshape(-1, VOCABULARY), targets.reshape(-1))


def rate(step):
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    progress = (step - WARMUP) / (STEPS - WARMUP)
    return MINIMUM + 0.5 * (1 + math.cos(math.pi * progress)) * (PEAK - MINIMUM)


def train(dtype):
    p = parameters(dtype)
    groups = [
        {"params": [v for v in p.values() if v.dim() == 2], "weight_decay": DECAY},
        {"params": [v for v in p.values() if v.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(BETA1, BETA2), eps=EPSILON, foreach=False)
    losses, norms = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for micro in tokens(step).chunk(ACCUMULATION):
            loss = loss_of(p, micro) / ACCUMULATION
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(p.values(), CLIP, foreach=False)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        losses.append(total)
        norms.append(norm.item())
    return {"loss": losses, "gradient_norm": norms}


def main():
    torch.set_num_threads(1)
    golden = {"torch": torch.__version__, "f32": train(torch.float32), "f64": train(torch.float64)}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {OUTPUT}: losses {golden['f64']['loss'][0]:.4f} to {golden['f64']['loss'][-1]:.4f}")


if __name__ == "__main__":
    main()
