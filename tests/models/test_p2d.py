"""The homogenised cell: against PyBaMM's converged curves, exact limits, balances, and its own linear solver."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "accuracy"))  # scripts, not a package

from p2d_cells import chen2020, discharged

from battsim.constants import FARADAY
from battsim.materials.closures import constant
from battsim.models.cell.equations import Rate
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.parameters import P2DGrid, Particles
from battsim.models.p2d.places import LinePlaces
from battsim.post.tally import advance, begin, snapshot
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.stepping import IntegrationSettings, Limits

REFERENCE = json.loads(Path(__file__).with_name("pybamm_dfn.json").read_text())
CUTOFF = {"half": 3.5, "full": 2.5}
SMALL = (6, 4, 7, 5)
"""Cells of negative, separator and positive, and shells: enough for algebra."""


def random_state(cell, seed=0):
    """A state away from equilibrium, and its reference potential."""
    rng, layout = np.random.default_rng(seed), cell.layout
    u, reference = cell.uniform_state(*((0.8, 0.3) if len(cell.electrodes) > 1 else (0.3,)))
    u[layout.x] += 0.02 * rng.standard_normal(layout.n_solid)
    u[layout.c_e] *= 1.0 + 0.1 * rng.standard_normal(layout.n_electrolyte)
    u[layout.potentials] += 0.02 * rng.standard_normal(layout.size - layout.potentials.start)
    return u, reference


def controls(jacobian):
    """The Jacobian under each control."""
    return jacobian, jacobian.held_at_voltage(), jacobian.under_power(-3.0)


@pytest.mark.parametrize("curve", REFERENCE["curves"], ids=lambda c: f"{c['cell']} {c['rate']:g}C")
def test_discharge_agrees_with_pybamm(curve):
    """Chen2020 and its half cell, with PyBaMM's meshes extrapolated (benchmarks/accuracy/pybamm_dfn.py)."""
    kind, tolerance = curve["cell"], 2e-5
    # the full cell at 3C stops for lack of salt, which takes a finer grid
    grid = (120, 80, 120, 80) if (kind, curve["rate"]) == ("full", 3.0) else (60, 40, 60, 60)
    t, V = discharged(chen2020(kind, grid), curve["current"], CUTOFF[kind], tolerance)
    difference = PchipInterpolator(t, V)(np.array(curve["t"])) - curve["V"]
    # measured values are in the benchmark's table
    bound = 1e-3 if (kind, curve["rate"]) == ("full", 3.0) else 1.5e-4
    assert np.sqrt(np.mean(difference**2)) < bound
    assert t[-1] == pytest.approx(curve["end"], rel=1e-3)


@pytest.mark.parametrize("kind", ["half", "full"])
@pytest.mark.parametrize("a", [0.3, 0.0])
def test_jacobian_is_the_derivative_of_the_residual(kind, a):
    cell = chen2020(kind, SMALL)
    u, reference = random_state(cell)
    rate = Rate(a, 0.99 * u)
    evaluation = cell.evaluate(u, reference, rate, 30.0)
    jacobian = cell.jacobian(evaluation)
    scale = np.ones(u.size)
    scale[cell.layout.c_e] = 1000.0
    for seed in range(3):
        v = scale * np.random.default_rng(seed).standard_normal(u.size)
        h = 1e-6
        up, down = (cell.evaluate(u + s * h * v, reference, rate, 30.0).residual for s in (1.0, -1.0))
        difference = (up - down) / (2.0 * h)
        # central differences: round-off of 1e-16 times 1e7 S of the negative electrode over h
        assert np.abs(jacobian @ v - difference).max() < 1e-6 * np.abs(difference).max()


@pytest.mark.parametrize("kind", ["half", "full"])
@pytest.mark.parametrize("a", [0.3, 0.0])
def test_elimination_solves_the_jacobian(kind, a):
    cell = chen2020(kind, SMALL)
    u, reference = random_state(cell)
    jacobian = cell.jacobian(cell.evaluate(u, reference, Rate(a, 0.99 * u), 30.0))
    linear = ParticleElimination(cell.network, cell.layout, 1000.0)
    for controlled in controls(jacobian):
        rhs = np.random.default_rng(1).standard_normal(u.size)
        solution, _, solved = linear.solve(controlled, rhs, 0.0)
        assert solved
        assert controlled @ solution == pytest.approx(rhs, abs=1e-10)


