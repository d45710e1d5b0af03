import dataclasses

import numpy as np
import pytest

from battsim.materials.library import ACTIVE_MATERIALS, active_material
from battsim.materials.nmc811_chen2020 import nmc811_chen2020
from battsim.materials.types import extend_by_end_slope, open_circuit


def exploding(x):
    assert np.all((x >= 0.2) & (x <= 0.8)), "evaluated outside the fitted range"
    return np.exp(40 * x), 40 * np.exp(40 * x)


def test_extension_is_straight_and_joins_in_value_and_slope():
    low, high = 0.2, 0.8
    extended = extend_by_end_slope(exploding, (low, high))
    outside = np.array([-1.0, 0.0, low, high, 1.0, 3.0])
    value, slope = extended(outside)
    end = np.where(outside < 0.5, low, high)
    np.testing.assert_allclose(value, np.exp(40 * end) * (1 + 40 * (outside - end)), rtol=1e-14)
    np.testing.assert_array_equal(slope, exploding(end)[1])


def test_extension_leaves_the_inside_alone():
    x = np.linspace(0.2, 0.8, 7)
    for mine, published in zip(extend_by_end_slope(exploding, (0.2, 0.8))(x), exploding(x), strict=True):
        np.testing.assert_array_equal(mine, published)


@pytest.mark.parametrize("name", ACTIVE_MATERIALS)
@pytest.mark.parametrize("T", [298.15, 273.15, 323.15])
def test_open_circuit_slope_over_the_whole_range_and_beyond(name, T, assert_derivative):
    material = active_material(name)
    x = np.linspace(0.0, 1.0, 1001)
    away = np.abs(x[:, None] - np.array(material.fitted)).min(axis=1) > 1e-3  # the curvature jumps at the ends
    assert_derivative(lambda at: open_circuit(material, at, T), x[away], step=1e-4, rtol=3e-6)  # h^4 U'''''


@pytest.mark.parametrize("name", ACTIVE_MATERIALS)
@pytest.mark.parametrize("T", [298.15, 323.15])
def test_open_circuit_is_continuous_at_the_ends_of_the_fit(name, T):
    material = active_material(name)
    for end in material.fitted:
        before, after = np.nextafter(end, 0.0), np.nextafter(end, 1.0)
        for quantity in zip(open_circuit(material, before, T), open_circuit(material, after, T), strict=True):
            np.testing.assert_allclose(*quantity, rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVE_MATERIALS)
def test_potential_falls_with_lithiation_everywhere(name):
    _, slope = open_circuit(active_material(name), np.linspace(0.0, 1.0, 1001), 298.15)
    bump = 4e-3 if name == "graphite-marquis2019" else 0.0  # the published fit rises by 0.04 mV around x = 0.32
    assert np.all(slope < bump)


def test_temperature_enters_through_the_entropic_coefficient():
    material = dataclasses.replace(
        nmc811_chen2020(), entropic=lambda x: (1e-4 * np.asarray(x), np.full(np.shape(x), 1e-4))
    )
    x = np.array([0.1, 0.5, 0.99])
    warm, dwarm = open_circuit(material, x, 308.15)
    cold, dcold = open_circuit(material, x, 298.15)
    np.testing.assert_allclose(warm - cold, 10 * 1e-4 * x, rtol=1e-9)  # cancellation of 4 V against 1 mV
    np.testing.assert_allclose(dwarm - dcold, 10 * 1e-4, rtol=1e-9)


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        nmc811_chen2020().density = 1.0
