"""A puzzle: the shuffled layers of one residual network, and the data that it was trained on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pairing.arrays import Array32, Array64
from pairing.errors import InputError, shown
from pairing.html_repr import html_table
from pairing.model.activations import AUTO, activation_of
from pairing.model.grid import rounding_errors

PUBLISHED_DATA_SHA256 = "73bcf91b997b98ad94ef58ed4f9b5ca8af05f8d85b9cac3b1afe9773e7e30ffe"
"""SHA-256 of the published puzzle's data file; only with this very file, and its own pieces, is its hash known."""

PUBLISHED_DIGEST = "sha256:5011b96582a3d5402e95f83952d2472e337d14e51a72f1b3e55c08df6a605d5b"
"""The published puzzle's digest: its pieces under their published numbers, and its data."""

PUBLISHED_TARGET_HASH = "093be1cf2d24094db903cbc3e8d33d306ebca49c6accaa264e44b0b675e7d9c4"
"""The published puzzle's hash (contract: SHA-256 of the comma-joined piece numbers)."""


FEW_VALUES = 128
"""With more values of the target no order fits by chance."""

ROUNDING_KURTOSIS = 0.8
"""The variance of the square of a rounding error, as a part of its squared mean: it is uniform within half a step."""

ARITHMETIC = 4 / 3
"""The mean square of an addition's rounding, 1/12 of a squared step at most, times sixteen for what is not seen."""

FEW_STEPS = 8
"""A column of no more different values hardly changes against its grid: equal ones err together."""

