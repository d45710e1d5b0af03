"""The resolved full cell: its mirror image, its homogeneous limit, its derivatives, its islands, and a cycle."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from battsim.errors import ImpossibleError
from battsim.materials.closures import constant
from battsim.materials.library import active_material, electrolyte
from battsim.models.cell.equations import Rate
from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
from battsim.models.cell.network import CellMaterials
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.parameters import P2DGrid, P2DParameters, Particles, PorousElectrode, PorousSeparator
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.parameters import Binder, FullCellParameters, IonicPhase, Solids
from battsim.models.resolved.places import MeshPlaces
from battsim.post.tally import advance, begin, snapshot
from battsim.solvers.block import BlockSolver
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.stepping import IntegrationSettings, Limits
from meshing.generate import spheres
from meshing.image import VoxelImage
from meshing.stack import layers_between, stack_mesh

GRAPHITE, NMC = active_material("graphite-chen2020"), active_material("nmc811-chen2020")
LAYERS = (1e-6, 2e-6, 2e-6, 1.5e-6)
START = 0.8, 0.3
"""Stoichiometries of graphite and NMC, most of the way to full charge."""


def make_full(resolved, negative, positive, solids=None, *, h=(1e-6, 1e-6), layers=LAYERS, mirror=False):
    """Cell and mesh of two arrays of labels; `mirror` exchanges images, materials and layers."""
    images = [
        VoxelImage(np.asarray(labels, np.uint8), (step, 1e-6, 1e-6), resolved.phases)
        for labels, step in zip((negative, positive), h, strict=True)
    ]
    chosen = solids or (
        Solids(GRAPHITE, Binder()),
        Solids(NMC, Binder(ionic=IonicPhase(0.4, 0.1), conductivity=10.0, contact_resistance=1e-4)),
    )
    if mirror:
        images, chosen, layers = images[::-1], chosen[::-1], layers[::-1]
    mesh = stack_mesh(*images, layers, inside="active")
    p = FullCellParameters(*chosen, electrolyte("lipf6-nyman2008"), IonicPhase(0.47, 0.3), 298.15, 1000.0)
    return FullCell(mesh, p), mesh


def random_pair(resolved, seed=0):
    shape = (5, 3, 2), (4, 3, 2)
    return [resolved.random_labels(each, seed=seed + k) for k, each in enumerate(shape)]


def random_state(cell, seed=1):
    rng, layout = np.random.default_rng(seed), cell.layout
    u, reference = cell.uniform_state(*START)
    u[layout.x] = rng.uniform(0.35, 0.7, layout.n_solid)
    u[layout.c_e] = rng.uniform(500.0, 1500.0, layout.n_electrolyte)
    u[layout.potentials] += rng.uniform(-0.03, 0.03, layout.size - layout.potentials.start)
    return u, reference


def block_solver(cell):
    return BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES)


# structure


def test_lists_lie_electrode_by_electrode(resolved):
    cell, mesh = make_full(resolved, *random_pair(resolved))
    network, (negative, positive) = cell.network, cell.electrodes
    assert (negative.name, negative.sign, positive.name, positive.sign) == ("negative", -1.0, "positive", 1.0)
    assert network.n_grounded == negative.electronic.stop > 0
    low = mesh.position[:, 0] < 5
    for electrode, inside in ((negative, low), (positive, ~low)):
        assert inside[network.solid_cells[electrode.solid]].all()
        assert inside[network.electronic_cells[electrode.electronic]].all()
        faces = network.solid_faces
        assert inside[network.solid_cells[faces.owner[electrode.solid_faces]]].all()
        assert inside[network.solid_cells[network.reactive.solid[electrode.reactive]]].all()
    for name, size in (
        ("solid", network.solid_cells.size),
        ("electronic", network.electronic_cells.size),
        ("solid_faces", network.solid_faces.owner.size),
        ("reactive", network.reactive.area.size),
    ):
        assert (getattr(negative, name).stop, getattr(positive, name).stop) == (getattr(positive, name).start, size)
    assert network.counter.area.size == 0
    assert network.ground[0].size == network.collector[0].size == 6
    # half a voxel of graphite, and of NMC, in front of the collectors
    assert network.ground[1] == pytest.approx(GRAPHITE.conductivity * 1e-12 / 0.5e-6, rel=1e-12)
    assert network.collector[1] == pytest.approx(NMC.conductivity * 1e-12 / 0.5e-6, rel=1e-12)


def test_rest_is_at_the_difference_of_the_potentials(resolved):
    cell, _ = make_full(resolved, *random_pair(resolved))
    u, reference = cell.uniform_state(*START)
    e = cell.evaluate(u, reference, Rate(0.0, u), 0.0)
    # round-off of potentials of volts times conductances of 1e-3 S
    assert np.abs(e.residual).max() < 1e-14
    assert 3.9 < reference < 4.2


# derivatives


@pytest.mark.parametrize("a", [0.05, 0.0])
def test_jacobian_is_the_derivative_of_the_residual(resolved, a):
    cell, _ = make_full(resolved, *random_pair(resolved))
    (u, reference), rate = random_state(cell), Rate(a, random_state(cell, 2)[0])
    scale = np.full(u.size, 0.1)
    scale[cell.layout.x], scale[cell.layout.c_e] = 1.0, 1000.0

    def residual(v):
        return cell.evaluate(v, reference, rate, 1e-9).residual

    jacobian, step = cell.jacobian(cell.evaluate(u, reference, rate, 1e-9)), 1e-5
    analytic = np.stack([jacobian @ column for column in np.diag(scale)], axis=1)
    shifts = step * np.diag(scale)
    numeric = np.stack([(residual(u + v) - residual(u - v)) / (2.0 * step) for v in shifts], axis=1)
    noise = 1e-11 * np.abs(analytic).max(axis=1, keepdims=True)  # round-off of the rows over the step
    # measured: truncation of Butler-Volmer at 1 uV and 1e-5 of x
    assert np.all(np.abs(numeric - analytic) < 1e-6 * np.abs(analytic).max(axis=0) + noise)


# a mirror


def stepped(cell, state, current, *, dt=2.0, n=5):
    """Voltages and last state after n steps of the same length."""
    transient, linear = CellTransient(cell, abs(current)), block_solver(cell)
    settings = IntegrationSettings(tolerance=1e9, first_step=dt, largest_step=dt, smallest_step=1e-3 * dt)
    control = Control("current", current)
    u, reference, _ = consistent_start(transient, linear, control, settings, *state)
    voltages = [transient.voltage(u, reference)]
    for step in integrate(transient, linear, control, Limits(time=n * dt), settings, (0.0, u, reference)):
        voltages.append(transient.voltage(step.u, step.reference))
    return np.array(voltages), step


def test_a_cell_and_its_mirror_image_are_the_same_cell(resolved):
    # negative and positive exchanged in everything: images, materials, ground and terminal, and the current's sign
    images, h = random_pair(resolved), (1e-6, 2e-6)
    cell, mesh = make_full(resolved, *images, h=h)
    mirrored, twin = make_full(resolved, *images, h=h, mirror=True)
    current = 2.0 * cell.capacity / 3600.0
    assert mirrored.capacity == pytest.approx(cell.capacity, rel=1e-12)
    V, last = stepped(cell, cell.uniform_state(*START), current)
    other, end = stepped(mirrored, mirrored.uniform_state(*START[::-1]), -current)
    assert V[0] - V[-1] > 2e-3
    # what Newton leaves, 1e-6 of the residual, over conductances of the cell
    assert other == pytest.approx(-V, abs=1e-7)
    for c in ("c_e", "x"):
        assert np.sort(end.u[getattr(mirrored.layout, c)]) == pytest.approx(
            np.sort(last.u[getattr(cell.layout, c)]), rel=1e-6
        )
    depth, back = (m.centre[n.network.electrolyte_cells, 0] for m, n in ((mesh, cell), (twin, mirrored)))
    total = float(mesh.volume.sum()) / cell.network.cross_section
    slope = np.polyfit(depth, last.u[cell.layout.c_e], 1)[0]
    assert abs(slope) > 3e5  # mol/m4
    assert np.polyfit(total - back, end.u[mirrored.layout.c_e], 1)[0] == pytest.approx(slope, rel=1e-4)


# the homogeneous limit


SLOPE = 0.02
"""-dU/dx of both materials, V: lithium moves along the plates too, as it does not in the homogeneous cell, and must not
matter."""
N, THIN, THICK, DEEP = 12, 10e-6, 12e-6, 16e-6
"""Cells across each layer, and thicknesses of separator, negative and positive electrode, m."""


def sloped(material, potential, i0, conductivity):
    """A material whose potential falls little with x, and whose reaction is as fast as asked for (A/m2) at any x."""

    def ocp(x):
        return potential - SLOPE * np.asarray(x, float), np.full(np.shape(x), -SLOPE)

    def exchange_current(x, c_e, T):  # noqa: ARG001 (the signature of a closure)
        value = i0 * np.sqrt(c_e / 1000.0)
        return value, np.zeros_like(x), 0.5 * value / c_e

    changed = {"ocp": ocp, "exchange_current": exchange_current, "conductivity": conductivity}
    return replace(material, **changed, fitted=(0.0, 1.0), diffusivity=constant(2e-14))


def flat_faces(mesh):
    """The mesh with the plates' own faces, without what smoothing makes of their ends at the separator."""
    pairs = (pair for pair in mesh.interfaces if pair.phases[1].endswith("pore"))
    return replace(
        mesh,
        interfaces=tuple(
            replace(
                pair,
                area=pair.area / pair.cosine,
                first_distance=pair.first_distance / pair.cosine,
                second_distance=pair.second_distance / pair.cosine,
            )
            for pair in pairs
        ),
    )


