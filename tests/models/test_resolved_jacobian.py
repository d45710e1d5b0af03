"""The analytic Jacobian of the half cell against differences of its residual."""

from dataclasses import replace

import numpy as np
import pytest

from battsim.materials.closures import constant
from battsim.materials.library import electrolyte
from battsim.models.cell.equations import Rate
from battsim.models.cell.jacobian import assembled, matrix_patterns
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.resolved.parameters import IonicPhase
from battsim.threads import Team

STEP = 3e-5
"""Of a variable in its own scale: x, c_e / 1000 mol/m3, potentials in units of 0.1 V."""

VARIANTS = {
    "nyman": {"salt": "lipf6-nyman2008"},
    "chen": {"salt": "lipf6-chen2020"},
    "impermeable": {"transport": "impermeable"},
    "contact": {"contact_resistance": 3e-4, "active_coverage": 0.4},
    "no reaction under binder": {"active_coverage": 0.0},
}


def cell_of(resolved, variant, shape=(4, 3, 2)):
    active = resolved.make_active(
        diffusivity=resolved.varying(8e-15, -1.5), film_resistance=2e-3, alpha_a=0.4, alpha_c=0.6
    )
    labels = resolved.random_labels(shape, seed=5)
    return resolved.make_cell(labels, resolved.make_parameters(active, **VARIANTS[variant]), layers=(3e-6, 1.5e-6))


def random_state(cell, seed=1):
    rng, layout = np.random.default_rng(seed), cell.layout
    u, reference = cell.uniform_state(0.5)
    u[layout.x] = rng.uniform(0.3, 0.7, layout.n_solid)
    u[layout.c_e] = rng.uniform(500.0, 1500.0, layout.n_electrolyte)
    u[layout.potentials] = rng.uniform(-0.03, 0.03, layout.size - layout.potentials.start)
    return u, reference


def scales(layout):
    scale = np.full(layout.size, 0.1)
    scale[layout.x], scale[layout.c_e] = 1.0, 1000.0
    return scale


def numeric_jacobian(residual, u, scale):
    columns = []
    for k in range(u.size):
        e = np.zeros(u.size)
        e[k] = STEP * scale[k]
        columns.append((residual(u + e) - residual(u - e)) / (2.0 * STEP))
    return np.stack(columns, axis=1)


def dense(jacobian, n):
    return np.stack([jacobian @ column for column in np.eye(n)], axis=1)


def assert_blocks_agree(numeric, analytic, layout, tolerance):
    """Each block relative to its own largest entry, so that no small block hides behind a large one."""
    parts = {"x": layout.x, "c_e": layout.c_e, "phi_s": layout.phi_s, "phi_e": layout.phi_e}
    parts["V"] = slice(layout.V, layout.V + 1)
    for row, rows in parts.items():
        for column, columns in parts.items():
            a, b = numeric[rows, columns], analytic[rows, columns]
            largest = np.abs(b).max()
            noise = 1e-11 * np.abs(analytic[rows]).max()
            assert np.abs(a - b).max() <= tolerance * largest + noise, f"d({row})/d({column})"


@pytest.mark.parametrize(("variant", "a"), [("nyman", 0.0), *((variant, 0.05) for variant in VARIANTS)])
def test_every_block_agrees_with_differences(resolved, variant, a):
    cell = cell_of(resolved, variant)
    u, reference = random_state(cell)
    rate = Rate(a, random_state(cell, 2)[0])
    scale = scales(cell.layout)
    analytic = dense(cell.jacobian(cell.evaluate(u, reference, rate, 1e-9)), u.size) * scale
    numeric = numeric_jacobian(lambda v: cell.evaluate(v, reference, rate, 1e-9).residual, u, scale)
    # truncation (steepness STEP)^2 / 6 with U'(x) f up to 100: 1e-6; noise is round-off of the residual over STEP
    assert_blocks_agree(numeric, analytic, cell.layout, 3e-6)


@pytest.mark.parametrize("a", [0.0, 0.05], ids=["frozen", "transient"])
def test_every_block_agrees_under_voltage_control(resolved, a):
    cell = cell_of(resolved, "nyman")
    u, reference = random_state(cell)
    problem = CellTransient(cell, 1e-9).problem(a, random_state(cell, 2)[0], reference, Control("voltage", 3.7))
    scale = scales(cell.layout)
    analytic = dense(problem.jacobian(problem.evaluate(u)), u.size) * scale
    numeric = numeric_jacobian(lambda v: problem.evaluate(v).residual, u, scale)
    # as above
    assert_blocks_agree(numeric, analytic, cell.layout, 3e-6)


def test_variants_differ(resolved):
    # guards the test above against a parameter that is never read
    residuals = {}
    for variant in VARIANTS:
        cell = cell_of(resolved, variant)
        u, reference = random_state(cell)
        e = cell.evaluate(u, reference, Rate(0.05, u), 1e-9)
        residuals[variant] = float(np.abs(e.residual).sum())
    assert len({round(value / residuals["nyman"], 6) for value in residuals.values()}) == len(VARIANTS)


