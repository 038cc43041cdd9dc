"""Logit search: pairs and block order from the data alone, by gradient on logits of both.

Every step draws one whole network: pairs by an assignment of the logits (inp, out) plus Gumbel noise (perturb-and-MAP,
Papandreou and Yuille 2011), the order by sorting the blocks' scores plus normal noise. One pass forward and back of
log(MSE) on a few samples prices, to first order, every out piece at every block's place,
``G_ij = ⟨Σ_samples g_i [h_i; 1]ᵀ, [W_j b_j]⟩`` with h_i the hidden units of inp piece i and g_i the gradient behind its
block; and by commutators (:mod:`pairing.search.surrogate`) every preference "x right before y". Adam (Kingma and Ba
2015) moves logits and scores.

First in the *sampled* mode, which needs no foothold: a step's pairs are hard. Then in the *mean-field* mode, which
makes sure of what is known: the logits become evidence, and each block's out piece is the mixture that they make.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64, Indices
from pairing.assignment import best_pairs
from pairing.model import costs
from pairing.model.activations import activation_of
from pairing.model.costs import Cost
from pairing.model.forward import augmented_layers, columns_of
from pairing.model.puzzle import Puzzle


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The numbers of a search. What they were measured on is in ``docs/research/data-alone.md``."""

    samples: int = 64
    """Of a step: its gradient is noisy, and many such steps pay more than fewer exact ones."""
    leak: tuple[float, float] = (3e-3, 3e-4)
    """The part of logits and scores that a step takes away, first and last: without any, uncertain pairs freeze."""
    amplitude: float = 0.4
    """How far Adam's steps scatter logits and scores: each is this times √(2·leak)."""
    noise: tuple[float, float] = (0.4, 0.1)
    """Standard deviation of the scores' noise in the mean-field mode, first and last; 1 in the sampled mode."""
    mean_field: float = 0.4
    """Steps in the mean-field mode for each in the sampled one."""
    clip: float = 5.0
    """The largest norm of a gradient: single samples may blow up."""
    sweeps: int = 8
    """Of Sinkhorn's scaling of a mixture."""
    order_samples: int = 32
    """Of a step for the order alone, where the pairs are known: three such steps say more than one of 128 samples …"""
    order_rate: tuple[float, float] = (0.1, 0.01)
    """… that moves the scores so far, first and last …"""
    order_noise: tuple[float, float] = (1.0, 0.1)
    """… under a noise of this standard deviation."""


ARRAYS = ("values", "mean", "square", "evidence")
RECORDED = np.dtype("<f4")
MOST_SEARCHES = 100
"""Of a refinement: with lengths that double, more would take longer than anybody waits."""
FOOTHOLD_LOGIT = 1.0
"""Of the pairs that a search begins near: with 2 or more, wrong ones stay."""


