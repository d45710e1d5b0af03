"""Means of few values, with the error that so few leave."""

import numpy as np
import pytest

from battsim.post.spread import spread


def test_three_values() -> None:
    # Student's t at 97.5 % with two degrees of freedom is 4.302653
    found = spread([1.0, 2.0, 3.0])
    assert found == {"count": 3, "mean": 2.0, "std": 1.0, "error_95": pytest.approx(4.302653 / np.sqrt(3.0), rel=1e-6)}


def test_one_value_says_nothing_of_its_error() -> None:
    assert spread([2.5]) == {"count": 1, "mean": 2.5, "std": None, "error_95": None}


def test_values_that_are_not_known_are_left_out() -> None:
    assert spread([None, 1.0, None, 3.0])["count"] == 2
    assert spread([None]) == {"count": 0, "mean": None, "std": None, "error_95": None}


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [spread(list(rng.normal(3.0, 2.0, 4))) for _ in range(4000)]
    held = np.mean([abs(each["mean"] - 3.0) <= each["error_95"] for each in found])
    assert abs(held - 0.95) < 0.015