def laminate(h):
    """Full cell of plates along x, one voxel of active material and one of pore, h apiece; its homogeneous limit.

    The reaction per area falls with h as the area per volume grows, so that kinetics cost the same at every h.
    """
    chosen = [sloped(GRAPHITE, 0.2, 2e6 * h, 2.0), sloped(NMC, 4.0, 3e6 * h, 0.3)]
    labels = np.tile(np.array([0, 1], np.uint8)[:, None], (N, 1, 1))
    images = [VoxelImage(labels, (L / N, h, h), ("pore", "active")) for L in (THICK, DEEP)]
    mesh = flat_faces(stack_mesh(*images, layers_between(THIN, 40, (5e-9, 5e-9)), inside="active"))
    salt, separator = electrolyte("lipf6-nyman2008"), IonicPhase(0.47, 0.3)
    solids = [Solids(material, Binder()) for material in chosen]
    cell = FullCell(mesh, FullCellParameters(*solids, salt, separator, 298.15, 1000.0))
    areas = [
        cell.network.reactive.area[each.reactive].sum() / (L * 2.0 * h * h)
        for each, L in zip(cell.electrodes, (THICK, DEEP), strict=True)
    ]
    negative, positive = (
        PorousElectrode(material, L, 0.5, 0.5, 0.5, (Particles(1e-8),), 0.5 * material.conductivity, area)
        for material, L, area in zip(chosen, (THICK, DEEP), areas, strict=True)
    )
    materials = CellMaterials(salt, None, 298.15, 1000.0)
    parameters = P2DParameters(positive, PorousSeparator(THIN, 0.47, 0.3), materials, negative)
    return cell, P2DCell(parameters, P2DGrid(N, 40, N, 4))