SIZED_ROWS = 4096
"""About as many rows tell how large the inputs and the target are …"""
FELT_ROWS = 16
"""… and as many how large hidden units are."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Puzzle:
    """Pieces and data of one puzzle. N blocks, width d, hidden width h, o outputs, R rows.

    Inp and out pieces stand in the order of their piece numbers; indices into that order are what
    sigmas hold. A piece without a bias has a bias of zeros here.
    """

    inp_weight: Array32
    """(N, h, d) float32."""
    inp_bias: Array32
    """(N, h) float32."""
    out_weight: Array32
    """(N, d, h) float32."""
    out_bias: Array32
    """(N, d) float32."""
    last_weight: Array32
    """(o, d) float32."""
    last_bias: Array32
    """(o,) float32."""
    inp_numbers: tuple[int, ...]
    """The N piece numbers of the inp pieces, ascending."""
    out_numbers: tuple[int, ...]
    """The N piece numbers of the out pieces, ascending."""
    last_number: int
    """The last layer's piece number."""
    rows_in: Array32
    """(R, d) float32, the network's inputs, one row per sample."""
    targets: Mapping[str, Array64]
    """Target name (``pred``, ``true`` or another column) to (R, o) float64."""
    names: tuple[str, ...] = ()
    """The pieces' names, in their order, if their names hold no numbers; a piece number is then an index into them."""
    name: str = ""
    """The puzzle's own name."""
    activation: str = "relu"
    """The activation's name; ``auto`` if it is still to be chosen (``pairing.analysis.activation_choice``)."""
    target_hash: str | None = None
    """The hash of the right solution (lower-case hexadecimal), if it is known."""
    target: str = "pred"
    """The name of the target that the MSE is taken against."""

    @property
    def blocks(self) -> int:
        """N, the number of residual blocks."""
        return len(self.inp_weight)

    @property
    def width(self) -> int:
        """d, the width of the residual stream and the number of inputs."""
        return int(self.inp_weight.shape[2])

    @property
    def hidden(self) -> int:
        """h, the hidden width inside a block."""
        return int(self.inp_weight.shape[1])

    @property
    def outputs(self) -> int:
        """o, the number of outputs of the last layer."""
        return len(self.last_weight)

    @property
    def rows(self) -> int:
        """R, the number of samples."""
        return len(self.rows_in)

    @property
    def target_values(self) -> Array64:
        """(R, o) float64, the column or columns that the MSE is taken against.

        Raises:
            InputError: the data has no such column.
        """
        if self.target not in self.targets:
            known = shown(", ".join(sorted(self.targets))) or "none"
            raise InputError(f"the data has no target column '{shown(self.target)}'; it has: {known}. Use --target.")
        return self.targets[self.target]

    @cached_property
    def target_variance(self) -> float:
        """The target's variance over all rows and outputs (each output about its own mean)."""
        return float(np.mean(np.var(self.target_values, axis=0)))

    @cached_property
    def noise_floor(self) -> float:
        """The MSE that rounding the target makes, step² / 12 of the grid on which its values lie.

        Each output's grid is seen in its values (:mod:`pairing.model.grid`). Whole numbers count as labels, not as
        rounded, and give 0, like values of full precision.
        """
        return float(np.mean(self._rounding))

    @cached_property
    def _rounding(self) -> Array64:
        return rounding_errors(self.target_values)

    @cached_property
    def arithmetic_floor(self) -> float:
        """The MSE that float32's rounding gives the right solution, by the sizes of what is added up.

        The inputs, every block's bias, what its hidden units add (as the raw inputs move them), and the target itself
        pass through N additions, each of which rounds by up to half an epsilon. What grows on the way and is taken off
        again is not known before the order is.
        """
        some = slice(None, None, max(1, self.rows // SIZED_ROWS))
        inputs = np.mean(np.square(self.rows_in[some], dtype=np.float64), axis=0)
        biases = np.square(self.out_bias, dtype=np.float64).sum(axis=0)
        through = np.square(self.last_weight, dtype=np.float64) @ (inputs + biases + self._added_squares())  # (o,)
        outputs = np.mean(np.square(self.target_values[some] - self.last_bias), axis=0)
        epsilon = float(np.finfo(np.float32).eps)
        return float(np.mean(through + outputs)) * self.blocks * epsilon**2 * ARITHMETIC

    @np.errstate(over="ignore", invalid="ignore")
    def _added_squares(self) -> Array64:
        """(d,): the squares of all that hidden units add to each state at the raw inputs, on average, summed."""
        if self.activation == AUTO:
            return np.zeros(self.width)
        rows = self.rows_in[:: max(1, self.rows // FELT_ROWS)]
        hidden = rows @ self.inp_weight.transpose(0, 2, 1) + self.inp_bias[:, None, :]
        activation_of(self.activation).apply(hidden, hidden)
        squares = np.mean(np.square(hidden, dtype=np.float64), axis=(0, 1))
        weights = np.einsum("ndh,ndh->dh", self.out_weight, self.out_weight, dtype=np.float64)
        return np.asarray(np.nan_to_num(weights @ squares, posinf=0.0))

    @cached_property
    def rounded_mse(self) -> float:
        """The largest MSE that rounding, of the target and of the arithmetic, gives the right solution.

        The target's part counts 1.05 times, or with four standard errors of its mean added if the table is short.
        """
        expected, rows = self._rounding, self.rows
        if rows == len(expected):  # so few that it matters whether some are equal: these err together
            rows = len(np.unique(self.rows_in, axis=0))
        some = [len(np.unique(column[: len(expected)])) for column in self.target_values.T]
        independent = sum(count if count <= FEW_STEPS else rows for count in some)
        variance = ROUNDING_KURTOSIS * float(np.mean(np.square(expected))) / independent
        return self.noise_floor + max(0.05 * self.noise_floor, 4 * math.sqrt(variance)) + self.arithmetic_floor

    @property
    def solved_mse(self) -> float:
        """The largest MSE that counts as solved if no target hash is known.

        1e-9 of the target's variance (1e-12 in a short table, where many orders come near) or, where that is more,
        ``rounded_mse``.
        """
        part = 1e-9 if self.target_values.size > FEW_VALUES else 1e-12
        return max(part * self.target_variance, self.rounded_mse)

    @cached_property
    def digest(self) -> str:
        """``sha256:…``, the puzzle's identity, the same for every file format that holds it.

        Over shapes and float32 little-endian bytes of weights, biases, inputs and targets; names,
        activation and known hashes are no part of it.
        """
        state = hashlib.sha256(b"pairing puzzle 1\n")
        for label, array in sorted(self.arrays().items()):
            state.update(f"{label} {'x'.join(map(str, array.shape))}\n".encode())
            state.update(np.ascontiguousarray(array, dtype="<f4").data)
        numbers = [*self.inp_numbers, *self.out_numbers, self.last_number]
        state.update(",".join(map(str, numbers)).encode())
        return f"sha256:{state.hexdigest()}"

    def with_options(
        self, *, target: str | None = None, target_hash: str | None = None, activation: str | None = None
    ) -> Puzzle:
        """This puzzle with other options; ``None`` leaves a value as it is."""
        changes = {"target": target, "target_hash": target_hash, "activation": activation}
        return replace(self, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]

    def __repr__(self) -> str:
        """One line: its name and its sizes."""
        outputs = f"{self.outputs} output{'s' if self.outputs > 1 else ''}"
        sizes = f"{self.blocks} blocks of {self.width} × {self.hidden}, {outputs}, {self.rows:,} samples"
        return f"<Puzzle {self.name!r}: {sizes}, {self.activation}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: a short table."""
        rows = {
            "blocks": f"{self.blocks}, of width {self.width} with {self.hidden} hidden units ({self.activation})",
            "outputs": self.outputs,
            "samples": f"{self.rows:,}",
            "target": shown(self.target),
            "target hash": self.target_hash or "unknown",
        }
        return html_table(f"Puzzle {shown(self.name)}", rows)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Every array by its name; a target's is named ``target.<name>``."""
        layers = ("inp_weight", "inp_bias", "out_weight", "out_bias", "last_weight", "last_bias", "rows_in")
        arrays: dict[str, NDArray[np.floating]] = {name: getattr(self, name) for name in layers}
        return arrays | {f"target.{name}": values for name, values in self.targets.items()}
