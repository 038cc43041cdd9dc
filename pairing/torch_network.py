"""The residual network as a torch module. Importing this module imports torch."""

from __future__ import annotations

import torch
from torch import nn

from pairing.arrays import Array32

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}


class Block(nn.Module):
    """``x + out(act(inp(x)))``."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        """A block of this width and number of hidden units."""
        super().__init__()
        self.inp = nn.Linear(width, hidden)
        self.act = _ACTIVATIONS[activation]()
        self.out = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(S, d) → (S, d)."""
        branch: torch.Tensor = self.out(self.act(self.inp(x)))
        return x + branch


class ResidualNetwork(nn.Module):
    """Residual blocks, then a linear layer."""

    def __init__(self, blocks: int, width: int, hidden: int, outputs: int, activation: str) -> None:
        """A network of so many blocks."""
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, hidden, activation) for _ in range(blocks)))
        self.last = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network's outputs (S, o) for samples (S, d)."""
        outputs: torch.Tensor = self.last(self.blocks(x))
        return outputs


def network_of(state: dict[str, Array32], activation: str) -> ResidualNetwork:
    """The network with copies of these weights (:func:`pairing.export.state_of`)."""
    hidden, width = state["blocks.0.inp.weight"].shape
    blocks = len(state) // 4
    with torch.device("meta"):  # draws nothing from torch's random generator
        network = ResidualNetwork(blocks, width, hidden, len(state["last.bias"]), activation)
    network.load_state_dict({name: torch.tensor(array) for name, array in state.items()}, assign=True)
    return network