def voltages(cell, linear, density):
    """Voltage at the consistent start and after every two seconds of ten."""
    transient, current = CellTransient(cell, density * cell.network.cross_section), density * cell.network.cross_section
    settings = IntegrationSettings(tolerance=1e9, first_step=2.0, largest_step=2.0, smallest_step=1e-3)
    u, reference, _ = consistent_start(
        transient, linear, Control("current", current), settings, *cell.uniform_state(*START)
    )
    found = [transient.voltage(u, reference)]
    for step in integrate(
        transient, linear, Control("current", current), Limits(time=10.0), settings, (0.0, u, reference)
    ):
        found.append(transient.voltage(step.u, step.reference))
    return np.array(found)


def test_fine_plates_are_a_homogeneous_cell(resolved):
    gaps = []
    for h in (0.5e-6, 0.25e-6, 0.125e-6):
        cell, line = laminate(h)
        linear = ParticleElimination(line.network, line.layout, 1000.0)
        gaps.append(voltages(cell, resolved.DirectSolver(cell), 100.0) - voltages(line, linear, 100.0))
    # measured at 10 s: -1.99, -0.76, -0.32 mV, of which 2.1 mV h/um are the constriction where plates of pore meet the
    # separator, and 3.7 mV (h/um)^2 the ways across the plates
    assert np.all((np.abs(gaps[0]) > 1e-3) & (np.abs(gaps[0]) < 2.5e-3))
    constriction = [2.0 * fine - coarse for coarse, fine in pairwise(gaps)]
    extrapolated = (4.0 * constriction[1] - constriction[0]) / 3.0
    # measured 0.5 uV, and no less is left of the next order in h
    assert np.abs(extrapolated).max() < 5e-6


# islands