def test_coverage_scales_the_area_under_the_binder_and_no_other(resolved):
    labels = resolved.random_labels((4, 3, 2), seed=5)
    areas = {}
    for coverage in (0.0, 0.4, 1.0):
        network = resolved.make_cell(labels, resolved.make_parameters(active_coverage=coverage)).network
        areas[coverage] = network.reactive.area.sum()
    open_binder = resolved.make_cell(labels, resolved.make_parameters(ionic=IonicPhase(0.5, 0.7))).network.reactive
    binder = open_binder.area[open_binder.b == 0.7].sum()  # nothing else has this transport factor
    assert binder > 0.1 * areas[1.0]
    assert areas[1.0] - areas[0.4] == pytest.approx(0.6 * binder, rel=1e-12)
    assert areas[1.0] - areas[0.0] == pytest.approx(binder, rel=1e-12)


def test_potential_block_is_symmetric_and_an_m_matrix(resolved):
    cell = cell_of(resolved, "contact")
    u, reference = random_state(cell)
    block = resolved.matrices(cell, cell.evaluate(u, reference, Rate(0.05, u), 1e-9)).blocks[2, 2].toarray()
    scale = np.abs(block).max()
    assert np.abs(block - block.T).max() < 1e-15 * scale
    off = block - np.diag(np.diag(block))
    assert off.max() <= 0.0
    assert block.sum(axis=1).min() > -1e-13 * scale
    assert np.linalg.eigvalsh(block).min() > 0.0  # the counter electrode grounds it


def test_networks_carry_the_diagonal_blocks(resolved):
    # without migration (t_plus = 0) and at uniform x and c_e, edges plus ground are the diagonal blocks themselves
    salt = replace(electrolyte("lipf6-nyman2008"), transference=constant(0.0))
    cell = resolved.make_cell(resolved.random_labels((4, 3, 2), seed=5), resolved.make_parameters(salt=salt))
    u, reference = cell.uniform_state(0.5)
    jacobian = resolved.matrices(cell, cell.evaluate(u, reference, Rate(0.05, u), 1e-9))
    for k, network in enumerate(cell.networks):
        n = network.n_nodes
        matrix = np.diag(jacobian.ground[k])
        for first, second, g in zip(network.first, network.second, jacobian.conductance[k], strict=True):
            matrix[[first, second], [first, second]] += g
            matrix[first, second] -= g
            matrix[second, first] -= g
        block = jacobian.blocks[k, k].toarray()
        assert matrix.shape == (n, n)
        assert np.count_nonzero(block - np.diag(np.diag(block))) > 4
        np.testing.assert_allclose(matrix, block, atol=1e-13 * np.abs(block).max())


@pytest.mark.parametrize("control", [Control("current", 1e-9), Control("voltage", 3.7)], ids=["current", "voltage"])
@pytest.mark.parametrize("a", [0.0, 0.05], ids=["frozen", "transient"])
def test_matrix_product_and_couplings_are_one_jacobian(resolved, a, control):
    cell = cell_of(resolved, "contact")
    u, reference = random_state(cell)
    problem = CellTransient(cell, 1e-9).problem(a, random_state(cell, 2)[0], reference, control)
    jacobian = problem.jacobian(problem.evaluate(u))
    matrix = assembled(jacobian, matrix_patterns(cell.network, cell.layout))
    v = scales(cell.layout) * np.random.default_rng(3).normal(size=u.size)
    size = np.abs(np.abs(dense(matrix, u.size)) @ np.abs(v)) + 1e-300
    assert np.abs((jacobian @ v - matrix @ v) / size).max() < 1e-14
    # float32 vectors are multiplied in float64
    rounded = v.astype(np.float32)
    assert np.abs((jacobian @ rounded - matrix @ rounded.astype(float)) / size).max() < 1e-14
    for row, here in enumerate(jacobian.slices):
        others = v.copy()
        others[here] = 0.0
        wanted, found = np.empty((2, others[here].size))
        matrix.coupling(row, others, wanted)
        jacobian.coupling(row, others, found)
        assert np.abs((found - wanted) / size[here]).max() < 1e-14
        assert np.abs(wanted).max() > 0 or (a == 0.0 and row < 2)


def test_products_do_not_depend_on_the_threads(resolved):
    labels = resolved.random_labels((24, 24, 24), seed=5)
    results = []
    for threads in (1, 3):
        with Team(threads) as team:
            cell = resolved.make_cell(labels, team=team)
            u, reference = random_state(cell)
            e = cell.evaluate(u, reference, Rate(0.05, u), 1e-9)
            coupling = np.empty(cell.layout.n_electrolyte)
            cell.jacobian(e).coupling(1, u, coupling)
            results.append((e.residual, cell.jacobian(e) @ u, coupling))
    assert results[0][0].size > 30_000  # enough for several parts and slabs
    for one, several in zip(*results, strict=True):
        assert np.array_equal(one, several)
