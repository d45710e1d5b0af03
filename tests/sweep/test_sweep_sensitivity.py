"""Main effects, Sobol indices and fronts against functions whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from battsim.sweep.sensitivity import LEAST_R2, _fitted, main_effect, pareto_front, scatter, sensitivity

A, B = 7.0, 0.1


def ishigami(x: np.ndarray) -> np.ndarray:
    return np.sin(x[:, 0]) + A * np.sin(x[:, 1]) ** 2 + B * x[:, 2] ** 4 * np.sin(x[:, 0])


def exact_indices() -> tuple[dict[str, float], dict[str, float]]:
    """Ishigami and Homma (1990)."""
    one = 0.5 * (1.0 + B * np.pi**4 / 5.0) ** 2
    two, interaction = A**2 / 8.0, 8.0 * B**2 * np.pi**8 / 225.0
    whole = one + two + interaction
    first = {"x1": one / whole, "x2": two / whole, "x3": 0.0}
    return first, first | {"x1": (one + interaction) / whole, "x3": interaction / whole}


def points(n: int) -> dict[str, np.ndarray]:
    unit = qmc.Sobol(3, rng=np.random.default_rng(1)).random(n)
    return dict(zip(("x1", "x2", "x3"), qmc.scale(unit, [-np.pi] * 3, [np.pi] * 3).T, strict=True))


def test_indices_of_ishigami() -> None:
    x = points(512)
    found = sensitivity(x, ishigami(np.column_stack(list(x.values()))), np.random.default_rng(0))
    assert found is not None
    assert found.r2 > 0.95
    assert found.first_order is not None
    assert found.total is not None
    first, total = exact_indices()
    for name in x:
        # the surrogate misses 3 % of the variance
        assert found.first_order[name] == pytest.approx(first[name], abs=0.03)
        assert found.total[name] == pytest.approx(total[name], abs=0.03)


def test_a_surrogate_that_predicts_too_little_has_no_indices() -> None:
    x = points(64)
    found = sensitivity(x, ishigami(np.column_stack(list(x.values()))), np.random.default_rng(0))
    assert found is not None
    assert found.r2 < LEAST_R2
    assert found.first_order is None
    assert found.total is None


def test_noise_has_no_indices() -> None:
    rng = np.random.default_rng(5)
    found = sensitivity(points(64), rng.normal(size=64), rng)
    assert found is not None
    assert found.r2 < 0.3
    assert found.first_order is None


def test_a_plane_is_met_exactly() -> None:
    x = points(32)
    found = sensitivity(x, 3.0 * x["x1"] + x["x2"], np.random.default_rng(0))
    assert found is not None
    assert found.r2 == pytest.approx(1.0, abs=1e-9)
    assert found.first_order is not None
    # variances of 3 x1 and x2, over ranges that the 32 points fill to a few per cent
    assert found.first_order["x1"] == pytest.approx(0.9, abs=0.01)
    assert found.first_order["x2"] == pytest.approx(0.1, abs=0.01)


def test_replicates_count_by_their_mean() -> None:
    x = {"a": np.repeat(np.linspace(0.0, 1.0, 8), 2)}
    result = x["a"] + np.tile([1e-3, -1e-3], 8)
    found = sensitivity(x, result, np.random.default_rng(0))
    assert found is not None
    assert found.r2 == pytest.approx(1.0, abs=1e-9)
    assert (found.members, found.designs) == (16, 8)
    assert found.first_order == found.total == {"a": 1.0}  # all there is


def test_too_few_members_tell_nothing() -> None:
    x = {name: values[:7] for name, values in points(8).items()}
    repeated = {name: np.repeat(values, 3) for name, values in x.items()}  # 21 members, which are 7 designs
    assert sensitivity(repeated, repeated["x1"], np.random.default_rng(0)) is None
    assert sensitivity(x, x["x1"], np.random.default_rng(0)) is None
    assert sensitivity({"a": np.zeros(20)}, np.arange(20.0), np.random.default_rng(0)) is None
    assert sensitivity(points(32), np.ones(32), np.random.default_rng(0)) is None
    line = np.linspace(0.0, 1.0, 20)  # two parameters that always change together
    assert sensitivity({"a": line, "b": line}, line**2, np.random.default_rng(0)) is None


def test_scatter_of_replicates_by_hand() -> None:
    # means 2 and 6: MS_within = (2 + 2) / 2 = 2, MS_between = 16, s_d^2 = (16 - 2) / 2 = 7, share = 2 / 9
    found = scatter(np.array([1.0, 5.0, 3.0, 7.0]), np.array([0, 1, 0, 1]))
    assert found is not None
    assert found.deviation == pytest.approx(2.0**0.5)
    assert found.share == pytest.approx(2.0 / 9.0)
    assert (found.designs, found.members) == (2, 4)


def test_scatter_of_many_replicates_is_what_was_put_in_however_few_each_design_has() -> None:
    rng = np.random.default_rng(3)
    count = rng.integers(1, 4, 4000)
    design = np.repeat(np.arange(4000), count)
    found = scatter(rng.normal(0.0, 2.0, 4000)[design] + rng.normal(size=design.size), design)
    assert found is not None
    assert found.deviation == pytest.approx(1.0, abs=0.04)  # 3 standard errors, 1 / sqrt(2 x 4000) each
    assert found.share == pytest.approx(0.2, abs=0.02)  # 1 / (1 + 4); of sums of squares it would be near 0.1


def test_scatter_at_its_limits() -> None:
    alone = scatter(np.array([1.0, 3.0]), np.array([0, 0]))
    assert alone is not None
    assert (alone.share, alone.designs) == (None, 1)
    noise = scatter(np.array([1.0, 3.0, 3.0, 1.0]), np.array([0, 0, 1, 1]))  # equal means
    assert noise is not None
    assert noise.share == 1.0
    assert scatter(np.array([1.0, 2.0]), np.array([0, 1])) is None


def test_a_surrogate_of_too_many_designs_takes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("battsim.sweep.sensitivity.MOST_POINTS", 32)
    x = points(256)
    order = np.argsort(-x["x1"][:32])
    x = {name: np.concatenate([values[:32][order], values[32:]]) for name, values in x.items()}
    result = np.where(np.arange(256) < 32, 3.0 * x["x1"] + x["x2"], 1e3)
    found = sensitivity(x, result, np.random.default_rng(0))
    assert found is not None
    assert found.r2 == pytest.approx(1.0, abs=1e-9)  # of the plane; the others do not lie in it


@pytest.mark.parametrize("smoothing", [0.0, 1e-2])
def test_leaving_one_out_by_one_inverse_is_leaving_each_out(smoothing: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((25, 2))
    y = np.sin(5.0 * x[:, 0]) + x[:, 1] + 0.1 * rng.normal(size=25)
    missed = []
    for k in range(25):
        others = np.arange(25) != k
        without = _fitted(x[others], y[others], smoothing)
        assert without is not None
        missed.append(y[k] - without.at(x[k : k + 1])[0])
    fitted = _fitted(x, y, smoothing)
    assert fitted is not None
    assert fitted.r2 == pytest.approx(1.0 - np.sum(np.square(missed)) / np.sum((y - y.mean()) ** 2), abs=1e-9)


def test_main_effects() -> None:
    values, result = np.array([1.0, 2.0, 1.0, 2.0]), np.array([10.0, 30.0, 20.0, 50.0])
    found = main_effect(values, result)
    assert list(found.at) == [1.0, 2.0]
    assert list(found.mean) == [15.0, 40.0]
    assert found.spread == pytest.approx([50.0**0.5, 200.0**0.5])
    assert list(found.count) == [2, 2]
    binned = main_effect(np.arange(60.0), np.arange(60.0) ** 2)
    assert list(binned.count) == [10] * 6
    assert binned.at[0] == pytest.approx(4.5)
    assert main_effect(np.arange(60.0), np.arange(60.0), binned=False).at.size == 60


def test_the_front_is_what_nothing_beats() -> None:
    x, y = np.array([1.0, 2.0, 3.0, 2.0, 1.0, 3.0]), np.array([3.0, 2.0, 1.0, 1.0, 3.0, 0.5])
    assert list(pareto_front([x, y])) == [True, True, True, False, True, False]
