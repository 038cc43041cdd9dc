"""Tell a puzzle's pieces apart by their shapes: N inp layers, N out layers, one last layer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """One linear layer as it was found."""

    number: int
    file: Path
    place: str
    """Where it was found, for people."""
    name: str
    """Where its number is only the place of its name among all names: that name."""
    weight: NDArray[np.float32]
    """(rows, columns) float32."""
    bias: NDArray[np.float32]
    """(rows,) float32."""


def sort_pieces(pieces: list[Piece], width: int, data_file: Path) -> dict[str, Any]:
    """The stacked arrays and piece numbers that ``Puzzle`` takes, from pieces in the order of their numbers.

    ``width`` is the number of measurements in ``data_file``: inp layers (h, width) and the last layer (o, width)
    read it, out layers (width, h) write it. Nothing else about the shapes is assumed.

    Raises:
        PuzzleError: a piece fits nowhere, one is missing or surplus, or shapes do not tell the layers apart.
    """
    blocks, hidden, outputs = _find_shapes(pieces, width, data_file)
    kinds: dict[str, list[Piece]] = {"inp": [], "out": [], "last": []}
    for piece in pieces:
        kind = {(hidden, width): "inp", (width, hidden): "out", (outputs, width): "last"}[piece.weight.shape]
        kinds[kind].append(piece)
    assert len(kinds["inp"]) == len(kinds["out"]) == blocks  # noqa: S101 - _find_shapes has counted them # nosec B101
    inp, out, (last,) = kinds["inp"], kinds["out"], kinds["last"]
    return {
        "inp_weight": np.stack([p.weight for p in inp]),
        "inp_bias": np.stack([p.bias for p in inp]),
        "out_weight": np.stack([p.weight for p in out]),
        "out_bias": np.stack([p.bias for p in out]),
        "last_weight": last.weight,
        "last_bias": last.bias,
        "inp_numbers": tuple(p.number for p in inp),
        "out_numbers": tuple(p.number for p in out),
        "last_number": last.number,
        "names": tuple(piece.name for piece in pieces if piece.name),
    }


def _find_shapes(pieces: list[Piece], width: int, data_file: Path) -> tuple[int, int, int]:
    """``(N, h, o)`` of the only reading of the pieces' shapes that makes a whole network."""
    folder = pieces[0].file.parent
    counts = Counter(p.weight.shape for p in pieces)
    if counts.get((width, width), 0) > 1:
        raise PuzzleError(
            f"{folder}: pieces of shape ({width}, {width}) can be inp, out or last layers: the hidden width equals the"
            f" width {width}, so the shapes do not tell the layers apart. Such a network cannot be sorted"
        )
    for piece in pieces:
        if width not in piece.weight.shape:
            raise PuzzleError(
                f"{piece.place}: its shape {piece.weight.shape} does not fit the {width} measurements of"
                f" {data_file.name}; it belongs to another network, or the data does"
            )
    readings = []
    for hidden in {s[1] for s in counts if s[0] == width != s[1]}:
        blocks = counts[(width, hidden)]
        others = {s: n for s, n in counts.items() if s not in ((width, hidden), (hidden, width))}
        if counts.get((hidden, width)) == blocks and list(others.values()) == [1]:
            ((outputs, columns),) = others
            if columns == width:
                readings.append((blocks, hidden, outputs))
    if len(readings) == 1:
        return readings[0]
    gap = next((number for number, piece in enumerate(pieces) if piece.number != number), None)
    hint = "" if gap is None else f"; piece {gap} is missing, though numbers may have gaps"
    raise PuzzleError(_complaint(pieces, counts, width, folder) + hint)


def _complaint(pieces: list[Piece], counts: Counter[tuple[int, ...]], width: int, folder: Path) -> str:
    """Why the shapes make no network, naming a file where one piece is to blame."""
    shapes = ", ".join(f"{n} of {shape}" for shape, n in counts.most_common())
    for shape in (s for s, n in counts.most_common() if s[0] == width):
        outs, inps = counts[shape], counts.get((shape[1], width), 0)
        if inps == outs + 1 and len(counts) == 2:
            return (
                f"{folder}: there are {inps} pieces of {(shape[1], width)} and {outs} of {shape} and no other: the last"
                f" layer has as many outputs as the hidden width ({shape[1]}), so the shapes do not tell it from the"
                " inp layers, or it is missing. Such a network cannot be sorted"
            )
    if blamed := _strangers(pieces, counts, width):
        names = ", ".join(f"{p.place} {p.weight.shape}" for p in blamed)
        return (
            f"{names}: alone of that shape (found {shapes}); surplus or damaged"
            + (f", but for at most one that may be the last layer (outputs, {width})" if len(blamed) > 1 else "")
            + ". Copy the pieces again"
        )
    return (
        f"{folder}: the pieces make no whole network: as many (h, {width}) as ({width}, h) and one last layer"
        f" (outputs, {width}) are needed; found {shapes}. A piece is missing, surplus or doubled"
    )


def _strangers(pieces: list[Piece], counts: Counter[tuple[int, ...]], width: int) -> list[Piece]:
    """The pieces that stand alone with their shape and are to blame for it; empty where that cannot be told."""
    lone = [p for p in pieces if counts[p.weight.shape] == 1]
    odd = [p for p in lone if len(set(p.weight.shape)) == 1 or p.weight.shape[::-1] not in counts]
    lasts = [p for p in odd if p.weight.shape[1] == width]
    if len(lasts) == 1:  # that is the last layer
        lone.remove(lasts[0])
        odd.remove(lasts[0])
    if len(counts) < 3:  # rather something is missing
        return []
    return odd or (lone if len(counts) > 3 else [])
