"""Put a solved puzzle's network together again, as one file of weights or as a torch module."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pairing.arrays import Array32
from pairing.errors import InputError, PairingError
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.search.noise import noise_of
from pairing.solution import permutation_of
from pairing.torch_missing import require_torch

if TYPE_CHECKING:
    from pairing.torch_network import ResidualNetwork

TORCH_SUFFIXES = (".pt", ".pth")


class AssemblyError(PairingError):
    """The network that was put together does not predict the data's target."""


def state_of(puzzle: Puzzle, inp_sigma: tuple[int, ...], out_sigma: tuple[int, ...]) -> dict[str, Array32]:
    """The network's state dict: ``blocks.k.inp.weight``, …, ``blocks.k.out.bias``, ``last.weight``, ``last.bias``."""
    state: dict[str, Array32] = {}
    for k, (i, o) in enumerate(zip(inp_sigma, out_sigma, strict=True)):
        state[f"blocks.{k}.inp.weight"] = puzzle.inp_weight[i]
        state[f"blocks.{k}.inp.bias"] = puzzle.inp_bias[i]
        state[f"blocks.{k}.out.weight"] = puzzle.out_weight[o]
        state[f"blocks.{k}.out.bias"] = puzzle.out_bias[o]
    return state | {"last.weight": puzzle.last_weight, "last.bias": puzzle.last_bias}


def assemble(puzzle: Puzzle, inp_sigma: tuple[int, ...], out_sigma: tuple[int, ...], out: Path) -> float:
    """Writes the network to ``out`` (.pt, .pth or .safetensors), reads it back and gives its MSE over all samples.

    Raises:
        InputError: ``out`` has another ending or cannot be written, torch is missing, or a sigma is no permutation.
        AssemblyError: the network misses the target by more than a solution may; nothing is left behind.
    """
    if out.suffix not in (*TORCH_SUFFIXES, ".safetensors"):
        raise InputError(f"{out}: should end in .pt, .pth (a torch state dict) or .safetensors")
    if out.suffix in TORCH_SUFFIXES:
        require_torch(f"{out}: a torch state dict", f"; or name {out.with_suffix('.safetensors')}, which needs none")
    permutation_of(puzzle, inp_sigma, out_sigma)
    partial = out.with_name(f".{out.name}.partial{out.suffix}")
    try:
        partial.write_bytes(_file_of(state_of(puzzle, inp_sigma, out_sigma), out.suffix, puzzle.activation))
        error = _error(puzzle, _read(partial))
        if error > puzzle.solved_mse and not _is_noise(puzzle, inp_sigma, out_sigma, error):
            raise AssemblyError(
                f"the network that this solution makes has an MSE of {error:.3g} over all samples, and the right one"
                f" at most {puzzle.solved_mse:.3g}; nothing was written. Solve the puzzle first"
            )
        partial.replace(out)
    except OSError as error_:
        raise InputError(f"{out}: cannot be written ({error_.strerror}); choose another place") from error_
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return error


def module_of(puzzle: Puzzle, inp_sigma: tuple[int, ...], out_sigma: tuple[int, ...]) -> ResidualNetwork:
    """The network as a ``torch.nn.Module``, with copies of the pieces' weights.

    Raises:
        InputError: torch is missing, or a sigma is no permutation.
    """
    require_torch("a torch module")
    from pairing.torch_network import network_of

    permutation_of(puzzle, inp_sigma, out_sigma)
    return network_of(state_of(puzzle, inp_sigma, out_sigma), puzzle.activation)


def _is_noise(puzzle: Puzzle, inp_sigma: tuple[int, ...], out_sigma: tuple[int, ...], error: float) -> bool:
    order = np.array(inp_sigma, np.int64)
    return noise_of(Network(puzzle, pairs_of(inp_sigma, out_sigma)), order, error) is not None


def _file_of(state: dict[str, Array32], suffix: str, activation: str) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in state.items()}
    if suffix not in TORCH_SUFFIXES:
        from safetensors.numpy import save

        return save(contiguous, {"activation": activation})
    import torch

    file = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in contiguous.items()}, file)
    return file.getvalue()


def _read(path: Path) -> dict[str, Array32]:
    if path.suffix in TORCH_SUFFIXES:
        import torch

        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in loaded.items()}
    from safetensors.numpy import load_file

    found: dict[str, Array32] = load_file(path)
    return found


def _error(puzzle: Puzzle, state: dict[str, Array32]) -> float:
    def stacked(name: str) -> Array32:
        return np.stack([state[f"blocks.{k}.{name}"] for k in range(puzzle.blocks)])

    whole = replace(
        puzzle,
        inp_weight=stacked("inp.weight"),
        inp_bias=stacked("inp.bias"),
        out_weight=stacked("out.weight"),
        out_bias=stacked("out.bias"),
        last_weight=state["last.weight"],
        last_bias=state["last.bias"],
    )
    order = np.arange(puzzle.blocks)
    return Network(whole, order).full_mse(order)
