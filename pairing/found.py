"""A solution together with the puzzle that it solves: for notebooks and scripts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from pairing.analysis.block_profile import block_profiles
from pairing.errors import shown
from pairing.export import module_of
from pairing.html_repr import html_table
from pairing.model.puzzle import Puzzle
from pairing.search.history import History
from pairing.solution import Solution

if TYPE_CHECKING:
    from pandas import DataFrame

    from pairing.plotting import SolutionFigure
    from pairing.torch_network import ResidualNetwork


@dataclass(frozen=True, kw_only=True, repr=False)
class FoundSolution(Solution):
    """What :func:`pairing.solve` returns: a solution, how it was found, and the puzzle that it belongs to."""

    puzzle: Puzzle = field(compare=False)
    """The puzzle, with the activation that was used."""
    method: str = field(compare=False)
    """The method that found the solution."""
    seconds: float = field(compare=False)
    """Time from the call to the verified solution, in seconds."""
    history: History = field(compare=False)
    """The trajectory of the search that found it."""

    @classmethod
    def of(cls, solution: Solution, puzzle: Puzzle, method: str, seconds: float, history: History) -> FoundSolution:
        """The solution with all that belongs to it."""
        known = {f.name: getattr(solution, f.name) for f in fields(Solution)}
        return cls(**known, puzzle=puzzle, method=method, seconds=seconds, history=history)

    def to_frame(self) -> DataFrame:
        """One row per block, in the order in which the blocks are applied.

        Columns: ``position``, ``inp piece`` and ``out piece`` (piece numbers; ``inp name`` and ``out name`` too if the
        pieces have names), ``inp norm`` and ``out norm`` (Frobenius norms of the weights), and ``relative change``
        (‖x' − x‖ / ‖x‖ for the states x before and x' after the block, over at most 1,000 samples).
        """
        from pandas import DataFrame

        puzzle, profiles = self.puzzle, block_profiles(self.puzzle, self)
        numbers = {"inp": self.permutation[:-1:2], "out": self.permutation[1::2]}
        columns: dict[str, object] = {"position": range(puzzle.blocks)}
        columns |= {f"{kind} piece": found for kind, found in numbers.items()}
        if puzzle.names:
            columns |= {f"{kind} name": [puzzle.names[n] for n in found] for kind, found in numbers.items()}
        columns |= {
            "inp norm": [block.inp_norm for block in profiles],
            "out norm": [block.out_norm for block in profiles],
            "relative change": [block.change for block in profiles],
        }
        return DataFrame(columns)

    def to_module(self) -> ResidualNetwork:
        """The network as a ``torch.nn.Module``, with float32 copies of the pieces' weights.

        If the solution is right, it maps the puzzle's inputs to its target. Parameters are named
        ``blocks.k.inp.weight``, …, ``last.bias``, as in the files of ``pairing assemble``.

        Raises:
            InputError: torch is not installed.
        """
        return module_of(self.puzzle, self.inp_sigma, self.out_sigma)

    def plot(self) -> SolutionFigure:
        """A matplotlib figure: the search's MSE over evaluations, and what each block changes, in the block order."""
        from pairing.plotting import solution_figure

        _, evaluations, mses = zip(*self.history.points, strict=True) if self.history.points else ((), (), ())
        title = f"{shown(self.puzzle.name) or 'puzzle'}: {self.verdict}, MSE {self.full_mse:.3g}"
        return solution_figure(title, evaluations, mses, [block.change for block in block_profiles(self.puzzle, self)])

    def __repr__(self) -> str:
        """One line: whether it solves the puzzle, which method found it, its MSE and its hash."""
        by = f"{self.verdict} by {self.method} in {self.seconds:.1f} s"
        return f"<FoundSolution of {len(self.inp_sigma)} blocks: {by}, MSE {self.full_mse:.3g}, hash {self.hash[:12]}…>"

    def _repr_html_(self) -> str:
        """What a notebook shows: a short table."""
        rows = {
            "method": self.method,
            "MSE": f"{self.full_mse:.3g} over {self.puzzle.rows:,} samples",
            "time": f"{self.seconds:.1f} s",
            "permutation": shown(",".join(map(str, self.permutation))),
            "hash": self.hash
            + {True: " (matches the target hash)", None: ""}.get(self.hash_match, " (not the target)"),
        }
        return html_table(f"{shown(self.puzzle.name) or 'puzzle'}: {self.verdict}", rows)