@pytest.mark.parametrize("kind", ["half", "full"])
def test_elimination_is_the_same_as_lu_of_the_whole_matrix(kind, resolved):
    cell = chen2020(kind, SMALL)
    cell.parameters = cell.materials  # what the direct solver of the tests scales by
    u, reference = random_state(cell)
    jacobian = cell.jacobian(cell.evaluate(u, reference, Rate(0.3, 0.99 * u), 30.0))
    rhs = np.random.default_rng(1).standard_normal(u.size)
    for controlled in controls(jacobian):
        by_lu, _, _ = resolved.DirectSolver(cell).solve(controlled, rhs, 0.0)
        eliminated, _, _ = ParticleElimination(cell.network, cell.layout, 1000.0).solve(controlled, rhs, 0.0)
        assert eliminated == pytest.approx(by_lu, rel=1e-9, abs=1e-12 * np.abs(by_lu).max())


def test_a_singular_system_is_told():
    cell = chen2020("half", SMALL)
    u, reference = random_state(cell)
    jacobian = cell.jacobian(cell.evaluate(u, reference, Rate(0.3, u), 30.0))
    solution, _, solved = ParticleElimination(cell.network, cell.layout, 1000.0).solve(
        replace(jacobian, jp=np.full_like(jacobian.jp, np.nan)), np.ones(u.size), 0.0
    )
    assert not solved
    assert not np.isfinite(solution).all()


@pytest.fixture(scope="module")
def cycle():
    """Discharge, rest, charge, hold and constant power of a full cell: tallies of every state."""
    cell = chen2020("full", (12, 8, 12, 12))
    linear = ParticleElimination(cell.network, cell.layout, 1000.0)
    u, reference = cell.uniform_state(0.7, 0.45)
    scale, time, tally, ends = 48.0, 0.0, None, []
    steps = (
        (Control("current", 48.0), Limits(time=900.0)),
        (Control("current", 0.0), Limits(time=1500.0)),
        (Control("current", -24.0), Limits(voltage=4.0)),
        (Control("voltage", 4.0), Limits(current=-5.0)),
        (Control("power", 100.0), Limits(voltage=3.4)),
    )
    for control, limits in steps:
        transient, settings = CellTransient(cell, scale), IntegrationSettings(smallest_step=1e-5)
        u, reference, e = consistent_start(transient, linear, control, settings, u, reference)
        tally = begin(snapshot(cell, time, u, reference, e), scale, tally)
        for step in integrate(transient, linear, control, limits, settings, (time, u, reference)):
            tally = advance(tally, snapshot(cell, step.time, step.u, step.reference, step.evaluation), step.dt)
        u, reference, time = step.u, step.reference, step.time
        ends.append((step.stop, tally))
    return cell, ends


def test_a_full_cell_conserves_lithium_charge_and_salt_over_a_cycle(cycle):
    cell, ends = cycle
    assert [stop for stop, _ in ends] == ["time", "time", "voltage", "current", "voltage"]
    tally = ends[-1][1]
    assert tally.lithium_imbalance < 1e-10
    assert tally.charge_imbalance < 1e-8
    assert tally.salt_drift < 1e-12
    # what one electrode lost the other one has, whatever Q says
    lost, gained = (
        now.lithium - start.lithium for now, start in zip(tally.now.electrodes, tally.start.electrodes, strict=True)
    )
    assert lost == pytest.approx(-gained, rel=1e-10)
    assert cell.network.cross_section == 1.0


def test_losses_of_a_full_cell_sum_to_the_whole(cycle):
    for stop, tally in cycle[1]:
        if tally.now.losses is not None:
            assert abs(tally.now.losses.mismatch) < 1e-8, stop
            assert tally.now.losses.counter == 0.0
    assert cycle[1][1][1].now.losses is None  # at rest


