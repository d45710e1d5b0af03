from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from battsim.post.geometry import mesh_geometry
from battsim.post.heat import HEATS, Heat
from battsim.post.rows import STEPS_COLUMNS, steps_row, timeseries_columns, timeseries_row
from battsim.post.summary import stop_reason, summary
from battsim.post.tally import ElectrodeState, Snapshot, advance, begin, snapshot

CONTRACT = (
    "time_s, step, current_A_m2, voltage_V, capacity_Ah_m2, energy_Wh_m2, soc, c_e_min_mol_m3, c_e_max_mol_m3, "
    "x_surf_min, x_surf_max, x_mean, x_outside_fit_share, temperature_K, loss_electrolyte_ohmic_V, "
    "loss_electrolyte_concentration_V, loss_kinetics_V, loss_solid_diffusion_V, loss_electronic_V, loss_counter_V"
)
HEAT = [*(f"heat_{name}_W_m2" for name in HEATS), "heat_W_m2"]
SUMMARY = {
    *("kind", "stop", "capacity_Ah_m2", "capacity_mAh_g", "energy_Wh_m2", "energy_Wh_kg_active", "mean_voltage_V"),
    *("current_1C_A_m2", "electrode_area_m2", "thickness_m", "active_disconnected_fraction", "lithium_imbalance"),
    *("charge_imbalance", "cells", "unknowns", "warnings", "baselines", "ladder"),
}


def state_at(time, current, voltage, lithium=1.0):
    electrode = ElectrodeState(1.0, lithium, 0.5, (0.5, 0.5), 0.0)
    work = current * voltage
    heat = Heat(0.1 * current**2, 0.0, 0.0, 0.0, -0.2 * voltage, 0.0, work, 0.1 * current**2 - 0.2 * voltage + work)
    return Snapshot(time, current, voltage, (electrode,), 1.0, (1000.0, 1000.0), 0.0, None, None, heat)


def tallied(current, n=100, end=10.0):
    """Sums over n equal steps under a current that depends on time."""
    times = np.linspace(0.0, end, n + 1)
    tally = begin(state_at(0.0, current(0.0), 4.0), 1.0)
    for before, time in pairwise(times):
        tally = advance(tally, state_at(time, current(time), 4.0 - 0.1 * time), time - before)
    return tally


@pytest.fixture(scope="module")
def run(half_cell):
    """A discharge to 3.75 V, half a minute of rest, and 20 s of charge: model, all sums and all rows."""
    cell, mesh, _ = half_cell.make_cell(half_cell.random_labels())
    one_c = cell.capacity / 3600.0
    state, tally, time, rows, taken = cell.uniform_state(0.3), None, 0.0, [], []
    for number, (rate, limit) in enumerate(((1.0, {"voltage": 3.75}), (0.0, {"time": 30.0}), (-1.0, {"time": 20.0}))):
        start = half_cell.started(cell, rate * one_c, state)
        now = snapshot(cell, time, start.u, start.reference, start.evaluation)
        tally, begun = begin(now, one_c, tally), time
        rows.append((number, now, tally, None))
        for step in half_cell.steps(start, **limit):
            time = begun + step.time
            now = snapshot(cell, time, step.u, step.reference, step.evaluation)
            tally = advance(tally, now, step.dt)
            rows.append((number, now, tally, step))
            taken.append(step)
        state = (step.u, step.reference)
    return cell, mesh, tally, rows


def test_columns_are_those_of_the_contract(run):
    cell, _, _, rows = run
    fixed = CONTRACT.split(", ")
    assert [*timeseries_columns(1)] == [*fixed, *HEAT]
    assert timeseries_columns(2)[: len(fixed)] == tuple(fixed)
    assert set(timeseries_columns(1)) < set(timeseries_columns(2))
    number, now, tally, step = rows[1]
    assert tuple(timeseries_row(cell, number, now, tally)) == timeseries_columns(1)
    assert tuple(steps_row(cell, number, step, now, 1.0)) == STEPS_COLUMNS


