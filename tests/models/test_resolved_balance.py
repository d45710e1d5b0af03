"""Lithium, salt and charge over a discharge and a rest; symmetry of the image; order in time."""

import numpy as np
import pytest

from battsim.materials.types import open_circuit
from battsim.models.cell.equations import Rate
from battsim.solvers.block import BlockSolver
from battsim.solvers.integrate import IntegrationSettings
from meshing.generate import spheres


def solver(cell):
    return BlockSolver(cell.networks, (2, 0, 1))


def lithium(cell, u):
    """Charge of the lithium in the active material, C."""
    return float(np.sum(cell.solid_capacity * u[cell.layout.x]))


def salt(cell, u):
    return float(np.sum(cell.salt_capacity * u[cell.layout.c_e]))


@pytest.fixture(scope="module")
def electrode(resolved):
    image = spheres((12, 12, 12), (1e-6,) * 3, 0.45, 0.15, 6e-6, 0.0, np.random.default_rng(2))
    return resolved.make_cell(image.labels, resolved.make_parameters(), layers=(3e-6, 2e-6, 1e-6))


@pytest.fixture(scope="module")
def discharged(resolved, electrode):
    """1C to 3.7 V with the settings that a user gets."""
    limits = resolved.limits(voltage=3.7)
    return resolved.discharge(
        electrode, electrode.capacity / 3600, limits=limits, settings=IntegrationSettings(), linear=solver(electrode)
    )


@pytest.fixture(scope="module")
def rested(resolved, discharged):
    """Six hours without current from the end of the discharge."""
    state = (discharged.last.u, discharged.last.reference)
    current = discharged.last.current
    return resolved.discharge(
        discharged.cell,
        0.0,
        limits=resolved.limits(time=21600.0),
        settings=IntegrationSettings(),
        linear=solver(discharged.cell),
        state=state,
        scale=current,
    )


def charge(run):
    return sum(step.current * step.dt for step in run.steps)


def test_discharge_ends_at_the_voltage_with_the_current(discharged):
    assert discharged.last.stop == "voltage"
    assert discharged.voltage() == pytest.approx(3.7, abs=1e-9)  # a row of the system, solved by Newton
    assert discharged.last.current == pytest.approx(discharged.cell.capacity / 3600, rel=1e-7)
    assert 0.3 < charge(discharged) / discharged.cell.capacity < 1.0


def test_lithium_changes_by_the_charge(discharged):
    cell = discharged.cell
    gained = lithium(cell, discharged.last.u) - lithium(cell, discharged.start[0])
    nominal = cell.capacity / 3600 * discharged.last.time
    # 1e-8 of the exchanged amount is required; the last step's current is within 1e-7 of the nominal one
    before = discharged.steps[-2]
    assert lithium(cell, before.u) - lithium(cell, discharged.start[0]) == pytest.approx(
        cell.capacity / 3600 * before.time, rel=1e-9
    )
    assert gained == pytest.approx(nominal, rel=1e-8)


def test_each_step_balances(discharged):
    cell, capacity = discharged.cell, discharged.cell.solid_capacity
    for step in discharged.steps:
        x = cell.layout.x
        entered = np.sum(capacity * step.a * (step.u[x] - step.u_star[x]))
        assert entered == pytest.approx(step.current, rel=1e-10)  # required


