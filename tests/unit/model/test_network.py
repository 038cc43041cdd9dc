"""The network's forward pass, its activations and its exact error, against torch and against plain formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pairing.errors import InputError
from pairing.model.activations import ACTIVATIONS, activation_of
from pairing.model.forward import CHUNK_ROWS
from pairing.model.network import Network, pairs_of
from pairing.model.puzzle import Puzzle
from pairing.synthetic.recipe import ACTIVATION_NAMES
from tests.support.puzzles import PLAIN_ACTIVATIONS, Planted, plain_mse, plant

MODULES = {
    "relu": "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "softplus": "Softplus",
}
Z = np.setdiff1d(np.linspace(-6, 6, 481), [0]).astype(np.float32).reshape(24, 20)


def by_torch(planted: Planted) -> np.ndarray:
    import torch

    def linear(weight: np.ndarray, bias: np.ndarray) -> torch.nn.Linear:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
        return layer

    puzzle, act = planted.puzzle, getattr(torch.nn, MODULES[planted.puzzle.activation])()
    with torch.no_grad():
        x = torch.tensor(puzzle.rows_in)
        for i, j in zip(planted.inp_sigma, planted.out_sigma, strict=True):
            inp = linear(puzzle.inp_weight[i], puzzle.inp_bias[i])
            out = linear(puzzle.out_weight[j], puzzle.out_bias[j])
            x = x + out(act(inp(x)))
        return linear(puzzle.last_weight, puzzle.last_bias)(x).numpy()


@pytest.mark.parametrize("shape", [{}, {"outputs": 3}, {"blocks": 1}, {"rows": 2 * CHUNK_ROWS + 3}], ids=str)
@pytest.mark.parametrize("activation", MODULES)
def test_forward_is_torchs(activation: str, shape: dict[str, int]) -> None:
    planted = plant(1, activation=activation, **shape)
    network = Network(planted.puzzle, planted.pairs)
    found = network.predict(planted.order, planted.puzzle.rows_in)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_torch(planted), rtol=1e-5, atol=1e-5)


def test_every_activation_is_known_here() -> None:
    assert set(MODULES) == set(PLAIN_ACTIVATIONS) == set(ACTIVATION_NAMES) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_in_place_and_elsewhere(name: str) -> None:
    expected = PLAIN_ACTIVATIONS[name](Z.astype(np.float64))
    elsewhere, in_place = np.empty_like(Z), Z.copy()
    activation_of(name).apply(Z, elsewhere)
    activation_of(name).apply(in_place, in_place)
    np.testing.assert_allclose(elsewhere, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(in_place, elsewhere)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_the_slopes(name: str) -> None:
    step = 1e-6
    act, z = PLAIN_ACTIVATIONS[name], Z.astype(np.float64)
    slope = activation_of(name).slope(Z)
    assert slope.dtype == np.float32
    np.testing.assert_allclose(slope, (act(z + step) - act(z - step)) / (2 * step), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_far_out_are_finite(name: str) -> None:
    far = np.array([[-1e4, -200.0, 200.0, 1e4]], np.float32)
    value = np.empty_like(far)
    activation_of(name).apply(far, value)
    assert np.isfinite(value).all()
    slope = activation_of(name).slope(far)
    near = {"tanh": 0.0, "sigmoid": 0.0}.get(name, 1.0)
    np.testing.assert_allclose(slope[0, 2:], near, atol=1e-6)
    np.testing.assert_allclose(slope[0, :2], 0.01 if name == "leaky_relu" else 0.0, atol=1e-6)


def test_slopes_at_a_kink_are_the_left_ones() -> None:
    zero = np.zeros((1, 1), np.float32)
    assert activation_of("relu").slope(zero)[0, 0] == 0
    assert activation_of("leaky_relu").slope(zero)[0, 0] == np.float32(0.01)


def test_an_unknown_activation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'swish'.*relu.*softplus") as caught:
        activation_of("swish")
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("shape", [{}, {"outputs": 3, "blocks": 2}, {"rows": CHUNK_ROWS + 1}, {"rows": 1}], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_full_error_is_the_plain_one(activation: str, shape: dict[str, int]) -> None:
    planted = plant(2, activation=activation, **shape)
    rng = np.random.default_rng(0)
    for target in ("pred", "true"):
        puzzle = replace(planted.puzzle, target=target)
        for _ in range(5):
            network = Network(puzzle, rng.permutation(puzzle.blocks))
            order = rng.permutation(puzzle.blocks)
            found, expected = network.full_mse(order), plain_mse(puzzle, *network.sigmas(order))
            assert type(found) is float
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-11)


def test_the_answer_has_no_error() -> None:
    planted = plant(3, blocks=10, rows=300)
    assert Network(planted.puzzle, planted.pairs).full_mse(planted.order) < 1e-11


def test_the_mean_is_accumulated_in_float64() -> None:
    planted = plant(4, rows=3000, blocks=1)
    offset = replace(planted.puzzle, targets={"pred": planted.puzzle.targets["pred"] + 4096.0})
    error = Network(offset, planted.pairs).full_mse(planted.order)
    assert error == pytest.approx(4096.0**2, rel=1e-9)


def test_the_order_may_be_a_list_and_the_data_stay_as_they_were() -> None:
    planted = plant(5)
    rows = planted.puzzle.rows_in.copy()
    network = Network(planted.puzzle, planted.pairs)
    assert network.full_mse(planted.order.tolist()) == network.full_mse(planted.order)
    np.testing.assert_array_equal(planted.puzzle.rows_in, rows)


def exploding(activation: str) -> Puzzle:
    puzzle = plant(6, activation=activation).puzzle
    return replace(
        puzzle, inp_weight=puzzle.inp_weight * np.float32(1e18), out_weight=puzzle.out_weight * np.float32(1e18)
    )


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "leaky_relu", "softplus"])
def test_overflow_is_an_infinite_error_and_no_warning(activation: str) -> None:
    assert Network(exploding(activation), np.arange(4)).full_mse(np.arange(4)) == float("inf")


def test_sigmas_and_pairs_are_each_others_inverse() -> None:
    planted = plant(7, blocks=6)
    network = Network(planted.puzzle, planted.pairs)
    sigmas = network.sigmas(planted.order)
    assert sigmas == (planted.inp_sigma, planted.out_sigma)
    assert all(type(k) is int for sigma in sigmas for k in sigma)
    np.testing.assert_array_equal(pairs_of(*sigmas), planted.pairs)
