"""Networks trained as others have: the published puzzle's again, on its own data, and those of a study of pairings."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from pairing.model.puzzle import Puzzle
from pairing.synthetic.training import make_linear_layers, private_torch
from tests.benchmarks.puzzles import published
from tests.support.puzzles import Planted, renumbered

STUDY_WIDTH, STUDY_ROWS = 16, 2000
"""Ours: the study's are not known."""


def retrained(epochs: int, seed: int) -> Planted:
    """A network of the published one's shape after so many epochs on its data: Adam at 1e-3, 1,024 samples a step,
    weight decay 1e-5, gradients clipped at 1."""
    puzzle = published().puzzle
    x, y = torch.from_numpy(puzzle.rows_in), torch.from_numpy(puzzle.targets["true"]).float()
    return _fitted(x, y, puzzle.blocks, epochs, 1024, seed, weight_decay=1e-5, clip=1.0)


def studied(blocks: int, epochs: int, seed: int) -> Planted:
    """A network after so many epochs on normal inputs and the target tanh(XA)b + c, with Adam at 1e-3 and 256 samples a
    step."""
    with private_torch(seed):
        x = torch.randn(STUDY_ROWS, STUDY_WIDTH)
        y = torch.tanh(x @ torch.randn(STUDY_WIDTH, STUDY_WIDTH) / math.sqrt(STUDY_WIDTH)) @ torch.randn(STUDY_WIDTH, 1)
        y += torch.randn(1)
    return _fitted(x, y, blocks, epochs, 256, seed)


def _fitted(
    x: torch.Tensor,
    y: torch.Tensor,
    blocks: int,
    epochs: int,
    batch: int,
    seed: int,
    *,
    weight_decay: float = 0.0,
    clip: float = math.inf,
) -> Planted:
    """A ReLU network, its blocks twice as wide as its states, fitted to ``y`` (R, 1), and dropped."""
    width = x.shape[1]
    with private_torch(seed):
        layers = make_linear_layers(blocks, width, 2 * width, 1)
        weights = [weight for layer in layers for weight in layer.parameters()]
        optimizer = torch.optim.Adam(weights, lr=1e-3, weight_decay=weight_decay)
        for _ in range(epochs):
            for some in torch.split(torch.randperm(len(x)), batch):
                optimizer.zero_grad()
                ((_output(layers, x[some]) - y[some]) ** 2).mean().backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(weights, clip)
                optimizer.step()
        pred = _output(layers, x).detach().double().numpy()
    inp, out, last = layers[:-1:2], layers[1:-1:2], layers[-1]
    whole = Puzzle(
        inp_weight=_stacked([layer.weight for layer in inp]),
        inp_bias=_stacked([layer.bias for layer in inp]),
        out_weight=_stacked([layer.weight for layer in out]),
        out_bias=_stacked([layer.bias for layer in out]),
        last_weight=last.weight.detach().numpy(),
        last_bias=last.bias.detach().numpy(),
        inp_numbers=tuple(range(0, 2 * blocks, 2)),
        out_numbers=tuple(range(1, 2 * blocks, 2)),
        last_number=2 * blocks,
        rows_in=x.numpy(),
        targets={"pred": pred},
        name="fitted",
    )
    sigma = tuple(range(blocks))
    return renumbered(Planted(puzzle=whole, inp_sigma=sigma, out_sigma=sigma), np.random.default_rng(seed))


def _output(layers: list[nn.Linear], x: torch.Tensor) -> torch.Tensor:
    for inp, out in zip(layers[:-1:2], layers[1:-1:2], strict=True):
        x = x + out(torch.relu(inp(x)))
    answer: torch.Tensor = layers[-1](x)
    return answer


def _stacked(parameters: list[nn.Parameter]) -> np.ndarray:
    return torch.stack([parameter.detach() for parameter in parameters]).numpy()
