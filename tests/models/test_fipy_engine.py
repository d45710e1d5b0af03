"""The half cell in FiPy's terms against the Newton engine: two assemblies and two ways to couple, one answer."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from fipy import ImplicitSourceTerm
from scipy.sparse.linalg import spsolve

from battsim.models.cell.network import Faces
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.fipy_cell.anderson import Anderson
from battsim.models.fipy_cell.closures import Closures
from battsim.models.fipy_cell.equations import FipyHalfCell
from battsim.models.fipy_cell.sweeps import Sweeps, SweepSettings, admittance
from battsim.models.resolved.half_cell import HalfCell
from battsim.run.fipy_root import FipyRoot, fipy_solvers
from battsim.solvers.block import BlockSolver
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.newton import NewtonSettings, newton
from battsim.solvers.stepping import IntegrationSettings, Limits
from meshing.generate import spheres
from meshing.image import VoxelImage
from meshing.read import label_image, read_voxels
from meshing.voxel import graded_layers, voxel_mesh

SAME = 1e-4
"""V: what the engines may differ by; they differ by 1e-8."""
EXACT = NewtonSettings(rtol=1e-7)


class Engines:
    """Both engines on one mesh, stepped alike by backward Euler, each from its own last state."""

    def __init__(self, mesh, parameters, rtol=1e-4):
        self.cell = HalfCell(mesh, parameters)
        self.mesh = mesh
        self.current = self.cell.capacity / 3600
        self.transient = CellTransient(self.cell, self.current)
        self.linear = BlockSolver(self.cell.networks, (2, 0, 1))
        self.fipy = FipyHalfCell(mesh, self.cell)
        self.sweeps = Sweeps(self.fipy, fipy_solvers(), self.current, SweepSettings(rtol=rtol))

    @property
    def control(self):
        return Control("current", self.current)

    def rest(self, x):
        return self.cell.uniform_state(x)

    def newton(self, a, u, reference, control=None):
        """State and voltage after a step of Newton's."""
        result = newton(self.transient.problem(a, u, reference, control or self.control), u, self.linear, EXACT)
        assert result.converged, result.status
        return result.u

    def sweep(self, a, u, reference, control=None):
        swept = self.sweeps.step(a, u, u, reference, control or self.control)
        assert swept.converged, swept.status
        return swept

    def voltages(self, u, reference, steps):
        """Voltages of both after each of the steps (s), and the sweeps that each took; both start at one state."""
        mine, other, found, counts = u, u, [], []
        for dt in steps:
            mine = self.newton(1.0 / dt, mine, reference)
            swept = self.sweep(1.0 / dt, other, reference)
            other = swept.u
            found.append((mine[-1] + reference, other[-1] + reference))
            counts.append(swept.sweeps)
        return np.array(found), counts, (mine, other)


def recipe_mesh(n, seed=2):
    image = spheres((n, n, n), (1e-6,) * 3, 0.5, 0.12, 6e-6, 0.0, np.random.default_rng(seed))
    return voxel_mesh(image, layers=graded_layers(12e-6, 5, 1e-6), inside="active")


@pytest.fixture(scope="module")
def recipe(resolved):
    return Engines(recipe_mesh(12), resolved.make_parameters())


def near_the_end(engines, voltage):
    """State of the Newton engine at a voltage of its discharge, and its reference."""
    transient, control = engines.transient, engines.control
    settings = IntegrationSettings()
    u, reference = engines.rest(engines.cell.parameters.active.stoichiometry_soc100)
    u, reference, _ = consistent_start(transient, engines.linear, control, settings, u, reference)
    for step in integrate(transient, engines.linear, control, Limits(voltage=voltage), settings, (0.0, u, reference)):
        u, reference = step.u, step.reference
    assert step.stop == "voltage"
    return u, reference


@pytest.fixture(scope="module")
def ending(recipe):
    return near_the_end(recipe, 3.5)


