from dataclasses import replace

import numpy as np
import pytest

from battsim.errors import InputError
from battsim.post.gap import POINTS, Curve, common_capacities, curve_of, gap, gap_rows, rungs
from battsim.post.rows import LOSSES


def curve(end=20.0, shift=0.0, n=60, seconds=3600.0, losses=0.01):
    """A discharge of constant current whose voltage falls straight, so that interpolation is exact."""
    share = np.linspace(0.0, 1.0, n)
    capacity = end * share
    return Curve(
        time=seconds * share,
        capacity=capacity,
        voltage=4.2 - 0.04 * capacity + shift,
        losses={name: np.full(n, losses * (k + 1)) for k, name in enumerate(LOSSES)},
    )


def columns(sign=1.0, n=30):
    """Two steps: a rest of one row too few for a curve, then charge that passes at 24 A/m2."""
    share = np.linspace(0.0, 1.0, n)
    rest, time = np.array([0.0, 60.0]), 60.0 + 3000.0 * share
    return {
        "step": np.append(np.zeros(2), np.ones(n)),
        "time_s": np.append(rest, time),
        "capacity_Ah_m2": np.append([5.0, 5.0], 5.0 + sign * 20.0 * share),
        "voltage_V": np.append([4.0, 4.0], 4.0 - sign * 0.5 * share),
        "loss_kinetics_V": np.append([np.nan, np.nan], np.full(n, sign * 0.02)),
    }


# curves


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_curve_counts_time_and_charge_from_its_step_in_discharge_and_in_charge(sign):
    found = curve_of(columns(sign), 1)
    assert found is not None
    assert (found.time[0], found.time[-1]) == (0.0, 3000.0)
    np.testing.assert_allclose((found.capacity[0], found.capacity[-1]), (0.0, 20.0), atol=1e-12)
    assert found.voltage[-1] == pytest.approx(4.0 - sign * 0.5)
    assert np.all(found.losses["kinetics"] == sign * 0.02)
    assert np.all(np.isnan(found.losses["counter"]))  # the table lacks it


def test_a_rest_is_no_curve_and_neither_is_a_current_that_turns_round():
    assert curve_of(columns(), 0) is None
    assert curve_of(columns(), 2) is None
    rest = columns()
    rest["capacity_Ah_m2"][:] = 5.0
    assert curve_of(rest, 1) is None
    turning = columns()
    turning["capacity_Ah_m2"][-3:] = 20.0
    assert curve_of(turning, 1) is None


def test_a_pause_within_a_step_leaves_one_point():
    pausing = columns()
    pausing["capacity_Ah_m2"][10:14] = pausing["capacity_Ah_m2"][9]
    found, whole = curve_of(pausing, 1), curve_of(columns(), 1)
    assert found is not None
    assert whole is not None
    assert found.capacity.size == whole.capacity.size - 4
    assert np.all(np.diff(found.capacity) > 0.0)


# window


@pytest.mark.parametrize(("rate", "seconds"), [(1.0, 3600.0), (0.2, 18000.0), (2.0, 1800.0)])
def test_the_window_starts_after_a_minute_at_one_c_and_ends_before_the_smaller_end(rate, seconds):
    found = common_capacities([curve(20.0, seconds=seconds), curve(18.0)], rate)
    assert found.size == POINTS
    assert found[0] == pytest.approx(20.0 / 60.0)  # the same charge at every rate
    assert found[-1] == pytest.approx(0.95 * 18.0)
    np.testing.assert_allclose(np.diff(found), (found[-1] - found[0]) / (POINTS - 1))


def test_the_start_is_that_of_the_first_curve():
    assert common_capacities([curve(18.0), curve(20.0)], 1.0)[0] == pytest.approx(18.0 / 60.0)


def test_a_curve_that_ends_before_the_window_begins_is_refused():
    with pytest.raises(
        InputError, match=r"nothing to compare: .* starts 60 s .* at 0\.3333 Ah/m2, and ends at 0\.285 "
    ):
        common_capacities([curve(), curve(0.3)], 1.0)


# gap


def test_a_curve_has_no_gap_to_itself():
    found = gap(curve(), curve(), common_capacities([curve()], 1.0))
    assert found["voltage_rms_V"] == found["mean_voltage_difference_V"] == found["largest_voltage_difference_V"] == 0.0
    assert found["capacity_ratio"] == 1.0
    assert all(loss["difference_V"] == 0.0 for loss in found["losses"].values())