@dataclass(kw_only=True, eq=False)
class Logits:
    """Where a search stands. ``values``, ``mean`` and ``square`` hold N² pairs (inp, out), then N blocks, float32."""

    number: int
    """Which of its refinement's searches it is, from 1."""
    length: int
    """Steps in the sampled mode."""
    values: Array32
    """The logits, and the scores."""
    mean: Array32
    """Adam's mean gradients …"""
    square: Array32
    """… and mean squared ones."""
    evidence: Array32
    """(N²,): what is added to the logits."""
    mean_field: bool = False
    steps: int = 0
    """Done in the present mode."""

    @property
    def blocks(self) -> int:
        """N."""
        return len(self.values) - len(self.evidence)

    @property
    def logits(self) -> Array32:
        """(N, N) float32, inp by out, evidence included."""
        flat: Array32 = self.values[: -self.blocks] + self.evidence
        return flat.reshape(self.blocks, self.blocks)

    @property
    def scores(self) -> Array32:
        """(N,) float32: the less, the earlier."""
        return self.values[-self.blocks :]

    def solution(self) -> tuple[Indices, Indices]:
        """The likeliest pairs and order, each (N,) int64."""
        return best_pairs(self.logits), np.argsort(self.scores)

    def to_json(self) -> dict[str, Any]:
        """A record that ``from_json`` makes the same of: plain numbers, and arrays in base64."""
        arrays = {name: getattr(self, name).astype(RECORDED).tobytes() for name in ARRAYS}
        numbers = {"number": self.number, "length": self.length, "mean_field": self.mean_field, "steps": self.steps}
        return numbers | {name: base64.b64encode(data).decode() for name, data in arrays.items()}

    @classmethod
    def from_json(cls, record: dict[str, Any], blocks: int) -> Logits:
        """What ``to_json`` recorded of a search of so many blocks.

        Raises:
            ValueError, TypeError, KeyError: the record is none of that, whoever wrote it.
        """
        sizes = dict.fromkeys(ARRAYS, blocks * (blocks + 1)) | {"evidence": blocks**2}
        arrays = {name: _array(record[name], size) for name, size in sizes.items()}
        number, length, steps, mean_field = (record[name] for name in ("number", "length", "steps", "mean_field"))
        if any(type(value) is not int for value in (number, length, steps)):
            raise TypeError("no number of steps")
        if not (1 <= number <= MOST_SEARCHES and 0 <= steps <= length < 2**40 and length):
            raise ValueError("no search that gets so far")
        if type(mean_field) is not bool:
            raise TypeError("no mode")
        return cls(number=number, length=length, steps=steps, mean_field=mean_field, **arrays)


def _array(text: Any, size: int) -> Array32:
    array = np.frombuffer(base64.b64decode(text, validate=True), RECORDED).astype(np.float32)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ValueError("no array of that size")
    return array


def begun(
    rng: np.random.Generator,
    length: int,
    blocks: int,
    evidence: Array64 | None = None,
    number: int = 1,
    foothold: tuple[Indices, Indices] | None = None,
) -> Logits:
    """A search of so many steps in the sampled mode (and some in the mean-field mode), from evidence (N, N) or none.

    It begins near the pairs and the order of ``foothold``, each (N,) int64, or from anywhere.
    """
    values = (0.1 * rng.standard_normal(blocks * blocks + blocks)).astype(np.float32)
    known = np.zeros((blocks, blocks), np.float32) if evidence is None else evidence.astype(np.float32)
    if foothold is not None:
        pairs, order = foothold
        known[np.arange(blocks), pairs] += np.float32(FOOTHOLD_LOGIT)
        values[-blocks:][order] = np.linspace(-1, 1, blocks) * np.sqrt(3)  # of unit variance, as their noise
    zeros = np.zeros_like(values)
    return Logits(number=number, length=length, values=values, mean=zeros, square=zeros.copy(), evidence=known.ravel())


