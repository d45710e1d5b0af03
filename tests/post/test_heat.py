from dataclasses import replace

import numpy as np
import pytest

from battsim.constants import FARADAY
from battsim.materials.closures import constant1
from battsim.materials.library import active_material, counter_electrode, electrolyte
from battsim.materials.types import open_circuit
from battsim.models.cell.network import CellMaterials
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.parameters import P2DGrid, P2DParameters, Particles, PorousElectrode, PorousSeparator
from battsim.post.heat import (
    HEATS,
    IN_PLANES,
    HeatPlanes,
    enthalpy_potential,
    entropic_coefficient,
    heat,
    heat_density,
    heat_sources,
)
from battsim.post.losses import losses
from battsim.post.powers import ionic_powers
from battsim.post.profiles import Profiles
from battsim.solvers.integrate import IntegrationSettings, Limits, consistent_start, integrate
from battsim.solvers.newton import NewtonSettings

IDENTITY = 1e-9
"""Of V times the current: a residual of 1e-8 of the current times potentials 0.1 V off the terminal's."""
T = 308.15
"""K, off the temperature of the sets: U and H then differ from what was published."""


def entropic(x):
    """A made-up dU/dT, V/K, that changes its sign, and its slope."""
    x = np.asarray(x, dtype=float)
    return 4e-4 * (x - 0.5), np.full(x.shape, 4e-4)


def rough_resolved(half_cell, material=entropic):
    """A random image with all that can lose voltage: film, contact resistance, half-covered porous binder."""
    parameters = half_cell.make_parameters(
        half_cell.make_active(film_resistance=2e-3, conductivity=0.05, entropic=material),
        contact_resistance=1e-4,
        active_coverage=0.5,
        conductivity=0.5,
    )
    return half_cell.make_cell(half_cell.random_labels(), replace(parameters, temperature=T))[:2]


def porous(name, sigma=1.0, material=entropic, sizes=((5e-6, 1.0),), **changes):
    active = replace(active_material(name), entropic=material, **changes)
    particles = tuple(Particles(radius, share) for radius, share in sizes)
    return PorousElectrode(active, 60e-6, 0.3, 0.3**1.5, 0.6, particles, sigma)


def p2d(kind, salt="lipf6-nyman2008", **changes):
    """A small homogenised cell, and the mesh of its planes."""
    positive = porous("nmc532-mohtat2020", 0.2, sizes=((3e-6, 0.4), (6e-6, 0.6)), film_resistance=2e-3, **changes)
    negative = porous("graphite-chen2020", 5.0, film_resistance=1e-3, **changes) if kind == "full" else None
    counter = None if kind == "full" else counter_electrode("lithium-xu2019")
    materials = CellMaterials(electrolyte(salt), counter, T, 1000.0)
    parameters = P2DParameters(positive, PorousSeparator(20e-6, 0.47, 0.3), materials, negative)
    cell = P2DCell(parameters, P2DGrid(6, 4, 6, 8))
    return cell, cell.network.line


MAKERS = {
    "resolved": rough_resolved,
    "p2d-half": lambda _, **changes: p2d("half", **changes),
    "p2d-full": lambda _, **changes: p2d("full", **changes),
}
START = {1: (0.3,), 2: (0.8, 0.3)}


class Stretch:
    """A stretch at constant current: its consistent start and its steps, each (u, reference, evaluation)."""

    def __init__(self, half_cell, cell, rate, state=None, limits=None, dt=None, tolerance=3e-3):
        scale = cell.capacity / 3600.0
        if isinstance(cell, P2DCell):
            solver = ParticleElimination(cell.network, cell.layout, cell.materials.salt)
        else:
            solver = half_cell.started(cell, 0.0).linear
        newton = NewtonSettings(rtol=1e-8, balance=1e-10)
        settings = IntegrationSettings(tolerance=tolerance, newton=newton)
        if dt is not None:
            settings = IntegrationSettings(1e9, dt, 1e-3 * dt, dt, newton)
        transient, control = CellTransient(cell, scale), Control("current", rate * scale)
        u, reference = state or cell.uniform_state(*START[len(cell.electrodes)])
        u, reference, evaluation = consistent_start(transient, solver, control, settings, u, reference)
        self.start = (u, reference, evaluation)
        limits, origin = limits or Limits(time=60.0), (0.0, u, reference)
        self.steps = list(integrate(transient, solver, control, limits, settings, origin))
        self.end = (self.steps[-1].u, self.steps[-1].reference)

    @property
    def states(self):
        return [self.start] + [(step.u, step.reference, step.evaluation) for step in self.steps]


