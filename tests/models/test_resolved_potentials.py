"""Singular parts of an electrode on the joint graph of both potentials."""

import numpy as np
import pytest

from battsim.errors import ImpossibleError
from battsim.models.cell.equations import Rate

PORE, ACTIVE, BINDER, IGNORED = range(4)
SHAPE = (7, 5, 5)


def slabs(active_from=3):
    """Pore in front, active material behind it, up to the collector."""
    labels = np.full(SHAPE, PORE)
    labels[active_from:] = ACTIVE
    return labels


def left_out(cell):
    return {(item.phase, item.potential): item for item in cell.network.determined.left_out}


def flat(*index):
    return np.ravel_multi_index(index, SHAPE)


def has(cells, *index):
    """Whether the voxel is among the mesh cells (these cells have no separator layers)."""
    return flat(*index) in cells


def make(resolved, labels, layers=(), **binder):
    return resolved.make_cell(labels, resolved.make_parameters(**binder), layers=layers)


def assert_solvable(resolved, cell, rate=1.0):
    """All that is left has a potential: a step with LU converges."""
    limits, settings = resolved.limits(time=1.0), resolved.settings_of(first_step=1.0)
    run = resolved.discharge(cell, rate * cell.capacity / 3600, limits=limits, settings=settings)
    assert run.last.stop == "time"
    return run


def test_nothing_is_left_out_of_two_slabs(resolved):
    cell = make(resolved, slabs())
    assert cell.network.determined.left_out == ()
    assert cell.network.electrodes[0].counts_for_capacity.all()
    assert cell.capacity == pytest.approx((0.8907 - 0.0335) * 35380.0 * 96485.33212 * 100 * 1e-18, rel=1e-9)


def test_active_material_without_electrolyte_is_left_out(resolved):
    labels = slabs()
    labels[1, 1:4, 1:4] = IGNORED
    labels[1, 2, 2] = ACTIVE
    labels[[0, 2], 2, 2] = IGNORED
    cell = make(resolved, labels)
    assert set(left_out(cell)) == {("active", "phi_s")}
    item = left_out(cell)["active", "phi_s"]
    assert (item.cells, item.volume_share) == (1, pytest.approx(1 / 101))
    assert not has(cell.network.electronic_cells, 1, 2, 2)
    assert not has(cell.network.solid_cells, 1, 2, 2)
    assert_solvable(resolved, cell)


def test_wetted_particle_without_electronic_path_floats(resolved):
    labels = slabs(4)
    labels[1:3, 2, 2] = ACTIVE  # pore all around
    cell = make(resolved, labels)
    assert left_out(cell) == {}
    floating = [int(np.flatnonzero(cell.network.solid_cells == flat(k, 2, 2))[0]) for k in (1, 2)]
    counted = np.ones(cell.network.solid_cells.size, bool)
    counted[floating] = False
    assert np.array_equal(cell.network.electrodes[0].counts_for_capacity, counted)
    assert cell.capacity == pytest.approx(make(resolved, slabs(4)).capacity, rel=1e-12)
    # both slabs and particle start at the same x: the salt gradient drives a small current through it, in and out
    run = resolved.discharge(cell, cell.capacity / 600, limits=resolved.limits(time=20.0))
    reactive, j = cell.network.reactive, run.last.evaluation.reaction.j
    into = (reactive.area * j)[np.isin(reactive.solid, floating)]
    assert np.abs(into).sum() > 1e-6 * run.last.current
    # the charge balance of the particle, at the tolerance of Newton, 1e-9 of the current
    assert abs(into.sum()) < 2e-9 * run.last.current


def test_closed_pore_in_a_connected_particle_stays(resolved):
    labels = slabs()
    labels[4, 2, 2] = PORE
    cell = make(resolved, labels)
    assert left_out(cell) == {}
    assert has(cell.network.electrolyte_cells, 4, 2, 2)
    assert not cell.network.determined.at_counter[flat(4, 2, 2)]
    run = assert_solvable(resolved, cell)
    reactive = cell.network.reactive
    pore = np.flatnonzero(cell.network.electrolyte_cells == flat(4, 2, 2))[0]
    charge = (reactive.area * run.last.evaluation.reaction.j)[reactive.ionic == pore]
    # no ion leaves it: its six faces carry nothing on balance
    assert charge.size == 6
    assert abs(charge.sum()) < 2e-9 * run.last.current


def test_closed_pore_in_an_isolated_particle_is_left_out(resolved):
    # phase by phase both potentials would look tied: the pore to the particle, the particle to its pore
    labels = slabs()
    labels[0:3, 0:4, 0:4] = IGNORED
    labels[1, 1, 1:3] = (ACTIVE, PORE)
    cell = make(resolved, labels)
    assert {key: item.cells for key, item in left_out(cell).items()} == {("active", "phi_s"): 1, ("pore", "phi_e"): 1}
    assert not has(cell.network.electrolyte_cells, 1, 1, 2)
    assert_solvable(resolved, cell)