def test_equations_themselves_balance_in_any_state(resolved):
    # sums of the residual, before any correction of the inventories: what one cell loses another gains, to round-off
    cell = resolved.make_cell(resolved.random_labels())
    layout, network, rng = cell.layout, cell.network, np.random.default_rng(5)
    u, reference = cell.uniform_state(0.5)
    u[layout.x] = rng.uniform(0.3, 0.7, layout.n_solid)
    u[layout.c_e] = rng.uniform(500.0, 1500.0, layout.n_electrolyte)
    u[layout.potentials] = rng.uniform(-0.03, 0.03, layout.size - layout.potentials.start)
    rate, I = Rate(0.05, cell.uniform_state(0.5)[0]), 1e-9  # noqa: E741
    e = cell.evaluate(u, reference, rate, I)
    r, change = e.residual, rate.a * (u - rate.u_star)
    reaction, counter = np.sum(network.reactive.area * e.reaction.j), np.sum(network.counter.area * e.counter.j)
    stored = {"x": cell.solid_capacity @ change[layout.x], "c_e": cell.salt_capacity @ change[layout.c_e]}
    for total, parts in (
        (r[layout.x].sum(), (stored["x"], reaction)),
        (r[layout.c_e].sum(), (stored["c_e"], -reaction, -counter)),
        (r[layout.phi_s].sum() + r[layout.V], (reaction, I)),
        (r[layout.phi_e].sum(), (-reaction, -counter)),
    ):
        assert total == pytest.approx(sum(parts), abs=1e-12 * max(map(abs, parts)))


def test_correction_of_the_inventories_is_what_newton_left(discharged):
    # the sums of the residual are lithium and salt out of balance before the correction: Newton bounds both
    layout, bound = discharged.cell.layout, IntegrationSettings().newton.balance
    for step in discharged.steps:
        r = step.evaluation.residual
        assert abs(r[layout.x].sum()) <= bound * step.current
        assert abs(r[layout.c_e].sum()) <= bound * step.current


def test_salt_is_constant(discharged, rested):
    cell = discharged.cell
    start = salt(cell, discharged.start[0])
    for step in (*discharged.steps, *rested.steps):
        assert salt(cell, step.u) == pytest.approx(start, rel=1e-10)  # required
    assert np.ptp(discharged.last.u[cell.layout.c_e]) > 1.0


def test_current_is_the_same_through_every_interface(discharged):
    network = discharged.cell.network
    for step in discharged.steps:
        through_active = -np.sum(network.reactive.area * step.evaluation.reaction.j)
        from_lithium = np.sum(network.counter.area * step.evaluation.counter.j)
        assert through_active == pytest.approx(step.current, rel=1e-8)  # required
        assert from_lithium == pytest.approx(step.current, rel=1e-8)


def test_every_face_found_its_root(discharged):
    for step in discharged.steps:
        assert step.evaluation.reaction.converged.all()
        assert step.evaluation.counter.converged.all()
        assert step.residual <= IntegrationSettings().newton.rtol


def test_rest_keeps_the_lithium_and_ends_in_equilibrium(discharged, rested):
    cell = discharged.cell
    exchanged = charge(discharged)
    change = lithium(cell, rested.last.u) - lithium(cell, discharged.last.u)
    assert abs(change) < 1e-8 * exchanged  # required of a run
    x = rested.last.u[cell.layout.x][cell.network.electrodes[0].counts_for_capacity]
    weight = cell.network.solid_volume[cell.network.electrodes[0].counts_for_capacity]
    mean = np.array([np.average(x, weights=weight)])
    # after 21 600 s the slowest mode, R^2/(pi^2 D) = 200 s in a particle of 4 um, has gone; what is left is 1e-4 V
    # of currents between particles at a tolerance of 1e-3
    U = open_circuit(cell.parameters.active, mean, 298.15)[0][0]
    assert rested.voltage() == pytest.approx(U, abs=1e-4)
    assert np.ptp(x) < 1e-3
    assert np.ptp(rested.last.u[cell.layout.c_e]) < 0.1
    # it rises from the cut-off, and the way there is much longer than the tolerance
    assert rested.voltage() > 3.7 + 0.01


def test_rest_from_equilibrium_changes_nothing(resolved):
    cell = resolved.make_cell(resolved.random_labels())
    run = resolved.discharge(cell, 0.0, 0.5, limits=resolved.limits(time=1000.0), scale=cell.capacity / 3600)
    U = open_circuit(cell.parameters.active, np.array([0.5]), 298.15)[0][0]
    assert run.voltage() == pytest.approx(U, abs=1e-12)
    assert np.ptp(run.last.u[cell.layout.x]) < 1e-12