@pytest.fixture(scope="module", params=MAKERS)
def made(half_cell, request):
    return MAKERS[request.param](half_cell)


def released_at_surfaces(cell, evaluation):
    """- sum A j H(x_f), W."""
    reaction, total = evaluation.reaction, 0.0
    for electrode in cell.electrodes:
        part = electrode.reactive
        material, x_f = electrode.material, reaction.x_surface[part]
        U_ref = open_circuit(material, x_f, 298.15)[0]
        H = U_ref - 298.15 * entropic(x_f)[0]  # of U + (T - T_ref) dU/dT: no function of T
        total -= float((cell.network.reactive.area * reaction.j)[part] @ H)
    return total


def energy_rate(cell, step):
    """dE/dt by the implicit rate of a step, W."""
    total, x, layout = 0.0, step.u[cell.layout.x], cell.layout
    rate = step.a * (step.u - step.u_star)[layout.x]
    for electrode in cell.electrodes:
        part = electrode.solid
        H = open_circuit(electrode.material, x[part], 298.15)[0] - 298.15 * entropic(x[part])[0]
        total -= float((cell.solid_capacity * rate)[part] @ H)
    return total


@pytest.mark.parametrize("rate", [2.0, -2.0])
def test_first_law_closes_at_every_instant(half_cell, made, rate):
    cell, _ = made
    stretch, scale = Stretch(half_cell, cell, rate), cell.capacity / 3600.0
    for u, reference, evaluation in stretch.states:
        h = heat(cell, u, reference, evaluation)
        at_surfaces = h.total - h.mixing
        assert abs(h.work + at_surfaces - released_at_surfaces(cell, evaluation)) < IDENTITY * scale
        assert abs(h.mismatch) < IDENTITY * scale
    for step in stretch.steps:
        h = heat(cell, step.u, step.reference, step.evaluation)
        assert abs(h.work + h.total + energy_rate(cell, step)) < IDENTITY * scale
        assert abs(h.release + energy_rate(cell, step)) < 1e-12 * abs(h.release)
        assert h.work == pytest.approx(rate * scale * (step.u[cell.layout.V] + step.reference), rel=1e-12)


@pytest.mark.parametrize("rate", [2.0, -2.0])
def test_heats_are_the_losses_times_the_current(half_cell, made, rate):
    cell, _ = made
    for u, reference, evaluation in Stretch(half_cell, cell, rate).states[::4]:
        h, loss = heat(cell, u, reference, evaluation), losses(cell, u, reference, evaluation)
        ionic = loss.electrolyte_ohmic + loss.electrolyte_concentration
        for power, voltage in ((h.ionic, ionic), (h.electronic, loss.electronic), (h.reaction, loss.kinetics)):
            assert power > 0.0
            assert power == pytest.approx(voltage * evaluation.current, rel=1e-12)
        assert h.counter == pytest.approx(loss.counter * evaluation.current, rel=1e-12)


@pytest.mark.parametrize("maker", MAKERS)
def test_at_rest_what_mixes_is_heat(half_cell, maker):
    """Without entropy every part is a dissipation; none is negative, and their sum is what the energy loses."""
    cell, _ = MAKERS[maker](half_cell, material=constant1(0.0))
    scale = cell.capacity / 3600.0
    rest = Stretch(half_cell, cell, 0.0, Stretch(half_cell, cell, 2.0).end)
    found = [heat(cell, u, reference, evaluation) for u, reference, evaluation in rest.states]
    for h, (u, _, evaluation) in zip(found, rest.states, strict=True):
        ohmic, _ = ionic_powers(cell, u, evaluation)
        assert h.work == 0.0
        assert h.entropic == 0.0
        assert min(ohmic.total, h.electronic, h.reaction) > 0.0
        assert h.counter >= -1e-20 * scale  # no current flows there: round-off
        assert h.mixing > 0.0
        assert h.release > 0.0
        assert abs(h.total - h.release) < IDENTITY * scale
    assert found[0].mixing > 1e-5 * scale  # W per A: far above the tolerance
    assert found[-1].total < found[0].total