def test_binder_fragment_in_the_pore_keeps_its_electrolyte_only(resolved):
    labels = slabs()
    labels[1, 2, 2:4] = BINDER
    cell = make(resolved, labels)
    assert set(left_out(cell)) == {("binder", "phi_s")}
    assert left_out(cell)["binder", "phi_s"].cells == 2
    assert left_out(cell)["binder", "phi_s"].volume_share == 1.0
    assert has(cell.network.electrolyte_cells, 1, 2, 2)
    assert not has(cell.network.electronic_cells, 1, 2, 2)
    assert_solvable(resolved, cell)


def test_binder_that_touches_only_an_isolated_particle_is_left_out_with_it(resolved):
    labels = slabs()
    labels[0:3, 0:4, 0:4] = IGNORED
    labels[1, 1:3, 1] = (ACTIVE, BINDER)
    cell = make(resolved, labels)
    assert {key: item.cells for key, item in left_out(cell).items()} == {
        ("active", "phi_s"): 1,
        ("binder", "phi_s"): 1,
        ("binder", "phi_e"): 1,
    }
    assert_solvable(resolved, cell)


def test_impermeable_binder_has_no_ions(resolved):
    labels = slabs(4)
    labels[3] = BINDER
    labels[3, 2, 2] = PORE
    cell = make(resolved, labels, transport="impermeable", conductivity=1.0)
    assert left_out(cell) == {}
    assert cell.network.electrolyte_cells.size == 3 * 25 + 1
    assert cell.network.reactive.area.size == 1  # one voxel of the slab sees the pore
    assert_solvable(resolved, cell, rate=0.1)


def test_closed_binder_under_which_nothing_reacts_is_left_out(resolved):
    # with active_coverage = 0 no face ties its ions to anything, and phi_e in it would be arbitrary
    labels = slabs()
    labels[5, 2, 2] = BINDER
    cell = make(resolved, labels, active_coverage=0.0)
    assert set(left_out(cell)) == {("binder", "phi_e")}
    assert not has(cell.network.electrolyte_cells, 5, 2, 2)
    assert has(cell.network.electronic_cells, 5, 2, 2)


def test_a_cell_that_touches_the_collector_without_electrolyte_is_kept_and_idle(resolved):
    labels = slabs()
    labels[5, :3, 2] = IGNORED
    labels[4:, :3, :2] = IGNORED
    labels[6, 0, 0] = ACTIVE
    labels[6, 1:3, 2] = IGNORED
    labels[6, 0, 1:3] = IGNORED
    cell = make(resolved, labels)
    lone = np.flatnonzero(cell.network.solid_cells == flat(6, 0, 0))
    assert lone.size == 1  # its potential is that of the terminal
    assert not cell.network.electrodes[0].counts_for_capacity[lone[0]]
    run = assert_solvable(resolved, cell)
    assert run.last.u[cell.layout.x][lone[0]] == pytest.approx(0.0335, abs=1e-14)


def test_no_electrolyte_at_all_is_impossible(resolved):
    with pytest.raises(ImpossibleError, match=r"no electrolyte touches the counter electrode.*separator"):
        make(resolved, np.full(SHAPE, ACTIVE))


def test_nothing_at_the_collector_is_impossible(resolved):
    labels = slabs()
    labels[-1] = PORE
    with pytest.raises(ImpossibleError, match=r"touches the current collector.*through_plane"):
        make(resolved, labels)


def test_no_face_to_react_at_is_impossible(resolved):
    labels = slabs()
    labels[2] = IGNORED
    with pytest.raises(ImpossibleError, match=r"touches no electrolyte.*labels"):
        make(resolved, labels)


def test_only_a_sealed_reaction_is_impossible(resolved):
    labels = slabs()
    labels[2] = IGNORED
    labels[4, 2, 2] = PORE
    with pytest.raises(ImpossibleError, match=r"no reactive face joins.*x = 1\.5 um of 6\.5 um"):
        make(resolved, labels)


def test_floating_active_material_alone_does_not_make_a_cell(resolved):
    labels = np.full(SHAPE, PORE)
    labels[2:4] = ACTIVE
    labels[5:] = BINDER  # at the collector, with no active material on it
    with pytest.raises(ImpossibleError, match="no reactive face joins"):
        make(resolved, labels)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_random_images_leave_no_singular_part(resolved, seed):
    # rank of the potential block by its smallest eigenvalue: every singular part would add a zero
    labels = np.random.default_rng(seed).choice(4, (6, 4, 4), p=[0.25, 0.3, 0.15, 0.3])
    labels[0], labels[-1], labels[1:, 0, 0] = PORE, ACTIVE, ACTIVE
    cell = resolved.make_cell(labels, layers=())
    assert cell.network.determined.left_out
    u, reference = cell.uniform_state(0.5)
    block = resolved.matrices(cell, cell.evaluate(u, reference, Rate(0.0, u), 0.0)).blocks[2, 2].toarray()
    scale = 1.0 / np.sqrt(np.diag(block))
    eigenvalues = np.linalg.eigvalsh(block * scale * scale[:, None])
    # zero means 1e-15 here; the softest real mode is all reactions in series with all of the binder
    assert eigenvalues.min() > 1e-10
