#!/usr/bin/env python3
"""Prints the tokens/s of examples/train_gpt's model in PyTorch on the CPU, one thread a rank.

With --ranks above 1, DistributedDataParallel over Gloo, one process a rank. The batch is that of all ranks. What a
PyTorch user would choose is chosen: scaled_dot_product_attention, F.linear, fused AdamW.
"""

import argparse
import os
import time

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.token, self.position = nn.Embedding(256, o.width), nn.Embedding(o.context, o.width)
        self.blocks = nn.Sequential(*(Block(o.width, o.heads) for _ in range(o.layers)))
        self.norm, self.head = nn.LayerNorm(o.width), nn.Linear(o.width, 256, bias=False)

    def forward(self, ids):
        inputs, targets = ids[:, :-1], ids[:, 1:]
        x = self.token(inputs) + self.position.weight[: inputs.shape[1]]
        logits = self.head(self.norm(self.blocks(x)))
        return functional.cross_entropy(logits.reshape(-1, 256), targets.reshape(-1))


def train(rank, o):
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    model = Gpt(o)
    if o.ranks > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(o.port)}
        torch.distributed.init_process_group("gloo", rank=rank, world_size=o.ranks)
        model = DistributedDataParallel(model)
    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
    batches = torch.randint(0, 256, (o.steps + o.warmup, o.batch // o.ranks, o.context + 1))
    for step, ids in enumerate(batches):
        if step == o.warmup:
            start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = model(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
    if rank == 0:
        print(f"{o.steps * o.batch * o.context / (time.perf_counter() - start):.0f} tokens/s")
    if o.ranks > 1:
        torch.distributed.destroy_process_group()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    for name, value in {"ranks": 1, "layers": 4, "heads": 4, "width": 128, "context": 128, "batch": 12}.items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--warmup", type=int, default=5, help="steps before the clock starts")
    p.add_argument("--port", type=int, default=29571)
    o = p.parse_args()
    if o.ranks == 1:
        train(0, o)
    else:
        torch.multiprocessing.spawn(train, (o,), o.ranks)


if __name__ == "__main__":
    main()