def test_a_held_voltage_and_a_held_power_are_held(cycle):
    hold, power = cycle[1][3][1].now, cycle[1][4][1].now
    assert hold.voltage == pytest.approx(4.0, abs=1e-6)
    assert hold.current == pytest.approx(-5.0, abs=1e-9)
    assert power.voltage == pytest.approx(3.4, abs=1e-9)
    assert power.current * power.voltage == pytest.approx(100.0, rel=1e-6)


def test_plating_margin_is_the_potential_behind_the_film(cycle):
    _, ends = cycle
    # in charge the negative electrode comes closest to metal at the separator
    margins = [tally.now.plating_margin for _, tally in ends]
    assert margins[2] < margins[1]
    assert 0.0 < margins[2] < 0.2


def test_one_size_given_twice_is_one_size():
    cell = chen2020("half", SMALL)
    positive = cell.parameters.positive
    halves = replace(positive, particles=(Particles(5.22e-6, 0.3), Particles(5.22e-6, 0.7)))
    twice = P2DCell(replace(cell.parameters, positive=halves), cell.grid)
    assert twice.layout.n_solid == 2 * cell.layout.n_solid
    one, two = (discharged(each, 100.0, 3.8, 1e-3) for each in (cell, twice))
    assert two[1] == pytest.approx(one[1], abs=1e-8)
    assert two[0] == pytest.approx(one[0], rel=1e-7)


def test_area_per_volume_is_apart_from_the_radius():
    """Twice the area: half the current density, same flux at the spheres' surface; of the spheres' own: no change."""
    cell = chen2020("half", SMALL)
    positive = cell.parameters.positive
    assert positive.area_of_spheres == pytest.approx(3.0 * 0.665 / 5.22e-6)
    same = P2DCell(
        replace(cell.parameters, positive=replace(positive, area_per_volume=positive.area_of_spheres)), cell.grid
    )
    wide = P2DCell(
        replace(cell.parameters, positive=replace(positive, area_per_volume=2.0 * positive.area_of_spheres)), cell.grid
    )
    states = []
    for each in (cell, same, wide):
        transient, control = CellTransient(each, 50.0), Control("current", 50.0)
        linear, settings = ParticleElimination(each.network, each.layout, 1000.0), IntegrationSettings()
        u, reference = each.uniform_state(0.3)
        u, reference, _ = consistent_start(transient, linear, control, settings, u, reference)
        states.append(list(integrate(transient, linear, control, Limits(time=30.0), settings, (0.0, u, reference)))[-1])
    usual, equal, spread = states
    assert equal.u == pytest.approx(usual.u, rel=1e-9)
    assert spread.evaluation.reaction.j.sum() == pytest.approx(0.5 * usual.evaluation.reaction.j.sum(), rel=1e-6)
    # the same lithium enters the same spheres: their surfaces are as full
    surfaces = [state.evaluation.reaction.x_surface.mean() for state in (usual, spread)]
    assert surfaces[1] == pytest.approx(surfaces[0], rel=1e-3)


def test_fast_transport_and_kinetics_leave_the_open_circuit_potential():
    cell = chen2020("half", SMALL)
    positive = cell.parameters.positive
    material = replace(
        positive.material,
        diffusivity=constant(1e-9),
        exchange_current=lambda x, c, T: (np.full_like(x, 1e4), np.zeros_like(x), np.zeros_like(x)),  # noqa: ARG005
    )
    quick = P2DCell(
        replace(cell.parameters, positive=replace(positive, material=material, conductivity=1e3)), cell.grid
    )
    t, V = discharged(quick, 1.0, 3.9, 1e-4)
    x = 0.27 + 1.0 * t[-1] / (FARADAY * 63104.0 * 0.665 * 75.6e-6)
    U = positive.material.ocp(np.array([x]))[0][0]
    # a fiftieth of 1C: lithium metal and electrolyte take less than a millivolt
    assert V[-1] == pytest.approx(U, abs=1e-3)