@pytest.mark.parametrize(
    "binder",
    [
        {},
        {"active_coverage": 0.4, "contact_resistance": 1e-4},
        {"transport": "impermeable"},
        {"transport": "as-pore"},
        {"transport": "as-solid"},
    ],
    ids=str,
)
def test_one_step_is_the_same_for_every_reading_of_the_binder(resolved, binder):
    labels = resolved.random_labels()
    into = {"as-pore": 0, "as-solid": 1}.get(binder.get("transport"))
    if into is not None:
        labels = np.where(labels == 2, into, labels)
    mesh = voxel_mesh(
        VoxelImage(labels.astype(np.uint8), (1e-6, 1.5e-6, 2e-6), resolved.phases), layers=(3e-6, 1e-6), inside="active"
    )
    engines = Engines(mesh, resolved.make_parameters(**binder), rtol=1e-7)
    u, reference = engines.rest(0.5)
    u = engines.newton(0.0, u, reference)
    mine, other = engines.newton(0.1, u, reference), engines.sweep(0.1, u, reference).u
    layout = engines.cell.layout
    # both leave 1e-8 of the current or less
    np.testing.assert_allclose(other[layout.x], mine[layout.x], atol=1e-9)
    np.testing.assert_allclose(other[layout.c_e], mine[layout.c_e], atol=1e-5)
    np.testing.assert_allclose(other[layout.potentials], mine[layout.potentials], atol=1e-8)
    assert abs(mine[-1] - u[-1]) > 1e-4


def test_potentials_at_rest_concentrations_are_the_same(recipe):
    u, reference = recipe.rest(0.4)
    swept = recipe.sweep(0.0, u, reference)
    mine = recipe.newton(0.0, u, reference)
    np.testing.assert_allclose(swept.u, mine, atol=1e-8)
    assert reference - (mine[-1] + reference) > 1e-3


TEN_MINUTES = (2.0, 8.0, 10.0, 30.0, 50.0, 100.0, 200.0, 200.0)


def test_first_ten_minutes_of_a_recipe(recipe):
    u, reference = recipe.rest(recipe.cell.parameters.active.stoichiometry_soc100)
    u = recipe.newton(0.0, u, reference)
    found, counts, _ = recipe.voltages(u, reference, TEN_MINUTES)
    assert sum(TEN_MINUTES) == 600.0
    assert np.abs(found[:, 0] - found[:, 1]).max() < SAME
    assert np.ptp(found[:, 0]) > 100 * SAME
    # what the answer of the concentrations in the interface's conductance is for
    assert max(counts[:3]) <= 10


def test_stretch_near_the_end_of_a_recipe(recipe, ending):
    u, reference = ending
    found, counts, (_, last) = recipe.voltages(u, reference, (10.0,) * 4)
    assert np.abs(found[:, 0] - found[:, 1]).max() < SAME
    assert np.ptp(found[:, 0]) > 10 * SAME
    assert max(counts) <= 15
    assert last[recipe.cell.layout.x].max() > 0.7


def test_lithium_salt_and_charge_balance(recipe):
    cell, layout, network = recipe.cell, recipe.cell.layout, recipe.cell.network
    u, reference = recipe.rest(0.4)
    u = recipe.newton(0.0, u, reference)
    swept = recipe.sweep(0.1, u, reference)
    change = 0.1 * (swept.u - u)
    lithium = float(cell.solid_capacity @ change[layout.x])
    salt = float(cell.salt_capacity @ change[layout.c_e])
    # the linear solves of a sweep leave a tenth of the tolerance in each equation
    assert lithium == pytest.approx(recipe.current, rel=1e-5)
    assert abs(salt) < 1e-5 * recipe.current
    assert np.abs(change[layout.c_e]).max() > 0.1
    e = recipe.transient.problem(0.1, u, reference, recipe.control).evaluate(swept.u)
    # closed to round-off at the end of the step
    assert -float(network.reactive.area @ e.reaction.j) == pytest.approx(recipe.current, rel=5e-9)
    assert float(network.counter.area @ e.counter.j) == pytest.approx(recipe.current, rel=5e-9)
    assert swept.current == pytest.approx(recipe.current, rel=1e-9)