class LogitSearch:
    """The steps of searches on one puzzle."""

    def __init__(self, puzzle: Puzzle, tuning: Tuning = Tuning()) -> None:
        """A step looks at so many samples of the puzzle as ``tuning`` says."""
        self.puzzle, self.tuning = puzzle, tuning
        self._layers = augmented_layers(puzzle)
        self._flat_out = self._layers.out.reshape(puzzle.blocks, -1)
        self.samples = min(tuning.samples, puzzle.rows)

    @property
    def cost(self) -> Cost:
        """Of a step."""
        pieces, weights = self._flat_out.shape
        products = 2 * pieces * pieces * (weights + self.samples * self.puzzle.width)
        return 2.5 * costs.forward(self.puzzle, self.samples) + products

    @property
    def order_cost(self) -> Cost:
        """Of a step for the order alone."""
        samples = min(self.tuning.order_samples, self.puzzle.rows)
        return 2.5 * costs.forward(self.puzzle, samples) + 2 * self.puzzle.blocks**2 * samples * self.puzzle.width

    def part(self, at: Logits) -> float:
        """Of the present mode that is done, 0 to 1."""
        return min(1.0, at.steps / (at.length * (self.tuning.mean_field if at.mean_field else 1)))

    def is_over(self, at: Logits) -> bool:
        """Whether there is no further step."""
        return at.mean_field and self.part(at) == 1

    def step(self, at: Logits, rng: np.random.Generator) -> None:
        """One step. One whose network overflows changes nothing."""
        tuning, blocks, part = self.tuning, at.blocks, self.part(at)
        noise = _between(tuning.noise, part) if at.mean_field else 1.0
        leak = _between(tuning.leak, part)
        logits, scores = at.logits, at.scores
        if at.mean_field:
            out = (sinkhorn(logits, tuning.sweeps) @ self._flat_out).reshape(self._layers.out.shape)
        else:
            pairs = best_pairs(logits + rng.gumbel(size=logits.shape))
            out = self._layers.out[pairs]
        order = np.argsort(scores + noise * rng.standard_normal(blocks))
        rows = rng.choice(self.puzzle.rows, self.samples, replace=False)
        at.steps += 1
        found = self.gradients(order, out, rows)
        if found is not None:
            prices, moves = found
            prices -= prices.mean(axis=0) + prices.mean(axis=1, keepdims=True) - prices.mean()
            preferences = _preferences(scores, noise, moves)
            gradient = np.concatenate([self._clipped(prices).ravel(), self._clipped(preferences)])
            at.values *= np.float32(1 - leak)
            _adam(at, gradient, tuning.amplitude * np.sqrt(2 * leak))
            at.values[-blocks:] -= at.scores.mean()
        if not at.mean_field and self.part(at) == 1:
            _become_mean_field(at, tuning.noise[0])

    def order_step(self, at: Logits, pairs: Indices, rng: np.random.Generator) -> None:
        """One step of a search for the order alone: ``at`` is ``of_order(…)``, the ``pairs`` (N,) int64 are known."""
        tuning, scores = self.tuning, at.scores
        part = at.steps / at.length
        noise = _between(tuning.order_noise, part)
        order = np.argsort(scores + noise * rng.standard_normal(at.blocks))
        rows = rng.choice(self.puzzle.rows, min(tuning.order_samples, self.puzzle.rows), replace=False)
        at.steps += 1
        passed = self._passed(order, self._layers.out[pairs], rows)
        if passed is not None:
            _adam(at, self._clipped(_preferences(scores, noise, passed.moves)), _between(tuning.order_rate, part))
            scores -= scores.mean()

    def _clipped(self, gradient: Array32) -> Array32:
        return gradient * np.float32(min(1.0, self.tuning.clip / (float(np.linalg.norm(gradient)) + 1e-12)))

    def gradients(self, order: Indices, out: Array32, rows: Indices) -> tuple[Array32, Array32] | None:
        """First-order changes of log(MSE) on the data rows ``rows`` of a network, its blocks in ``order`` (N,).

        ``out`` (N, d, h + 1) float32 is each block's out piece, with its bias as the last column. Two arrays (N, N):
        what each out piece adds at each inp piece's block, the present one's taken for zero; and what it costs that the
        first block is right behind the second rather than right before it. ``None`` where the network overflows.
        """
        passed = self._passed(order, out, rows)
        if passed is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            placed = passed.gradients @ passed.hidden.transpose(0, 2, 1)
            prices = np.asarray(placed.reshape(len(order), -1) @ self._flat_out.T, np.float32)
        return (prices, passed.moves) if np.isfinite(prices).all() else None

    @np.errstate(over="ignore", invalid="ignore")  # a wrong order may overflow
    def _passed(self, order: Indices, out: Array32, rows: Indices) -> _Passed | None:
        puzzle, layers = self.puzzle, self._layers
        act = activation_of(puzzle.activation)
        count, samples = len(order), len(rows)
        states = columns_of(puzzle.rows_in[rows])
        before = np.empty((count, puzzle.hidden, samples), np.float32)
        hidden = np.ones((count, puzzle.hidden + 1, samples), np.float32)
        branches = np.empty((count, puzzle.width, samples), np.float32)
        for block in order:
            np.matmul(layers.inp[block], states, out=before[block])
            act.apply(before[block], hidden[block, :-1])
            np.matmul(out[block], hidden[block], out=branches[block])
            states[:-1] += branches[block]
        residual = (puzzle.target_values[rows] - puzzle.last_bias).T - layers.last @ states[:-1]
        squared = float(np.sum(np.square(residual)))
        if not 0 < squared < np.inf:
            return None
        gradient = (layers.last.T @ (residual * (-2 / squared))).astype(np.float32)
        gradients, flows = np.empty_like(branches), np.empty_like(branches)
        for block in order[::-1]:
            gradients[block] = gradient
            inner = out[block, :, :-1].T @ gradient
            inner *= act.slope(before[block])
            np.matmul(layers.inp[block, :, :-1].T, inner, out=flows[block])
            gradient += flows[block]
        moves = flows.reshape(count, -1) @ branches.reshape(count, -1).T
        return _Passed(hidden, gradients, moves - moves.T) if np.isfinite(moves).all() else None