def integral_of_H(material, x):
    """Integral of H from 0.5 to x, V, by Gauss-Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    at = 0.5 + 0.5 * (x - 0.5)[:, None] * (nodes + 1.0)
    return 0.5 * (x - 0.5) * (enthalpy_potential(material, at, T) @ weights)


def energy(cell, u):
    """Chemical energy of a state, J, from its compositions alone."""
    x = u[cell.layout.x]
    return -sum(float(cell.solid_capacity[e.solid] @ integral_of_H(e.material, x[e.solid])) for e in cell.electrodes)


@pytest.mark.parametrize(("maker", "steps"), [("resolved", (2.0, 1.0)), ("p2d-full", (1.0, 0.5))])
def test_over_a_run_work_and_heat_are_the_change_of_energy(half_cell, maker, steps):
    """Discharge and rest; what is missing falls as trapezoids and BDF2 do behind an abrupt start."""
    cell, _ = MAKERS[maker](half_cell)
    missing = []
    for dt in steps:
        limits = Limits(time=20.0)
        run = Stretch(half_cell, cell, 2.0, limits=limits, dt=dt)
        rest = Stretch(half_cell, cell, 0.0, run.end, limits=limits, dt=dt)
        for stretch in (run, rest):
            power = [h.work + h.total for h in (heat(cell, *state) for state in stretch.states)]
            before, after = energy(cell, stretch.start[0]), energy(cell, stretch.end[0])
            missing.append(abs(np.trapezoid(power, dx=dt) - (before - after)) / (before - after))
    in_discharge, at_rest = missing[::2], missing[1::2]
    assert in_discharge[1] < 5e-6
    assert at_rest[1] < 1e-2  # of a thousandth of the energy that the discharge releases
    for coarse, fine in (in_discharge, at_rest):
        assert 1.4 < np.log2(coarse / fine) < 2.5


def test_each_heat_of_a_layered_cell_is_the_one_worked_out_by_hand(half_cell):
    """3 + 2 + 1 um separator, 3 um pore, 4 um active material: one dimension, no gradient yet between the cells."""
    film, h = 5e-4, 1e-6
    active = half_cell.make_active(film_resistance=film)
    cell, _, _ = half_cell.make_cell([[[k]] for k in (0, 0, 0, 1, 1, 1, 1)], half_cell.make_parameters(active))
    i, area = 20.0, cell.network.cross_section  # the interface is a plane, so that j = -i
    start = half_cell.started(cell, i * area)
    found = heat(cell, start.u, start.reference, start.evaluation)

    salt, at, c, f = cell.parameters.electrolyte, 298.15, np.array([1000.0]), cell.f
    kappa, D, t_plus, TF = (
        float(p(c, at)[0][0])
        for p in (salt.conductivity, salt.diffusivity, salt.transference, salt.thermodynamic_factor)
    )
    beta = 2.0 * (1.0 - t_plus) * TF / f
    c_pore = 1000.0 - (1.0 - t_plus) * i * 0.5 * h / (FARADAY * D)
    c_Li = 1000.0 + (1.0 - t_plus) * i * 1.5e-6 / (FARADAY * 0.3 * D)
    x = np.array([0.3])
    x_f = x + i * 0.5 * h / (FARADAY * float(active.diffusivity(x, at)[0][0]) * active.max_concentration)
    i0 = float(active.exchange_current(x_f, np.array([c_pore]), at)[0][0])
    i0_Li = float(cell.parameters.counter.exchange_current(np.array([c_Li]), at)[0][0])
    U, U_f = (float(active.ocp(y)[0][0]) for y in (x, x_f))
    slope, slope_f = (float(active.entropic(y)[0][0]) for y in (x, x_f))
    expected = {
        "ionic": i * (i * (6e-6 / (0.3 * kappa) + 3.0 * h / kappa) + beta * np.log(c_Li / c_pore)),
        "electronic": i**2 * 4.0 * h / active.conductivity,
        "reaction": i * (2.0 / f * np.arcsinh(0.5 * i / i0) + i * film),
        "counter": i * 2.0 / f * np.arcsinh(0.5 * i / i0_Li),
        "entropic": -i * at * slope_f,  # lithium enters: T dS = - F T dU/dT per mole is taken from the surroundings
        "mixing": i * ((U - at * slope) - (U_f - at * slope_f)),
        "work": i * (U_f - found.total / i / area + found.mixing / i / area - at * slope_f),
    }
    for name, value in expected.items():
        # Newton stops at 1e-8 of the current, and the smallest heat is a hundredth of the largest
        assert getattr(found, name) == pytest.approx(value * area, rel=1e-6), name


def test_entropic_heat_cools_a_discharge_where_the_potential_rises_with_temperature(half_cell):
    """Bernardi's - I T dU/dT, for a dU/dT that does not depend on composition."""
    found = {}
    for slope in (2e-4, -2e-4):
        cell = MAKERS["p2d-half"](half_cell, material=constant1(slope))[0]
        found[slope] = heat(cell, *Stretch(half_cell, cell, 1.0).states[-1])
        current = cell.capacity / 3600.0
        assert found[slope].entropic == pytest.approx(-current * T * slope, rel=1e-9)
    assert found[2e-4].entropic < 0.0