def test_another_term_is_a_line_of_fipy(recipe):
    cell, k, dt = FipyHalfCell(recipe.mesh, recipe.cell), 1e-3, 10.0
    cell.salt_equation = cell.salt_equation + ImplicitSourceTerm(coeff=k * cell.porosity, var=cell.c_e)
    u, reference = recipe.rest(0.4)
    u = recipe.newton(0.0, u, reference)
    sweeps = Sweeps(cell, fipy_solvers(), recipe.current, SweepSettings(rtol=1e-6))
    swept = sweeps.step(1.0 / dt, u, u, reference, recipe.control)
    assert swept.converged
    before, after = (recipe.cell.salt_capacity @ state[recipe.cell.layout.c_e] for state in (u, swept.u))
    # what the electrodes take and give cancels: backward Euler of a loss at the rate k is left
    assert after == pytest.approx(before / (1.0 + k * dt), rel=1e-9)


def test_after_a_reset_a_step_is_bit_for_bit_that_of_a_fresh_engine(recipe):
    u, reference = recipe.rest(0.4)
    u = recipe.newton(0.0, u, reference)
    problem = recipe.transient.problem(0.1, u, reference, recipe.control)
    used, fresh = (FipyRoot(recipe.mesh, recipe.cell) for _ in range(2))
    used.root(recipe.transient.problem(0.02, u, reference, recipe.control), u, NewtonSettings(rtol=1e-3))
    kept = used.root(problem, u, NewtonSettings(rtol=1e-3))
    used.reset()
    found, wanted = (root.root(problem, u, NewtonSettings(rtol=1e-3)) for root in (used, fresh))
    assert np.array_equal(found.u, wanted.u)
    assert not np.array_equal(kept.u, wanted.u)


def test_newtons_residual_vanishes_at_the_answer(recipe):
    u, reference = recipe.rest(0.4)
    u = recipe.newton(0.0, u, reference)
    problem = recipe.transient.problem(0.1, u, reference, recipe.control)
    result = FipyRoot(recipe.mesh, recipe.cell).root(problem, u, NewtonSettings(rtol=1e-6))
    assert result.converged
    assert problem.norm(problem.evaluate(result.u).residual) == pytest.approx(result.norm, rel=1e-3)
    assert result.norm < 1e-5
    assert problem.norm(problem.evaluate(u).residual) > 1.0


def test_disagreement_of_the_engines_is_not_convergence(recipe, monkeypatch):
    u, reference = recipe.rest(0.4)
    u = recipe.newton(0.0, u, reference)
    problem = recipe.transient.problem(0.1, u, reference, recipe.control)
    root = FipyRoot(recipe.mesh, recipe.cell)
    # FiPy's equation with a tenth less diffusion is solved as well as ever
    plain = Closures.solid_diffusivity
    monkeypatch.setattr(Closures, "solid_diffusivity", lambda self, x: 0.9 * plain(self, x))
    result = root.root(problem, u, NewtonSettings(rtol=1e-6))
    assert not result.converged
    assert "the Newton engine's have a residual of" in result.status


@pytest.mark.slow
def test_answer_of_the_concentrations_lets_sweeps_converge(recipe, monkeypatch):
    u, reference = near_the_end(recipe, 3.5)
    settings = SweepSettings(rtol=1e-4, max_sweeps=25, depth=0)
    plain = Sweeps(recipe.fipy, fipy_solvers(), recipe.current, settings)
    assert plain.step(0.025, u, u, reference, recipe.control).converged
    monkeypatch.setattr(Sweeps, "_answers", lambda *_: (1.0, 1.0))
    swept = plain.step(0.025, u, u, reference, recipe.control)
    assert not swept.converged
    assert "take shorter steps" in swept.status


@pytest.mark.slow
def test_mixing_reaches_steps_that_plain_sweeps_do_not(recipe, ending):
    u, reference = ending
    found = {}
    for depth in (0, 8):
        settings = SweepSettings(rtol=1e-4, max_sweeps=30, depth=depth)
        found[depth] = Sweeps(recipe.fipy, fipy_solvers(), recipe.current, settings).step(
            1.0 / 120.0, u, u, reference, recipe.control
        )
    assert found[8].converged
    assert not found[0].converged or found[0].sweeps > 1.5 * found[8].sweeps


def test_step_that_is_too_long_is_told_not_returned(recipe):
    u, reference = recipe.rest(0.4)
    u = recipe.newton(0.0, u, reference)
    sweeps = Sweeps(recipe.fipy, fipy_solvers(), recipe.current, SweepSettings(max_sweeps=2))
    swept = sweeps.step(0.1, u, u, reference, recipe.control)
    assert not swept.converged
    assert swept.status.startswith("2 sweeps left a residual of")
    assert np.isfinite(swept.u).all()


