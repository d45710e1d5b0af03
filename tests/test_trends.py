"""Findings of the literature as trends on generated electrodes, seed by seed, with a sign test that can fail.

`pytest -m slow tests/test_trends.py` runs all that benchmarks/accuracy/TRENDS.md tells. That flattened
particles, broad size distributions and the surface under binder do the same is in tests/meshing.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "accuracy"))  # a script beside its modules

import trends


def hold(claims, found):
    """Every claim, by a sign test over the seeds."""
    for claim in claims:
        differences = claim.differences(found)
        told = f"{claim.larger} less {claim.smaller}: " + ", ".join(f"{each:.4g}" for each in differences)
        assert trends.sign_test(differences) < trends.CHANCE, told


def test_the_sign_test_is_the_binomial_one():
    assert trends.sign_test([1.0] * 5) == pytest.approx(1 / 32)
    assert trends.sign_test([1.0] * 4 + [-1.0]) == pytest.approx(6 / 32)
    assert trends.sign_test([1.0] * 7 + [-2.0]) == pytest.approx(9 / 256)
    assert trends.sign_test([1.0] * 4 + [0.0]) == pytest.approx(6 / 32)  # no difference is none
    assert trends.sign_test([-1.0] * 5) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", trends.TRENDS)
def test_trend(name):
    trend = trends.TRENDS[name]
    found = [trend.measure(seed) for seed in trends.seeds_of(name)]
    hold(trend.claims, found)