def test_first_row(run):
    cell, _, _, rows = run
    row = timeseries_row(cell, *rows[0][:3])
    active = cell.parameters.active
    assert (row["time_s"], row["step"], row["capacity_Ah_m2"], row["energy_Wh_m2"]) == (0.0, 0, 0.0, 0.0)
    assert row["current_A_m2"] == pytest.approx(cell.capacity / 3600.0 / cell.network.cross_section, rel=1e-12)
    window = active.stoichiometry_soc0 - active.stoichiometry_soc100
    assert row["soc"] == pytest.approx((active.stoichiometry_soc0 - 0.3) / window, rel=1e-12)
    assert row["x_mean"] == pytest.approx(0.3, rel=1e-12)
    assert row["x_surf_min"] > 0.3  # in discharge lithium enters through the surface
    assert (row["c_e_min_mol_m3"], row["c_e_max_mol_m3"], row["temperature_K"]) == (1000.0, 1000.0, 298.15)


def test_losses_are_written_under_current_and_left_empty_at_rest(run):
    cell, _, _, rows = run
    for number, now, tally, _ in rows:
        row = timeseries_row(cell, number, now, tally)
        found = [row[name] for name in row if name.startswith("loss_")]
        if number == 1:
            assert found == [None] * 6
        else:
            assert sum(found) == pytest.approx(now.losses.open_circuit - now.voltage, abs=1e-9)


def test_losses_that_do_not_sum_up_are_not_written(run):
    cell, mesh, tally, rows = run
    number, now, _, _ = rows[1]
    wrong = replace(now, losses=replace(now.losses, kinetics=now.losses.kinetics + 1e-5))
    row = timeseries_row(cell, number, wrong, tally)
    assert all(row[name] is None for name in row if name.startswith("loss_"))
    noted = advance(tally, replace(wrong, time=tally.now.time + 1.0), 1.0)
    assert any("losses miss U - V by up to 1.0e-05 V" in text for text in found(cell, mesh, noted)["warnings"])


def test_heats_are_written_at_rest_too_and_sum_up(run):
    cell, mesh, tally, rows = run
    area, given_off, before = cell.network.cross_section, 0.0, None
    for number, now, sums, step in rows:
        row = timeseries_row(cell, number, now, sums)
        *parts, total = (row[name] for name in HEAT)
        assert total == pytest.approx(sum(parts), rel=1e-12)
        assert row["heat_reaction_W_m2"] > 0.0
        assert row["heat_mixing_W_m2"] > 0.0
        work = row["voltage_V"] * row["current_A_m2"]
        assert work + total == pytest.approx(now.heat.release / area, abs=1e-9 * cell.capacity / 3600.0 / area)
        given_off += 0.0 if step is None else 0.5 * (total + before) * step.dt
        before = total
    assert found(cell, mesh, tally)["first_law_mismatch_V"] < 1e-9
    assert found(cell, mesh, tally)["heat_Wh_m2"] == pytest.approx(given_off / 3600.0, rel=1e-12)


def test_heats_that_miss_the_first_law_are_not_written(run):
    cell, mesh, tally, _ = run
    now, scale = tally.now, tally.current_scale
    wrong = replace(now, heat=replace(now.heat, mixing=now.heat.mixing + 1e-5 * scale))
    row = timeseries_row(cell, 2, wrong, tally)
    assert [row[name] for name in HEAT] == [None] * len(HEAT)
    noted = found(cell, mesh, begin(wrong, scale, tally))
    assert any("work and heat miss the energy released by up to 1.0e-05 V" in text for text in noted["warnings"])
    assert noted["first_law_mismatch_V"] == pytest.approx(1e-5, rel=1e-6)
    assert noted["heat_Wh_m2"] is None
    assert noted["energy_Wh_m2"] is not None
    assert not [text for text in found(cell, mesh, tally)["warnings"] if "heat" in text]