def test_islands_of_both_electrodes_are_left_out_or_float(resolved):
    PORE, ACTIVE, BINDER, IGNORED = range(4)
    images = []
    for _ in range(2):
        labels = np.full((8, 5, 5), PORE)
        labels[5:] = ACTIVE
        labels[1, 1:4, 1:4] = IGNORED
        labels[1, 2, 2] = ACTIVE  # dry and alone
        labels[[0, 2], 2, 2] = IGNORED
        labels[3, 0, 0] = ACTIVE  # wet, but no electron reaches it
        labels[3, 4, 4] = BINDER  # no electron either
        images.append(labels)
    images[0][6, 2, 2] = PORE  # closed, in connected graphite
    cell, mesh = make_full(resolved, *images)
    found = {(item.phase, item.potential): item.cells for item in cell.network.determined.left_out}
    assert found == {
        (f"{name} {phase}", "phi_s"): 1 for name in ("negative", "positive") for phase in ("active", "binder")
    }
    for electrode in cell.electrodes:
        floating = mesh.phase[cell.network.solid_cells[electrode.solid]] >= 0
        assert np.count_nonzero(~electrode.counts_for_capacity & floating) == 1
    expected = 3 * 25e-18 * 96485.33212
    window = [abs(m.stoichiometry_soc100 - m.stoichiometry_soc0) * m.max_concentration for m in (GRAPHITE, NMC)]
    assert cell.electrode_capacity(cell.electrodes[0]) == pytest.approx(74 / 75 * expected * window[0], rel=1e-9)
    assert cell.electrode_capacity(cell.electrodes[1]) == pytest.approx(expected * window[1], rel=1e-9)
    transient, current = CellTransient(cell, 1e-9), cell.capacity / 3600.0
    settings = resolved.settings_of(first_step=1.0)
    linear, control = resolved.DirectSolver(cell), Control("current", current)
    transient = CellTransient(cell, current)
    u, reference, _ = consistent_start(transient, linear, control, settings, *cell.uniform_state(*START))
    *_, last = integrate(transient, linear, control, Limits(time=20.0), settings, (0.0, u, reference))
    reactive, j = cell.network.reactive, last.evaluation.reaction.j
    for electrode in cell.electrodes:
        lone = np.flatnonzero(~electrode.counts_for_capacity) + electrode.solid.start
        into = (reactive.area * j)[np.isin(reactive.solid, lone)]
        assert np.abs(into).sum() > 1e-9 * current
        assert abs(into.sum()) < 2e-9 * current


def test_an_electrode_that_interrupts_the_way_is_named(resolved):
    good = np.zeros((4, 3, 3), int)
    good[2:] = 1
    bare, dry = good.copy(), good.copy()
    bare[-1] = 0
    dry[1] = 3
    for k, name in enumerate(("negative", "positive")):
        for wrong, told in ((bare, "touches its current collector"), (dry, "joins the electrons' path")):
            images = [good, good]
            images[k] = wrong
            with pytest.raises(
                ImpossibleError, match=rf"{name} electrode.*{told}.*\[{name}\.image\]|{told}.*{name}"
            ) as e:
                make_full(resolved, *images)
            assert name in str(e.value)


# the solver, and a cycle


@pytest.fixture(scope="module")
def images():
    """Packed spheres of 3 um radius: negative and positive."""
    shares, shapes = ((0.58, 0.08), (0.48, 0.12)), ((9, 7, 7), (8, 7, 7))
    return [
        spheres(shape, (1e-6,) * 3, *share, 6e-6, 0.0, np.random.default_rng(seed)).labels
        for seed, (shape, share) in enumerate(zip(shapes, shares, strict=True))
    ]


def iterations(cell, x):
    """Krylov iterations per Newton iteration over the first 600 s at 1C."""
    current, linear = cell.capacity / 3600.0, block_solver(cell)
    transient, control, settings = CellTransient(cell, current), Control("current", current), IntegrationSettings()
    u, reference, _ = consistent_start(transient, linear, control, settings, *cell.uniform_state(*x))
    steps = list(integrate(transient, linear, control, Limits(time=600.0), settings, (0.0, u, reference)))
    return sum(step.linear_iterations for step in steps) / sum(step.newton_iterations for step in steps)


def test_multigrid_takes_the_ground_as_it_takes_the_counter_electrode(resolved, images):
    full, _ = make_full(resolved, *images)
    half = resolved.make_cell(images[1], resolved.make_parameters(NMC), layers=LAYERS)
    found, wanted = iterations(full, START), iterations(half, START[1:])
    assert found < 1.3 * wanted  # measured: 6.2 and 6.6


