"""What holds for every move of the search, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairing.model.network import Network
from pairing.search.moves.perturb import perturb
from pairing.search.moves.prefer import prefer
from pairing.search.moves.relocate import relocate
from pairing.search.moves.repair import repair
from pairing.search.moves.window import perturb_linearized
from pairing.search.state import Search, State
from tests.support.puzzles import Planted, plant
from tests.support.refining import finished

Move = Callable[[Search], Generator[bool, None, bool]]

MOVES: tuple[Move, ...] = (prefer, perturb, perturb_linearized, relocate, repair)

BLOCKS = 12


def search_near(planted: Planted, seed: int, shuffled: int, wrong: int) -> Search:
    """A search that stands at the right order but for some blocks, with some wrong pairs, as after a first descent."""
    rng = np.random.default_rng(seed)
    order, pairs = planted.order.copy(), planted.pairs.copy()
    places = np.sort(rng.permutation(len(order))[:shuffled])
    order[places] = order[rng.permutation(places)]
    blocks = rng.permutation(len(order))[:wrong]
    pairs[blocks] = pairs[np.roll(blocks, 1)]
    nan, inf = float("nan"), float("inf")
    state = State(pairs=pairs, order=order, error=nan, best_pairs=pairs, best=order, best_error=inf, rng=rng)
    search = Search(Network(planted.puzzle, pairs), order, state, np.random.default_rng(0), None, repair=True)
    state.error = search.error(search.present, order, search.yardstick)
    search.note(state.error)
    return search


@pytest.mark.parametrize("move", MOVES)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shuffled=st.integers(0, BLOCKS), wrong=st.sampled_from([0, 2, 3]))
def test_a_move_leaves_a_sound_state_and_tells_the_truth_of_it(
    move: Move, seed: int, shuffled: int, wrong: int
) -> None:
    planted = plant(seed % 7, blocks=BLOCKS, rows=300, known=False)
    search, again = (search_near(planted, seed, shuffled, wrong) for _ in range(2))
    before = search.state.to_json()
    changed = finished(move(search))
    state = search.state
    assert sorted(state.order.tolist()) == sorted(state.pairs.tolist()) == list(range(BLOCKS))
    assert state.best_error <= before["best_error"]
    assert state.evaluations > before["evaluations"] or not changed
    for pairs, order, error in (
        (state.pairs, state.order, state.error),
        (state.best_pairs, state.best, state.best_error),
    ):
        exact = search.error(Network(planted.puzzle, pairs), order, search.yardstick)
        assert error == pytest.approx(exact, rel=1e-4, abs=1e-9 * planted.puzzle.target_variance)
    assert finished(move(again)) == changed  # the generator decides, and nothing else
    assert again.state.order.tolist() == state.order.tolist()


@pytest.mark.parametrize(("move", "wrong"), [(perturb, 0), (perturb_linearized, 0), (relocate, 0), (repair, 3)])
@pytest.mark.slow
def test_a_move_alone_leads_down(move: Move, wrong: int) -> None:
    """Of forty searches, six moves lower the MSE of most, and to less than half of it at the median."""
    ratios = []
    for seed in range(40):
        search = search_near(plant(seed % 5, blocks=BLOCKS, rows=300, known=False), seed, 4, wrong)
        begun = search.state.error
        for _ in range(6):
            finished(move(search))
        ratios.append(search.state.best_error / begun if begun > 0 else 0.0)
    assert np.median(ratios) < 0.5
    assert np.mean(np.array(ratios) < 1) > 0.7


def test_preferences_lead_down_from_any_order() -> None:
    ratios = []
    for seed in range(20):
        search = search_near(plant(seed % 5, blocks=BLOCKS, rows=300, known=False), seed, BLOCKS, 0)
        begun = search.state.error
        finished(prefer(search))
        ratios.append(search.state.error / begun)
    assert np.median(ratios) < 0.6