def found(cell, mesh, tally, **changes):
    return summary(cell, mesh_geometry(cell, mesh), tally, **{"protocol_step": 2, "reason": "time", **changes})


def test_lithium_charge_and_salt_balance_over_a_protocol(run):
    cell, _, tally, rows = run
    # balances of 1e-10 of the current per step; the last one is the sum over all steps
    assert 0.0 <= tally.lithium_imbalance < 1e-9  # 0 where both sums round alike
    assert tally.charge_imbalance < 1e-9
    assert tally.salt_drift < 1e-9
    for number, now, _, step in rows:
        if step is not None:
            row = steps_row(cell, number, step, now, cell.capacity / 3600.0)
            assert row["lithium_imbalance"] < 1e-9
            assert row["charge_imbalance"] < 1e-9


def test_capacity_is_current_times_time_and_energy_its_voltage(run):
    cell, _, tally, rows = run
    area, one_c = cell.network.cross_section, cell.capacity / 3600.0
    discharged = [item for item in rows if item[0] == 0][-1]
    row = timeseries_row(cell, *discharged[:3])
    # the last step onto the voltage carries the current to 1e-7
    assert row["capacity_Ah_m2"] == pytest.approx(one_c * row["time_s"] / 3600.0 / area, rel=1e-7)
    assert row["voltage_V"] == pytest.approx(3.75, abs=1e-9)
    assert tally.charge == pytest.approx(one_c * (row["time_s"] - 20.0), rel=1e-7)
    assert tally.throughput == pytest.approx(one_c * (row["time_s"] + 20.0), rel=1e-7)


def test_a_step_that_violates_the_balance_shows(run):
    cell, _, _, rows = run
    number, now, _, step = rows[2]
    u = step.u.copy()
    u[cell.layout.x] += 1e-9
    row = steps_row(cell, number, replace(step, u=u), now, step.current)
    lost = step.a * 1e-9 * cell.solid_capacity.sum() / step.current
    assert row["lithium_imbalance"] == pytest.approx(lost, rel=1e-3)
    off = snapshot(cell, 0.0, step.u, step.reference, replace(step.evaluation, current=1.1 * step.current))
    assert off.charge_imbalance == pytest.approx(0.1 * step.current, rel=1e-6)
    counter = replace(step.evaluation.counter, j=0.8 * step.evaluation.counter.j)
    off = snapshot(cell, 0.0, step.u, step.reference, replace(step.evaluation, counter=counter))
    assert off.charge_imbalance == pytest.approx(0.2 * step.current, rel=1e-6)


def test_charge_of_a_constant_current_and_energy_of_a_straight_voltage_are_exact():
    tally = tallied(lambda _: 2.0, n=7)
    assert tally.charge == pytest.approx(20.0, rel=1e-14)
    assert tally.energy == pytest.approx(2.0 * 10.0 * 3.5, rel=1e-14)
    assert tally.heat == pytest.approx((0.1 * 4.0 - 0.2 * 3.5) * 10.0, rel=1e-14)


def test_charge_of_a_varying_current_is_of_second_order():
    exact = np.sin(10.0)
    coarse, fine = (abs(tallied(np.cos, n=n).charge - exact) for n in (200, 400))
    # dt^2/3 times the integral of the third derivative of Q, to first order in dt
    assert coarse == pytest.approx(0.05**2 / 3.0 * abs(np.sin(10.0)), rel=0.2)
    assert 1.8 < np.log2(coarse / fine) < 2.2


def test_a_new_protocol_step_keeps_the_sums_and_jumps_in_power():
    tally = begin(state_at(10.0, -1.0, 3.0), 1.0, tallied(lambda _: 2.0))
    tally = advance(tally, state_at(14.0, -1.0, 3.0), 4.0)
    assert tally.charge == pytest.approx(16.0, rel=1e-14)
    assert tally.throughput == pytest.approx(24.0, rel=1e-14)
    assert tally.energy == pytest.approx(70.0 - 12.0, rel=1e-14)