def test_salt_without_a_current_is_neither_warm_nor_cold_and_its_diffusion_dissipates(half_cell):
    """Power of the salt's gradient = rate of its free energy + what its diffusion dissipates, TF = 1 and t_plus fixed.

    The free energy is 2 R T sum eps V (c ln c - c), all of it entropy; per face diffusion dissipates J (mu_o - mu_n).
    """
    cell, _ = p2d("full", salt="lipf6-chen2020")
    discharge = Stretch(half_cell, cell, 2.0)
    rest = Stretch(half_cell, cell, 0.0, discharge.end)
    network, thermal, t_plus = cell.network, 2.0 / cell.f, 0.2594
    for step in discharge.steps[2:] + rest.steps:
        c, salt, faces = step.u[cell.layout.c_e], step.evaluation.salt, network.ionic_faces
        _, concentration = ionic_powers(cell, step.u, step.evaluation)
        stored = thermal * float((cell.salt_capacity * np.log(c)) @ (step.a * (step.u - step.u_star)[cell.layout.c_e]))
        c_o, c_n = c[faces.owner], c[faces.neighbour]
        diffusion = salt.diffusive * (c_o - c_n) * thermal * np.log(c_o / c_n)
        into_surface = network.reactive.area * step.evaluation.reaction.j * (1.0 - t_plus)
        at_surface = into_surface * thermal * np.log(step.evaluation.reaction.c_surface / c[network.reactive.ionic])
        assert diffusion.min() >= 0.0
        dissipated = float(diffusion.sum() + at_surface.sum())
        assert concentration.total == pytest.approx(stored + dissipated, abs=IDENTITY * cell.capacity / 3600.0)
    assert -stored > 0.5 * dissipated > 0.0  # at rest: not heat, but T times the entropy that mixing makes


def test_planes_sum_to_the_whole(half_cell, made):
    cell, mesh = made
    for u, reference, evaluation in Stretch(half_cell, cell, 2.0).states[::5]:
        h, of_planes = (
            heat(cell, u, reference, evaluation),
            HeatPlanes(cell, mesh).of(heat_sources(cell, u, evaluation)),
        )
        assert set(of_planes) == set(IN_PLANES) == set(HEATS) - {"counter"}
        for name, values in of_planes.items():
            assert values.shape == (mesh.grid_shape[0],)
            assert values.sum() == pytest.approx(getattr(h, name), rel=1e-12)
        rows = list(Profiles(cell, mesh).rows(0.0, u, reference, evaluation))
        volume = np.bincount(mesh.position[:, 0], mesh.volume)
        in_planes = volume @ [row["heat_W_m3"] for row in rows]
        assert in_planes == pytest.approx(h.total - h.counter, rel=1e-12)
        density = heat_density(cell, mesh, u, evaluation)
        assert mesh.volume @ density == pytest.approx(h.total - h.counter, rel=1e-12)
        current = volume @ [row["reaction_A_m3"] for row in rows]
        assert current == pytest.approx(sum(-e.sign * evaluation.current for e in cell.electrodes), abs=1e-8 * h.work)