@pytest.mark.parametrize("ratio", [1.0, 0.1])
def test_a_sphere_under_constant_flux(ratio):
    """Crank, The Mathematics of Diffusion, 2nd ed., eq. 6.45: surface and mean after the first moments, order two."""
    from meshing.line import graded_sizes, shell_mesh

    R, D, time = 5e-6, 1e-14, 400.0
    tau = D * time / R**2
    roots = np.array([_root_of_tan(k) for k in range(1, 60)])
    series = 2.0 * np.sum(np.exp(-(roots**2) * tau) / roots**2)
    exact = 3.0 * tau + 0.2 - series  # (c_R - c_0) D / (J R)
    errors = []
    for n in (10, 20, 40):
        mesh = shell_mesh(graded_sizes(R, n, ratio))
        g = D * mesh.area / (mesh.owner_distance + mesh.neighbour_distance)
        A = np.zeros((n, n))
        for k, (o, i) in enumerate(zip(mesh.owner, mesh.neighbour, strict=True)):
            A[[o, i], [o, i]] -= g[k]
            A[[o, i], [i, o]] += g[k]
        surface = mesh.patches["surface"]
        source = np.zeros(n)
        source[surface.cells] = surface.area
        # exact in time, by the eigenvectors of the symmetric form; the largest eigenvalue is that of the mean
        root = np.sqrt(mesh.volume)
        values, vectors = np.linalg.eigh(A / np.outer(root, root))
        grown = np.append(np.expm1(values[:-1] * time) / values[:-1], time)
        c = vectors @ (grown * (vectors.T @ (source / root))) / root
        # lithium is conserved to the round-off of the eigenvectors
        assert mesh.volume @ c / mesh.volume.sum() == pytest.approx(3.0 * time / R, rel=1e-6)
        at_surface = c[-1] + surface.distance[0] / D
        errors.append(abs(at_surface * D / R - exact) / exact)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 5e-4
    assert np.all(np.abs(orders - 2.0) < 0.35)


def _root_of_tan(k):
    """The k-th positive root of tan(a) = a."""
    from scipy.optimize import brentq

    return brentq(lambda a: np.sin(a) - a * np.cos(a), k * np.pi, (k + 0.5) * np.pi)


def test_a_parabola_has_exact_fluxes_and_an_exact_surface():
    from meshing.line import graded_sizes, shell_mesh

    mesh = shell_mesh(graded_sizes(3.0, 7, 0.3))
    r = np.concatenate([[0.0], np.cumsum(graded_sizes(3.0, 7, 0.3))])
    mean = 2.0 + 0.5 * 0.6 * np.diff(r**5) / np.diff(r**3)  # of 2 + r^2 / 2
    distance = mesh.owner_distance + mesh.neighbour_distance
    assert np.diff(mean) / distance == pytest.approx(r[1:-1], rel=1e-12)
    surface = mesh.patches["surface"]
    assert mean[-1] + 3.0 * surface.distance[0] == pytest.approx(2.0 + 0.5 * 9.0, rel=1e-12)
    assert mesh.volume.sum() == pytest.approx(4.0 / 3.0 * np.pi * 27.0, rel=1e-12)


def test_places_are_told_in_words():
    cell = chen2020("full", SMALL)
    places, layout = LinePlaces(cell.network, cell.layout), cell.layout
    assert places.of_unknown(layout.x.start).startswith("x of the negative electrode")
    assert "negative electrode 78.1 um from the separator" in places.of("x", 0)
    assert places.of("c_e", 6).startswith("the separator, 1.5 um")
    assert "positive electrode 70.2 um" in places.of("phi_e", layout.n_electrolyte - 1)
    assert places.of_unknown(layout.V) == "the terminal voltage"
    assert "the working electrode" in LinePlaces((half := chen2020("half", SMALL)).network, half.layout).of(
        "x", half.layout.n_solid - 1
    )


def test_grids_say_what_they_cannot_be():
    from meshing.errors import MeshError
    from meshing.line import graded_sizes, line_mesh, shell_mesh

    with pytest.raises(MeshError, match="needs cells of positive length"):
        line_mesh([("separator", np.array([1e-6, 0.0]))])
    with pytest.raises(MeshError, match="positive thicknesses"):
        shell_mesh(np.array([]))
    with pytest.raises(MeshError, match="count >= 1"):
        graded_sizes(1.0, 0, 1.0)
    assert graded_sizes(1.0, 5, 0.25)[-1] / graded_sizes(1.0, 5, 0.25)[0] == pytest.approx(0.25)
    assert P2DGrid().radial == 40
