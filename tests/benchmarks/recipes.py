"""The networks that the benchmarks train: recipes for ``make_puzzle``, written down before anything was tuned on them.

What the pairing methods make of them is in ``docs/networks.md``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from pairing.synthetic.make import DEFAULT_WIDTH
from pairing.synthetic.recipe import Recipe

SAMPLE_SEEDS: Final = 3
"""Networks of every recipe in a full run, each of a seed of its own."""


@dataclass(frozen=True)
class BenchmarkNetwork:
    """A trained network, but for its seed."""

    name: str
    stands_for: str
    recipe: Recipe

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change whenever the recipe does."""
        return hashlib.sha256(json.dumps(asdict(self.recipe), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def blocks(self) -> int:
        """N, the number of residual blocks."""
        return self.recipe.blocks

    @property
    def width(self) -> int:
        """d; the digits' 64 columns decide theirs."""
        return 64 if self.recipe.table == "digits" else self.recipe.width or DEFAULT_WIDTH


RECIPES: Final = (
    BenchmarkNetwork(
        "brief",
        "eight epochs and dropped: no weight signal tells half of the pairs",
        Recipe(blocks=16, width=16, rows=4000, epochs=8, learning_rate=1e-3),
    ),
    BenchmarkNetwork(
        "signs",
        "±1-like inputs, small steps: no weight signal tells half of the pairs",
        Recipe(blocks=20, width=32, rows=4000, epochs=10, learning_rate=1e-3, weight_decay=0.01, inputs="signs"),
    ),
    BenchmarkNetwork(
        "sigmoid",
        "an activation that is never negative: the trace is of either sign",
        Recipe(blocks=24, width=32, rows=5000, epochs=20, learning_rate=3e-3, weight_decay=0.01, activation="sigmoid"),
    ),
    BenchmarkNetwork(
        "softplus",
        "another such activation, twelve blocks",
        Recipe(blocks=12, width=24, rows=5000, epochs=15, learning_rate=3e-3, weight_decay=0.01, activation="softplus"),
    ),
    BenchmarkNetwork(
        "gelu",
        "the activation of transformers",
        Recipe(blocks=16, width=32, rows=4000, epochs=40, learning_rate=3e-3, weight_decay=0.01, activation="gelu"),
    ),
    BenchmarkNetwork(
        "tanh",
        "a bounded activation, 32 blocks",
        Recipe(blocks=32, width=24, rows=5000, epochs=20, learning_rate=3e-3, activation="tanh"),
    ),
    BenchmarkNetwork(
        "silu",
        "a smooth activation, every signal strong",
        Recipe(blocks=24, width=32, rows=6000, epochs=20, learning_rate=3e-3, weight_decay=0.01, activation="silu"),
    ),
    BenchmarkNetwork(
        "outputs",
        "three outputs",
        Recipe(blocks=24, width=32, rows=5000, epochs=15, learning_rate=3e-3, weight_decay=0.01, outputs=3),
    ),
    BenchmarkNetwork(
        "digits",
        "a real table: scikit-learn's digits, 64 columns, few of them informative",
        Recipe(blocks=16, epochs=30, learning_rate=3e-3, weight_decay=0.1, table="digits"),
    ),
    BenchmarkNetwork(
        "decay",
        "large steps and strong weight decay: small late branches",
        Recipe(blocks=20, width=24, rows=5000, epochs=30, learning_rate=1e-2, weight_decay=0.1),
    ),
    BenchmarkNetwork(
        "moderate",
        "32 blocks trained moderately: some signals strong, some not",
        Recipe(blocks=32, width=32, rows=6000, epochs=20, learning_rate=2e-3, weight_decay=0.01),
    ),
    BenchmarkNetwork(
        "deep",
        "64 blocks: most signals miss pairs",
        Recipe(blocks=64, width=32, rows=6000, epochs=40, learning_rate=5e-3, weight_decay=0.05, batch_size=128),
    ),
)
"""The networks that ``pairing solve`` must put together, whatever the methods make of their weights."""

HARD: Final = BenchmarkNetwork(
    "hard",
    "of the published network's size; most seeds' greedy and norm orders start worse than no network at all",
    Recipe(
        blocks=48, width=48, rows=6000, epochs=60, learning_rate=5e-3, weight_decay=0.05, batch_size=256, inputs="signs"
    ),
)
"""The network to be put in order from a random start."""

GROWTH: Final = tuple(
    BenchmarkNetwork(
        f"growth-{blocks}",
        "how time and memory grow with the number of blocks",
        Recipe(
            blocks=blocks,
            width=32,
            rows=4000,
            epochs=20,
            learning_rate=1e-3,
            weight_decay=0.05,
            batch_size=128,
            branch_scale=0.25,
        ),
    )
    for blocks in (16, 32, 64, 96, 192)
)
"""Networks that differ in their number of blocks alone."""


def fresh_seeds(run_seed: int, name: str, count: int) -> list[int]:
    """Seeds below 2³¹ for one benchmark run's samples of ``name``: others in every run, the same in a repeated one."""
    spread = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    state = np.random.SeedSequence([run_seed, spread]).generate_state(count, np.uint32)
    return [int(seed >> 1) for seed in state]