def test_a_step_of_no_length_changes_no_sum():
    tally = tallied(lambda _: 2.0)
    assert advance(tally, state_at(10.0, 2.0, 3.0), 0.0).charge == tally.charge


def test_summary_has_the_keys_and_the_numbers_of_the_contract(run):
    cell, mesh, _, rows = run
    tally = [item for item in rows if item[0] == 0][-1][2]
    written = found(cell, mesh, tally, protocol_step=0, reason="voltage")
    assert set(written) >= SUMMARY
    area, n_active = 16e-12, np.count_nonzero(mesh.phase == 1)
    grams = n_active * 1e-18 * cell.parameters.active.density * 1e3
    assert written["stop"] == {"reason": "voltage", "step": 0, "time_s": tally.now.time}
    assert written["electrode_area_m2"] == pytest.approx(area, rel=1e-12)
    assert written["thickness_m"] == pytest.approx(6e-6, rel=1e-12)
    assert written["capacity_Ah_m2"] == pytest.approx(tally.charge / 3600.0 / area, rel=1e-12)
    assert written["capacity_mAh_g"] == pytest.approx(1e3 * tally.charge / 3600.0 / grams, rel=1e-12)
    assert written["energy_Wh_kg_active"] == pytest.approx(1e3 * tally.energy / 3600.0 / grams, rel=1e-12)
    assert written["mean_voltage_V"] == pytest.approx(tally.energy / tally.charge, rel=1e-12)
    assert 3.75 < written["mean_voltage_V"] < rows[0][1].voltage
    assert (written["cells"], written["unknowns"]) == (mesh.n_cells, cell.layout.size)
    assert found(cell, mesh, tally, current_1C=12.5)["current_1C_A_m2"] == 12.5


def test_an_isolated_particle_is_disconnected_and_still_weighs(half_cell):
    labels = np.zeros((4, 3, 3), int)
    labels[3], labels[1, 1, 1] = 1, 1
    cell, mesh, _ = half_cell.make_cell(labels)
    start = half_cell.started(cell, cell.capacity / 3600.0)
    now = snapshot(cell, 0.0, start.u, start.reference, start.evaluation)
    written = found(cell, mesh, begin(now, 1.0))
    assert written["active_disconnected_fraction"] == pytest.approx(0.1, rel=1e-12)
    assert written["mean_voltage_V"] is None  # nothing has passed yet
    assert written["current_1C_A_m2"] == pytest.approx(cell.capacity / 3600.0 / 9e-12, rel=1e-12)


def test_an_electrode_much_of_which_takes_no_part_says_so(half_cell):
    texts = []
    for isolated in (1, 3):  # rows of three, beside 36 connected cells
        labels = np.zeros((8, 3, 3), int)
        labels[4:] = 1
        labels[:isolated, 0] = 1
        cell, mesh, _ = half_cell.make_cell(labels)
        start = half_cell.started(cell, 1e-3 * cell.capacity / 3600.0)
        now = snapshot(cell, 0.0, start.u, start.reference, start.evaluation)
        written = found(cell, mesh, begin(now, 1.0))
        assert written["active_disconnected_fraction"] == pytest.approx(3 * isolated / (36 + 3 * isolated))
        texts.append([text for text in written["warnings"] if "takes no part" in text])
    assert texts[0] == []  # 8 %
    assert texts[1][0].startswith("20% of the phase active")
    assert len(texts[1]) == 1


