"""The networks that the benchmarks train: recipes for ``make_puzzle``, written down before anything was tuned on them.

What the pairing methods make of them is in ``docs/networks.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pairing.synthetic.make import DEFAULT_WIDTH

SAMPLE_SEEDS: Final = 3
"""Networks of every recipe in a full run, each of a seed of its own."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A trained network, but for its seed."""

    name: str
    stands_for: str
    arguments: Mapping[str, Any]
    """Keyword arguments of :func:`pairing.synthetic.make.make_puzzle`, all but the folder and the seed."""

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change whenever an argument does."""
        text = json.dumps(dict(self.arguments), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def blocks(self) -> int:
        """N, the number of residual blocks."""
        return int(self.arguments["blocks"])

    @property
    def width(self) -> int:
        """d; the digits' 64 columns decide theirs."""
        return 64 if self.arguments.get("table") == "digits" else int(self.arguments.get("width", DEFAULT_WIDTH))


def _recipe(name: str, stands_for: str, **arguments: Any) -> Recipe:
    return Recipe(name=name, stands_for=stands_for, arguments=arguments)


RECIPES: Final = (
    _recipe(
        "brief",
        "eight epochs and dropped: no weight signal tells half of the pairs",
        blocks=16,
        width=16,
        rows=4000,
        epochs=8,
        learning_rate=1e-3,
    ),
    _recipe(
        "signs",
        "±1-like inputs, small steps: no weight signal tells half of the pairs",
        blocks=20,
        width=32,
        rows=4000,
        epochs=10,
        learning_rate=1e-3,
        weight_decay=0.01,
        inputs="signs",
    ),
    _recipe(
        "sigmoid",
        "an activation that is never negative: the trace is of either sign",
        blocks=24,
        width=32,
        rows=5000,
        epochs=20,
        learning_rate=3e-3,
        weight_decay=0.01,
        activation="sigmoid",
    ),
    _recipe(
        "softplus",
        "another such activation, twelve blocks",
        blocks=12,
        width=24,
        rows=5000,
        epochs=15,
        learning_rate=3e-3,
        weight_decay=0.01,
        activation="softplus",
    ),
    _recipe(
        "gelu",
        "the activation of transformers",
        blocks=16,
        width=32,
        rows=4000,
        epochs=40,
        learning_rate=3e-3,
        weight_decay=0.01,
        activation="gelu",
    ),
    _recipe(
        "tanh",
        "a bounded activation, 32 blocks",
        blocks=32,
        width=24,
        rows=5000,
        epochs=20,
        learning_rate=3e-3,
        activation="tanh",
    ),
    _recipe(
        "silu",
        "a smooth activation, every signal strong",
        blocks=24,
        width=32,
        rows=6000,
        epochs=20,
        learning_rate=3e-3,
        weight_decay=0.01,
        activation="silu",
    ),
    _recipe(
        "outputs",
        "three outputs",
        blocks=24,
        width=32,
        rows=5000,
        epochs=15,
        learning_rate=3e-3,
        weight_decay=0.01,
        outputs=3,
    ),
    _recipe(
        "digits",
        "a real table: scikit-learn's digits, 64 columns, few of them informative",
        blocks=16,
        epochs=30,
        learning_rate=3e-3,
        weight_decay=0.1,
        table="digits",
    ),
    _recipe(
        "decay",
        "large steps and strong weight decay: small late branches",
        blocks=20,
        width=24,
        rows=5000,
        epochs=30,
        learning_rate=1e-2,
        weight_decay=0.1,
    ),
    _recipe(
        "moderate",
        "32 blocks trained moderately: some signals strong, some not",
        blocks=32,
        width=32,
        rows=6000,
        epochs=20,
        learning_rate=2e-3,
        weight_decay=0.01,
    ),
    _recipe(
        "deep",
        "64 blocks: most signals miss pairs",
        blocks=64,
        width=32,
        rows=6000,
        epochs=40,
        learning_rate=5e-3,
        weight_decay=0.05,
        batch_size=128,
    ),
)
"""The networks that ``pairing solve`` must put together, whatever the methods make of their weights."""

HARD: Final = _recipe(
    "hard",
    "of the published network's size; most seeds' greedy and norm orders start worse than no network at all",
    blocks=48,
    width=48,
    rows=6000,
    epochs=60,
    learning_rate=5e-3,
    weight_decay=0.05,
    batch_size=256,
    inputs="signs",
)
"""The network to be put in order from a random start."""

GROWTH: Final = tuple(
    _recipe(
        f"growth-{blocks}",
        "how time and memory grow with the number of blocks",
        blocks=blocks,
        width=32,
        rows=4000,
        epochs=20,
        learning_rate=1e-3,
        weight_decay=0.05,
        batch_size=128,
        branch_scale=0.25,
    )
    for blocks in (16, 32, 64, 96, 192)
)
"""Networks that differ in their number of blocks alone."""


def fresh_seeds(run_seed: int, name: str, count: int) -> list[int]:
    """Seeds below 2³¹ for one benchmark run's samples of ``name``: others in every run, the same in a repeated one."""
    spread = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    state = np.random.SeedSequence([run_seed, spread]).generate_state(count, np.uint32)
    return [int(seed >> 1) for seed in state]