def test_negative_coefficient_never_reaches_fipy(recipe, monkeypatch):
    u, reference = recipe.rest(0.4)
    monkeypatch.setattr(Closures, "solid_diffusivity", lambda _, x: -np.ones(x.size)[:1])
    swept = recipe.sweeps.step(0.1, u, u, reference, recipe.control)
    assert not swept.converged
    assert "D_s is -" in swept.status
    assert "must be finite and not negative" in swept.status


def test_admittance_is_that_of_a_long_chain():
    n, S, g = 400, 0.3, 2.0
    o = np.arange(n - 1)
    chain = sp.diags_array([np.full(n, S)], offsets=[0]).tolil()
    matrix = (chain + sp.csgraph.laplacian(sp.diags_array([np.full(n - 1, g)] * 2, offsets=[-1, 1]))).tocsc()
    first = spsolve(matrix, np.eye(n)[0])[0]
    Y = admittance(np.full(n, S), Faces(o, o + 1, np.full(n - 1, g), np.empty(0, np.int32)), np.full(n - 1, g))
    assert Y[0] == pytest.approx(1.0 / first, rel=1e-12)
    alone = admittance(np.array([S]), Faces(*(np.empty(0, int),) * 2, np.empty(0), np.empty(0, int)), np.empty(0))
    assert alone[0] == pytest.approx(S)


def test_anderson_solves_a_linear_problem_in_as_many_steps_as_unknowns():
    rng = np.random.default_rng(1)
    A, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    x, mixing = np.zeros(5), Anderson(5)
    for _ in range(6):
        residual = A @ x + b - x
        x = mixing.mix(residual, x + residual)
    # spectral radius above 1: plain iteration runs away
    assert np.abs(np.linalg.eigvals(A)).max() > 1.0
    np.testing.assert_allclose(x, np.linalg.solve(np.eye(5) - A, b), rtol=1e-6)


@pytest.fixture(scope="module")
def real(resolved):
    """The first 20^3 voxels from the separator of a real cathode."""
    folder = os.environ.get("BATTSIM_DATA")
    if folder is None:
        pytest.skip("set BATTSIM_DATA to the folder with the real images")
    values = read_voxels(Path(folder) / "matbox_nmc1cal_bridgeCBD.tif")[:20, 100:120, 100:120]
    image = label_image(np.ascontiguousarray(values), (0.398e-6,) * 3, {"pore": 0, "active": 1, "binder": 2})
    layers = graded_layers(12e-6, 10, 0.398e-6)
    return Engines(voxel_mesh(image, layers=layers, inside="active"), resolved.make_parameters())


@pytest.mark.slow
def test_first_ten_minutes_of_a_real_crop(real):
    u, reference = real.rest(real.cell.parameters.active.stoichiometry_soc100)
    u = real.newton(0.0, u, reference)
    found, counts, _ = real.voltages(u, reference, TEN_MINUTES)
    assert np.abs(found[:, 0] - found[:, 1]).max() < SAME
    assert np.ptp(found[:, 0]) > 100 * SAME
    assert max(counts[:3]) <= 10


@pytest.mark.slow
def test_stretch_near_the_end_of_a_real_crop(real):
    u, reference = near_the_end(real, 3.5)
    found, counts, _ = real.voltages(u, reference, (10.0,) * 6)
    assert np.abs(found[:, 0] - found[:, 1]).max() < SAME
    assert np.ptp(found[:, 0]) > 10 * SAME
    assert max(counts) <= 15


def test_charge_by_voltage_control_takes_the_same_current(recipe):
    u, reference = recipe.rest(0.5)
    held = Control("voltage", recipe.newton(0.0, u, reference)[-1] + reference + 0.05)
    first = u.copy()
    first[-1] = held.value - reference
    problem = recipe.transient.problem(0.2, u, reference, held)
    mine = newton(problem, first, recipe.linear, EXACT)
    swept = recipe.sweep(0.2, u, reference, held)
    assert mine.converged
    assert swept.u[-1] + reference == pytest.approx(held.value, abs=1e-12)
    assert swept.current == pytest.approx(mine.evaluation.current, rel=1e-6)
    assert abs(swept.current / recipe.current) > 0.1