def test_a_face_is_shared_by_distance_and_a_reaction_belongs_to_the_active_cell(half_cell):
    """Layers of 3, 2, 1 um separator, 3 x 1 um pore, 4 x 1 um active material: heat per volume is i^2/(b kappa)."""
    cell, mesh, _ = half_cell.make_cell([[[k]] for k in (0, 0, 0, 1, 1, 1, 1)])
    i, area = 20.0, cell.network.cross_section
    start = half_cell.started(cell, i * area)
    of_planes = HeatPlanes(cell, mesh).of(heat_sources(cell, start.u, start.evaluation))
    kappa = float(cell.parameters.electrolyte.conductivity(np.array([1000.0]), 298.15)[0][0])
    salt = ionic_powers(cell, start.u, start.evaluation)[1].counter.sum()
    in_separator = i**2 / (0.3 * kappa) * np.array([3e-6, 2e-6]) * area + [salt, 0.0]
    np.testing.assert_allclose(of_planes["ionic"][:2], in_separator, rtol=1e-6)
    np.testing.assert_allclose(of_planes["electronic"][6:], i**2 * 1e-6 / 0.1 * area, rtol=1e-6)
    for name in ("reaction", "entropic", "mixing"):
        assert np.flatnonzero(of_planes[name]).tolist() == [6], name
    rows = list(Profiles(cell, mesh).rows(0.0, start.u, start.reference, start.evaluation))
    at_surface = [(row["reaction_A_m3"], row["x_surface_mean"]) for row in rows]
    assert at_surface[6] == pytest.approx((-i / 1e-6, start.evaluation.reaction.x_surface[0]), rel=1e-7)
    assert {current for current, _ in at_surface[:6] + at_surface[7:]} == {0.0}
    # planes of one cell: the same but where a face lies between thicknesses, or the reaction's heat comes in
    density = heat_density(cell, mesh, start.u, start.evaluation)
    in_planes = np.array([row["heat_W_m3"] for row in rows])
    np.testing.assert_allclose(density[[4, 6, 7, 8, 9]], in_planes[[4, 6, 7, 8, 9]], rtol=1e-9)
    np.testing.assert_allclose(density[8], i**2 / 0.1, rtol=1e-6)


def test_past_the_fitted_range_the_law_still_closes(half_cell):
    """Surfaces at x = 0.3 and above, fitted from 0.35: U and dU/dT continue by their end slopes."""
    material = replace(active_material("nmc532-mohtat2020"), entropic=lambda x: (x**2, 2.0 * x), fitted=(0.35, 0.9))
    x = np.array([0.2, 0.35, 0.5, 1.0])
    np.testing.assert_allclose(entropic_coefficient(material, x), [0.0175, 0.1225, 0.25, 0.99], rtol=1e-12)
    cell = MAKERS["p2d-half"](half_cell, fitted=(0.35, 0.9))[0]
    for state in Stretch(half_cell, cell, 2.0).states:
        h = heat(cell, *state)
        assert abs(h.mismatch) < IDENTITY * cell.capacity / 3600.0
        assert h.mixing > 0.0


def test_heats_of_a_full_cell_are_those_of_another_code(half_cell):
    """PyBaMM 26.10.1, DFN, Chen2020 at 5 A on 0.1027 m2, heat of mixing on, 60 points per domain and per particle.

    Ohmic, reaction, mixing, W/m2. There is no entropic coefficient in this set.
    """
    theirs = {1200.0: (3.1352, 4.2270, 4.7899), 2400.0: (3.4341, 4.4136, 3.4336)}
    negative = PorousElectrode(
        active_material("graphite-chen2020"), 85.2e-6, 0.25, 0.25**1.5, 0.75, (Particles(5.86e-6),), 215.0
    )
    positive = PorousElectrode(
        active_material("nmc811-chen2020"), 75.6e-6, 0.335, 0.335**1.5, 0.665, (Particles(5.22e-6),), 0.18
    )
    materials = CellMaterials(electrolyte("lipf6-chen2020"), None, 298.15, 1000.0)
    separator = PorousSeparator(12e-6, 0.47, 0.47**1.5)
    cell = P2DCell(P2DParameters(positive, separator, materials, negative), P2DGrid(30, 10, 30, 40))
    x = tuple(electrode.material.stoichiometry_soc100 for electrode in cell.electrodes)
    rate = 5.0 / 0.1027 / (cell.capacity / 3600.0)
    limits = Limits(time=2400.0, every=1200.0)
    stretch = Stretch(half_cell, cell, rate, cell.uniform_state(*x), limits, tolerance=1e-3)
    found = {step.time: heat(cell, step.u, step.reference, step.evaluation) for step in stretch.steps}
    for time, expected in theirs.items():
        h = found[time]
        # both meshes and steps are within a few tenths of a per cent
        assert (h.ionic + h.electronic, h.reaction, h.mixing) == pytest.approx(expected, rel=5e-3)
        assert h.entropic == 0.0