@pytest.mark.parametrize("shift", [0.0125, -0.03])
def test_a_shift_is_found_exactly_with_its_sign(shift):
    reference, other = curve(), curve(shift=shift, n=47)
    found = gap(reference, other, common_capacities([reference, other], 1.0))
    # straight lines: interpolation adds round-off only
    assert found["voltage_rms_V"] == pytest.approx(abs(shift), rel=1e-10)
    assert found["mean_voltage_difference_V"] == pytest.approx(shift, rel=1e-10)
    assert found["largest_voltage_difference_V"] == pytest.approx(shift, rel=1e-10)


def test_a_difference_that_grows_with_capacity_has_the_rms_of_its_line():
    reference = curve()
    other = replace(reference, voltage=reference.voltage - 1e-3 * reference.capacity)
    capacities = common_capacities([reference, other], 1.0)
    found = gap(reference, other, capacities)
    a, b = capacities[0], capacities[-1]
    # 2001 points stand for the integral to 1 / 2001
    assert found["voltage_rms_V"] == pytest.approx(1e-3 * np.sqrt((b**3 - a**3) / (3.0 * (b - a))), rel=1e-3)
    assert found["mean_voltage_difference_V"] == pytest.approx(-0.5e-3 * (a + b), rel=1e-10)
    assert found["largest_voltage_difference_V"] == pytest.approx(-1e-3 * b, rel=1e-10)


def test_capacities_and_losses_are_those_of_the_other_and_their_differences():
    reference, other = curve(20.0), curve(19.0, losses=0.015)
    found = gap(reference, other, common_capacities([reference, other], 1.0))
    assert found["capacity_Ah_m2"] == 19.0
    assert found["capacity_ratio"] == pytest.approx(0.95)
    for k, name in enumerate(LOSSES):
        assert found["losses"][name]["mean_V"] == pytest.approx(0.015 * (k + 1))
        assert found["losses"][name]["difference_V"] == pytest.approx(0.005 * (k + 1))


def test_a_loss_that_one_curve_lacks_has_no_number():
    other = curve()
    other = replace(other, losses={**other.losses, "kinetics": np.full(60, np.nan)})
    found = gap(curve(), other, common_capacities([curve()], 1.0))["losses"]
    assert found["kinetics"] == {"mean_V": None, "difference_V": None}
    assert found["counter"]["difference_V"] == 0.0
    found = gap(other, curve(), common_capacities([curve()], 1.0))["losses"]
    assert found["kinetics"] == {"mean_V": pytest.approx(0.03), "difference_V": None}


# ladder and table


def test_rungs_are_steps_that_add_up():
    curves = [curve(), curve(19.5, -0.01), curve(19.8, 0.005)]
    found = rungs(["first", "second", "third"], curves, common_capacities(curves, 1.0))
    assert [rung["rung"] for rung in found] == ["first", "second", "third"]
    assert (found[0]["dV"], found[0]["dQ_Ah_m2"]) == (None, None)
    assert [rung["dV"] for rung in found[1:]] == pytest.approx([-0.01, 0.015])
    assert [rung["dQ_Ah_m2"] for rung in found[1:]] == pytest.approx([-0.5, 0.3])
    assert found[-1]["mean_voltage_V"] - found[0]["mean_voltage_V"] == pytest.approx(0.005)


def test_rows_hold_voltages_differences_and_losses_at_equal_capacity():
    reference, other = curve(), curve(19.0, -0.02, losses=0.015)
    capacities = common_capacities([reference, other], 1.0)
    names, rows = gap_rows(reference, {"B": other}, capacities)
    table = dict(zip(names, rows.T, strict=True))
    assert names[:4] == ("capacity_Ah_m2", "voltage_V", "B_voltage_V", "B_difference_V")
    np.testing.assert_array_equal(table["capacity_Ah_m2"], capacities)
    np.testing.assert_allclose(table["B_difference_V"], -0.02, rtol=1e-10)
    np.testing.assert_allclose(table["voltage_V"] + table["B_difference_V"], table["B_voltage_V"], rtol=1e-12)
    for k, name in enumerate(LOSSES):
        np.testing.assert_allclose(table[f"B_more_{name}_V"], 0.005 * (k + 1), rtol=1e-10)