@pytest.fixture(scope="module")
def cycle(resolved, images):
    """Discharge, rest, charge, hold, and a charge so fast that lithium plates: cell, places, tallies, steps."""
    cell, mesh = make_full(resolved, *images)
    linear, one_c = block_solver(cell), cell.capacity / 3600.0
    (u, reference), time, tally, ends, seen = cell.uniform_state(0.65, 0.5), 0.0, None, [], []
    stretches = (
        (Control("current", one_c), Limits(time=600.0)),
        (Control("current", 0.0), Limits(time=900.0)),
        (Control("current", -one_c), Limits(voltage=3.9)),
        (Control("voltage", 3.9), Limits(current=-0.5 * one_c)),
        (Control("current", -2.1 * one_c), None),
    )
    for control, limits in stretches:
        transient, settings = CellTransient(cell, one_c), IntegrationSettings(smallest_step=1e-5)
        limits = limits or Limits(time=time + 120.0)
        u, reference, e = consistent_start(transient, linear, control, settings, u, reference)
        tally = begin(snapshot(cell, time, u, reference, e), one_c, tally)
        for step in integrate(transient, linear, control, limits, settings, (time, u, reference)):
            tally = advance(tally, snapshot(cell, step.time, step.u, step.reference, step.evaluation), step.dt)
            seen.append((step, tally))
        u, reference, time = step.u, step.reference, step.time
        ends.append((step.stop, tally))
    return cell, MeshPlaces(cell.network, cell.layout, mesh), ends, seen


def test_a_cycle_conserves_lithium_charge_salt_and_energy(cycle):
    cell, _, ends, _ = cycle
    assert [stop for stop, _ in ends] == ["time", "time", "voltage", "current", "time"]
    tally = ends[-1][1]
    assert tally.throughput > 0.3 * cell.capacity
    assert tally.lithium_imbalance < 1e-10
    assert tally.charge_imbalance < 1e-8
    assert tally.salt_drift < 1e-10
    assert tally.loss_mismatch < 1e-7
    assert tally.first_law_mismatch < 1e-7
    negative, positive = tally.now.electrodes
    before, after = tally.start.electrodes
    exchanged = negative.lithium - before.lithium
    assert positive.lithium - after.lithium == pytest.approx(-exchanged, abs=1e-10 * tally.throughput)


def test_the_plating_margin_is_that_of_the_worst_surface_and_its_time(cycle):
    cell, places, ends, seen = cycle
    part, reactive = cell.electrodes[0].reactive, cell.network.reactive
    margins = []
    for step, _ in seen:
        reaction, layout = step.evaluation.reaction, cell.layout
        # from potentials: phi_s of the surface against phi_e of the electrolyte at it
        c_e, phi_e = step.u[layout.c_e], step.u[layout.phi_e][reactive.ionic]
        drop = sum(cell.ionic_drop(reactive, c_e, reaction))
        phi_s = step.u[layout.phi_s][reactive.electronic] - reaction.j * reactive.resistance
        margins.append((phi_s - phi_e - drop)[part])
    smallest = np.array([margin.min() for margin in margins])
    found, where = ends[-1][1].plating, int(smallest.argmin())
    assert found.margin == pytest.approx(smallest[where], abs=1e-9)
    assert found.time == seen[where][0].time
    assert found.face == int(margins[where].argmin())
    assert places.of("x", int(reactive.solid[found.face])).startswith("a cell of negative active ")
    below = np.flatnonzero(smallest < 0.0)
    assert below.size > 3
    first, face = found.below_zero
    at, before = (seen[k][0].time for k in (below[0], below[0] - 1))
    assert before < first < at
    share = (first - before) / (at - before)
    assert (1.0 - share) * smallest[below[0] - 1] + share * smallest[below[0]] == pytest.approx(0.0, abs=1e-9)
    assert face == int(margins[below[0]].argmin())


def test_a_voxel_that_round_off_filled_stops_a_step_that_would_go_on(resolved):
    cell, _ = make_full(resolved, *random_pair(resolved))
    u, reference = cell.uniform_state(*START)
    problem = CellTransient(cell, 1e-9).problem(1.0, u, reference, Control("current", 0.0))
    u[cell.layout.x.start], du = 1.0, np.zeros_like(u)
    assert problem.step_limit(u, du) == 1.0
    du[cell.layout.x.start] = 1e-9
    assert 0.0 <= problem.step_limit(u, du) < 1e-100
