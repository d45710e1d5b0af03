"""Shared check of the materials: derivatives that a closure returns against differences of its own values."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def assert_derivative():
    def check(function, at, step, rtol=1e-7, floor=1e-30):
        """The second output of `function` against the five-point difference of the first at every point of `at`.

        The difference errs by O(step^4) and by round-off, eps |f| / step; both lie below rtol of the slope plus that
        round-off for the steps given, and a wrong factor or a missing term is far above.
        """
        value, slope = function(at)
        moved = [function(at + k * step)[0] for k in (-2, -1, 1, 2)]
        difference = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step)
        round_off = 10 * np.finfo(float).eps * np.abs(value) / step
        assert np.shape(value) == np.shape(slope) == np.shape(at)
        assert np.all(np.abs(slope - difference) <= rtol * np.abs(difference) + round_off + floor)

    return check
