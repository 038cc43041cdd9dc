"""A residual network in torch, and its training.

The network is ``x = x + out(act(inp(x)))`` for each block, then ``last(x)``; it is held as the list of
its linear layers in the order of application: ``inp, out, inp, out, …, last``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pairing.synthetic.recipe import Recipe

if TYPE_CHECKING:
    import torch


@contextmanager
def private_torch(seed: int) -> Iterator[None]:
    """Torch seeded and on one thread, so that sums have one order; both as before afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def make_linear_layers(
    blocks: int, width: int, hidden: int, outputs: int, branch_scale: float = 1.0
) -> list[torch.nn.Linear]:
    """Untrained layers, in torch's default initialization; weights and biases of out layers times ``branch_scale``."""
    import torch
    from torch import nn

    layers = []
    for _ in range(blocks):
        layers += [nn.Linear(width, hidden), nn.Linear(hidden, width)]
    with torch.no_grad():
        for out in layers[1::2]:
            out.weight.mul_(branch_scale)
            out.bias.mul_(branch_scale)
    return [*layers, nn.Linear(width, outputs)]


def train(layers: list[torch.nn.Linear], x: torch.Tensor, y: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Fit the layers to ``y``, in place: AdamW on the mean squared error, reshuffled each epoch.

    Returns:
        The trained network's output (rows, outputs) to ``x`` (rows, width).
    """
    import torch

    act = _activation(recipe.activation)
    weights = [weight for layer in layers for weight in layer.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    for _ in range(recipe.epochs):
        for batch in torch.split(torch.randperm(len(x)), recipe.batch_size):
            optimizer.zero_grad()
            loss = ((_forward(layers, act, x[batch]) - y[batch]) ** 2).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        return _forward(layers, act, x)


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch
    from torch.nn import functional

    bounded = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}
    function: Callable[[torch.Tensor], torch.Tensor] = bounded.get(name) or getattr(functional, name)
    return function


def _forward(
    layers: list[torch.nn.Linear], act: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> torch.Tensor:
    for inp, out in zip(layers[:-1:2], layers[1:-1:2], strict=True):
        x = x + out(act(inp(x)))
    outputs: torch.Tensor = layers[-1](x)
    return outputs
