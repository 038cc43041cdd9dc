"""Networks whose weights say little or nothing of the pairs, put together by the command: the data has to tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pairing.synthetic.recipe import Recipe
from tests.benchmarks.case import Case, Sample, Values
from tests.benchmarks.command import solved
from tests.benchmarks.networks import trained
from tests.benchmarks.puzzles import disguised
from tests.benchmarks.recipes import BenchmarkNetwork
from tests.benchmarks.record import Figure, share
from tests.support.puzzles import Planted


def briefly(blocks: int, width: int, epochs: int) -> BenchmarkNetwork:
    """A network of that many blocks and that width after so many epochs of small steps."""
    recipe = Recipe(blocks=blocks, width=width, rows=4000, epochs=epochs, learning_rate=1e-3)
    return BenchmarkNetwork(f"{blocks}x{width}-{epochs}", f"{blocks} blocks of width {width}, {epochs} epochs", recipe)


UNTRAINED = tuple(briefly(blocks, width, 0) for blocks in (16, 24, 32, 48) for width in (32, 48))
HARDLY_TRAINED = tuple(briefly(blocks, width, 1) for blocks in (16, 24, 32, 48) for width in (32, 48))
DEEP_AND_NARROW = (briefly(48, 24, 1), briefly(48, 24, 3), briefly(64, 32, 2))
LARGE = (briefly(96, 32, 0), briefly(192, 32, 0))

STUDIED = tuple((blocks, epochs) for epochs in (0, 10, 25, 50, 100, 150) for blocks in (8, 16))
"""Blocks and epochs of the networks of a study of which pairs can be told, whose own pipeline put none together."""
RETRAINED = (0, 2, 5, 10, 20, 60)
"""Epochs of the published network, trained again."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Networks that are to be put together in the same time; sample k is of the k-th, and again from the first."""

    name: str
    networks: Sequence[tuple[str, Callable[[Sample], Planted]]]
    """What each is called, and how a sample of it is made."""
    each: int
    """Samples of each network."""
    seconds: int
    """Of wall time, on two cores."""
    required: float | None
    """Per cent that must be put together."""
    published: bool = False
    """Whether their data is the published puzzle's."""


def recipes(networks: Sequence[BenchmarkNetwork]) -> list[tuple[str, Callable[[Sample], Planted]]]:
    return [(network.stands_for, partial(_trained, network)) for network in networks]


def _trained(network: BenchmarkNetwork, sample: Sample) -> Planted:
    return trained(network, sample.seed, sample.networks)


def _studied(blocks: int, epochs: int, sample: Sample) -> Planted:
    from tests.benchmarks.fitted import studied

    return studied(blocks, epochs, sample.seed)


def _retrained(epochs: int, sample: Sample) -> Planted:
    from tests.benchmarks.fitted import retrained

    return retrained(epochs, sample.seed)


KINDS = (
    Kind(name="untrained", networks=recipes(UNTRAINED), each=3, seconds=300, required=100),
    Kind(name="hardly trained", networks=recipes(HARDLY_TRAINED), each=3, seconds=300, required=100),
    Kind(name="deep and narrow", networks=recipes(DEEP_AND_NARROW), each=5, seconds=900, required=50),
    Kind(name="large untrained", networks=recipes(LARGE), each=1, seconds=900, required=None),
    Kind(
        name="studied",
        networks=[(f"{size[0]} blocks, {size[1]} epochs", partial(_studied, *size)) for size in STUDIED],
        each=5,
        seconds=20,
        required=100,
    ),
    Kind(
        name="retrained",
        networks=[(f"{epochs} epochs", partial(_retrained, epochs)) for epochs in RETRAINED],
        each=1,
        seconds=300,
        required=100,
        published=True,
    ),
)


def measured(kind: Kind, sample: Sample) -> Values:
    """``pairing solve`` with all methods on the sample's network."""
    name, make = kind.networks[sample.index % len(kind.networks)]
    return {"network": name, **solved(make(sample), kind.seconds)}


def figures_of(values: Sequence[Values], kind: Kind) -> list[Figure]:
    """How many are exact in time, and how long each network takes."""

    def seconds(value: Values) -> float:
        return value["seconds"] if value["exact"] and value["seconds"] <= kind.seconds else math.inf

    in_time = [math.isfinite(seconds(value)) for value in values]
    figures = [share(f"{kind.name}: exact within {kind.seconds} s", in_time, required=kind.required)]
    for name, _ in kind.networks:
        of_it = [seconds(value) for value in values if value["network"] == name]
        if of_it:
            what = f"{kind.name}, {name}: median"
            figures.append(Figure(what=what, measured=float(np.median(of_it)), unit="s", samples=len(of_it)))
    return figures


COMMAND = "data alone, whole command"
COMMAND_SECONDS = 40


def _command(sample: Sample) -> Values:
    """``pairing solve`` on the published puzzle without any signal."""
    return solved(disguised(sample.seed), 300, "--methods", "logit_search", "--seeds", "2")


def _command_figures(values: Sequence[Values]) -> list[Figure]:
    in_time = [value["exact"] and value["seconds"] <= COMMAND_SECONDS for value in values]
    seconds = float(np.median([value["seconds"] if value["exact"] else math.inf for value in values]))
    return [
        share(f"{COMMAND}: exact within {COMMAND_SECONDS} s", in_time, required=100),
        Figure(what=f"{COMMAND}: median", measured=seconds, unit="s", samples=len(values)),
    ]


CASES = (
    Case(name=COMMAND, measure=_command, figures=_command_figures, full=5, published=True),
    *(
        Case(
            name=kind.name,
            measure=partial(measured, kind),
            figures=partial(figures_of, kind=kind),
            full=kind.each * len(kind.networks),
            published=kind.published,
        )
        for kind in KINDS
    ),
)