@pytest.mark.parametrize("broken", ["lithium_imbalance", "charge_imbalance", "salt_drift"])
def test_numbers_whose_balance_failed_are_withheld(run, broken):
    cell, mesh, tally, _ = run
    wrong = {
        "lithium_imbalance": replace(tally, charge=tally.charge * (1.0 + 1e-6)),
        "charge_imbalance": replace(tally, charge_imbalance=2e-8),
        "salt_drift": replace(tally, now=replace(tally.now, salt=tally.now.salt * (1.0 + 1e-7))),
    }[broken]
    written = found(cell, mesh, wrong)
    for name in ("capacity_Ah_m2", "capacity_mAh_g", "energy_Wh_m2", "energy_Wh_kg_active", "mean_voltage_V"):
        assert written[name] is None
        assert found(cell, mesh, tally)[name] is not None
    assert written[broken] > 1e-8
    assert [text for text in written["warnings"] if text.startswith(broken)]
    assert not [text for text in found(cell, mesh, tally)["warnings"] if text.startswith(broken)]


def test_a_balanced_cycle_has_no_mean_voltage(run):
    cell, mesh, tally, _ = run
    closed = replace(tally, charge=1e-4 * tally.throughput)
    lithium = closed.start.electrodes[0].lithium + closed.charge
    closed = replace(closed, now=replace(closed.now, electrodes=(replace(closed.now.electrodes[0], lithium=lithium),)))
    written = found(cell, mesh, closed)
    assert written["capacity_Ah_m2"] is not None
    assert written["mean_voltage_V"] is None


@pytest.mark.parametrize(
    ("reason", "share", "expected"),
    [
        ("voltage", 0.51, "solid saturation"),
        ("voltage", 0.5, "voltage"),
        ("time", 0.9, "time"),
        ("salt depletion", 0.9, "salt depletion"),
    ],
)
def test_a_voltage_met_by_saturating_is_solid_saturation(reason, share, expected):
    assert stop_reason(reason, share) == expected


def test_warnings_name_what_left_its_range_and_what_was_left_out(half_cell):
    labels = np.zeros((5, 3, 3), int)
    labels[2:] = 1
    labels[3, 1, 1] = 0  # a closed pore: its salt and its potential are tied to the rest by reaction alone
    narrow = half_cell.make_active(fitted=(0.305, 0.9))
    cell, mesh, _ = half_cell.make_cell(labels, half_cell.make_parameters(narrow))
    start = half_cell.started(cell, 1e-3 * cell.capacity / 3600.0)
    now = snapshot(cell, 0.0, start.u, start.reference, start.evaluation)
    assert now.outside_share == 1.0  # the surface starts at x = 0.3
    tally = replace(begin(now, 1.0), c_e=(1.0, 1e4))
    texts = "\n".join(found(cell, mesh, tally)["warnings"])
    assert "up to 100.0% of the reacting surface was outside the range x = 0.305 to 0.9" in texts
    assert "c_e ran from 1 to 10000 mol/m3" in texts
    inside = replace(tally, outside_share=(0.0,), c_e=(900.0, 1100.0))
    assert "outside the range" not in "\n".join(found(cell, mesh, inside)["warnings"])
    assert "c_e ran" not in "\n".join(found(cell, mesh, inside)["warnings"])


def test_warnings_count_left_out_cells_and_floored_faces(half_cell):
    labels = half_cell.random_labels((8, 5, 5), seed=1)
    labels[:3] = 0
    labels[1, 2, 2] = 2  # binder that touches nothing but pore
    cell, mesh, _ = half_cell.make_cell(labels, half_cell.make_parameters(transport="impermeable"))
    start = half_cell.started(cell, cell.capacity / 3600.0)
    now = snapshot(cell, 0.0, start.u, start.reference, start.evaluation)
    texts = found(cell, mesh, begin(now, 1.0))["warnings"]
    left_out = cell.network.determined.left_out
    assert left_out
    for part in left_out:
        assert any(text.startswith(f"{part.potential} of {part.cells} {part.phase} cells") for text in texts)
    floored = sum(np.count_nonzero(pair.cosine == 0.05) for pair in mesh.interfaces)
    assert floored
    assert any(text.startswith(f"{floored} of ") for text in texts)