@dataclass(frozen=True, eq=False)
class _Passed:
    """What a pass forward and back of S samples tells of N blocks."""

    hidden: Array32
    """(N, h + 1, S): the hidden units, and 1 for the bias."""
    gradients: Array32
    """(N, d, S): of log(MSE) by each branch's output."""
    moves: Array32
    """(N, N): what it costs that the first block is right behind the second rather than right before it."""


def of_order(blocks: int, length: int) -> Logits:
    """A search of so many steps for the order alone, which begins with any."""
    zeros = np.zeros(blocks, np.float32)
    none = np.empty(0, np.float32)
    return Logits(number=1, length=length, values=zeros, mean=zeros.copy(), square=zeros.copy(), evidence=none)


def _preferences(scores: Array32, noise: float, moves: Array32) -> Array32:
    """(N,) float32: each block's gain from a later place, by those others that the noise brings next to it."""
    gap = (scores[:, None] - scores) / np.float32(np.sqrt(2) * noise)
    return np.asarray((np.exp(-gap * gap / 2) * moves).sum(axis=1))


def _become_mean_field(at: Logits, noise: float) -> None:
    """What the sampled mode has found becomes evidence; the scores keep their order, and spread as their noise does."""
    spread = float(at.scores.std())
    scores = at.scores * np.float32(noise / spread if spread > 0 else 1)
    at.evidence = at.logits.ravel()
    for array in (at.values, at.mean, at.square):
        array[:] = 0
    at.values[-at.blocks :] = scores
    at.mean_field, at.steps = True, 0


def _adam(at: Logits, gradient: Array32, rate: float) -> None:
    at.mean += np.float32(0.1) * (gradient - at.mean)
    at.square += np.float32(0.001) * (gradient * gradient - at.square)
    mean = at.mean / np.float32(1 - 0.9**at.steps)
    size = np.sqrt(at.square / np.float32(1 - 0.999**at.steps)) + np.float32(1e-8)
    at.values -= np.float32(rate) * mean / size


def _between(ends: tuple[float, float], part: float) -> float:
    """From the first to the last, by a constant factor a step."""
    return float(ends[0] * (ends[1] / ends[0]) ** part)


def sinkhorn(logits: NDArray[np.float32], sweeps: int) -> Array32:
    """Exponentials (N, N), scaled so that rows and columns sum to nearly 1 (Sinkhorn and Knopp 1967)."""
    mixture: Array32 = np.exp(logits - logits.max(axis=1, keepdims=True))
    tiny = np.float32(1e-30)
    for _ in range(sweeps):
        mixture /= mixture.sum(axis=1, keepdims=True) + tiny
        mixture /= mixture.sum(axis=0, keepdims=True) + tiny
    return mixture