def test_charge_returns_what_the_discharge_took(resolved):
    cell = resolved.make_cell(resolved.random_labels())
    current, settings = cell.capacity / 1800, resolved.settings_of(balance=1e-10)
    out = resolved.discharge(cell, current, 0.4, limits=resolved.limits(time=300.0), settings=settings)
    state = (out.last.u, out.last.reference)
    back = resolved.discharge(cell, -current, limits=resolved.limits(time=300.0), settings=settings, state=state)
    assert back.voltage() > out.voltage() + 0.05
    # 1e-10 of the current in each step of both
    assert lithium(cell, back.last.u) == pytest.approx(lithium(cell, out.start[0]), abs=2e-10 * current * 600.0)


def voltage_of(resolved, labels, dt=5.0, time=50.0):
    cell = resolved.make_cell(labels, h=1e-6)
    limits, settings = resolved.limits(time=time), resolved.fixed_steps(dt)
    run = resolved.discharge(cell, 2.0 * cell.capacity / 3600, 0.3, limits=limits, settings=settings)
    return run.voltage()


def test_mirrored_and_turned_images_give_the_same_voltage(resolved):
    labels = resolved.random_labels((8, 5, 5), seed=3)
    plain = voltage_of(resolved, labels)
    # Newton leaves 1e-9 of the current; the cosines of the surface are single precision, 6e-8 of each area
    for other in (labels[:, ::-1], labels[:, :, ::-1], labels.transpose(0, 2, 1), np.rot90(labels, axes=(1, 2))):
        assert voltage_of(resolved, np.ascontiguousarray(other)) == pytest.approx(plain, abs=1e-9)
    assert abs(voltage_of(resolved, resolved.random_labels((8, 5, 5), seed=4)) - plain) > 1e-4


def test_two_copies_side_by_side_mirrored_at_their_contact_are_one(resolved):
    # a mirror plane carries no flux; the smoothed surface goes on unchanged there, which is not its mirror image,
    # so that the contact plane is a layer in which nothing varies across
    labels = resolved.random_labels((6, 4, 3), seed=6)
    labels = np.concatenate([np.repeat(labels[:, :1], 6, axis=1), labels], axis=1)
    double = np.concatenate([labels[:, ::-1], labels], axis=1)
    # the Gaussian reaches 4 x 1.2 voxels: six equal layers are enough
    assert voltage_of(resolved, double) == pytest.approx(voltage_of(resolved, labels), abs=2e-9)


def test_order_in_time_is_two(resolved):
    labels = np.array([0, 0, 1, 1, 1], np.uint8).reshape(5, 1, 1)
    voltages = np.array([voltage_of(resolved, labels, dt, 400.0) for dt in (40.0, 20.0, 10.0, 5.0, 1.25)])
    errors = np.abs(voltages[:-1] - voltages[-1])
    # the reference's own error is 1/16 of the last one's
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all(np.abs(orders - 2.0) < 0.3)
    assert errors[-1] < 1e-4


def test_voltage_converges_with_the_tolerance(resolved):
    cell = resolved.make_cell(resolved.random_labels((6, 3, 3)))
    limits = resolved.limits(time=600.0)
    voltages, counts = [], []
    for tolerance in (1e-3, 1e-4, 1e-5, 2e-6):
        settings = resolved.settings_of(tolerance=tolerance, rtol=1e-7, smallest_step=1e-6)
        run = resolved.discharge(cell, cell.capacity / 1800, 0.3, limits=limits, settings=settings)
        voltages.append(run.voltage())
        counts.append(len(run.steps))
    errors = np.abs(np.array(voltages[:-1]) - voltages[-1])
    assert errors[0] < 1e-3
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-5
