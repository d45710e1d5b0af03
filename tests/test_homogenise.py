"""Parameters of the homogenised cell from an image, and the images for which the homogenised cell is exact."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from battsim.errors import ImpossibleError
from battsim.homogenise import BASELINES, Conduction, HomogenisedCell, homogenise, ladder
from battsim.materials.closures import constant
from battsim.materials.library import active_material, counter_electrode, electrolyte
from battsim.materials.types import open_circuit
from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.parameters import P2DGrid
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.parameters import Binder, FullCellParameters, HalfCellParameters, IonicPhase, Solids
from battsim.output.pybamm_module import write_pybamm_module
from battsim.solvers.block import BlockSolver
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.stepping import IntegrationSettings, Limits
from meshing.image import VoxelImage
from meshing.stack import stack_mesh
from meshing.voxel import voxel_mesh

PHASES = ("pore", "active", "binder")
SEPARATOR = (1.2e-6,) * 10
THICKNESS = 24e-6
SIGMA = 10.0


def parameters(diffusivity=1e-12, **binder):
    return HalfCellParameters(
        fast("nmc811-chen2020", diffusivity),
        electrolyte("lipf6-chen2020"),
        counter_electrode("lithium-xu2019"),
        Binder(**binder),
        IonicPhase(0.5, 0.4),
        298.15,
        1000.0,
    )


def built(labels, h, p):
    image = VoxelImage(np.asarray(labels, np.uint8), (h, h, h), PHASES)
    mesh = voxel_mesh(image, layers=SEPARATOR, inside="active")
    return SimpleNamespace(cell=HalfCell(mesh, p), mesh=mesh, images=[image])


def fast(name, diffusivity):
    """A named active material with a diffusivity, m2/s, and SIGMA."""
    return replace(active_material(name), diffusivity=constant(diffusivity), conductivity=SIGMA)


def built_full(negative, positive, h):
    """A full cell of two arrays of labels, solid diffusion in both as fast as that of electrolyte is slow."""
    images = [VoxelImage(np.asarray(labels, np.uint8), (h, h, h), PHASES) for labels in (negative, positive)]
    mesh = stack_mesh(*images, SEPARATOR, inside="active")
    solids = [Solids(fast(name, 1e-12), Binder()) for name in ("graphite-chen2020", "nmc811-chen2020")]
    p = FullCellParameters(*solids, electrolyte("lipf6-chen2020"), IonicPhase(0.5, 0.4), 298.15, 1000.0)
    return SimpleNamespace(cell=FullCell(mesh, p), mesh=mesh, images=images)


def laminate(period, h):
    """Planes of pore and of active material, half a period thick each, that run from the separator to the collector."""
    half, n = round(0.5 * period / h), round(THICKNESS / h)
    labels = np.zeros((n, 2 * half, 1), np.uint8)
    labels[:, half:] = 1
    return labels


def discharged(cell, linear, density, seconds, start=(0.3,)):
    """Times and voltages at a current density, A/m2."""
    current = density * cell.network.cross_section
    transient, control = CellTransient(cell, current), Control("current", current)
    settings = IntegrationSettings(tolerance=2e-5, first_step=1e-3, smallest_step=1e-7)
    u, reference = cell.uniform_state(*start)
    u, reference, _ = consistent_start(transient, linear, control, settings, u, reference)
    curve = [(0.0, transient.voltage(u, reference))]
    for step in integrate(transient, linear, control, Limits(time=seconds), settings, (0.0, u, reference)):
        curve.append((step.time, transient.voltage(step.u, step.reference)))
    return tuple(np.array(curve).T)


def on_line(b, factor, conductivity) -> HomogenisedCell:
    """A half cell in the terms of the homogenised model, with a given b and sigma."""
    return homogenise(b.cell, b.mesh, b.images, [Conduction(factor, conductivity)])


def difference(b, density=60.0, seconds=120.0, start=(0.3,)):
    """Largest difference of the two models of a cell of laminates after the first moments, V."""
    solver = BlockSolver(b.cell.networks, SWEEP_ORDER, cycles=CYCLES)
    resolved = discharged(b.cell, solver, density, seconds, start)
    conduction = [Conduction(0.5, 0.5 * SIGMA)] * len(b.images)
    h = homogenise(b.cell, b.mesh, b.images, conduction)
    line = P2DCell(dict(ladder(h))[BASELINES["p2d_image"]], P2DGrid(60, 20, 60, 12))
    linear = ParticleElimination(line.network, line.layout, 1000.0)
    homogenised = discharged(line, linear, density, seconds, start)
    t = np.linspace(10.0, seconds, 50)
    return float(np.max(np.abs(PchipInterpolator(*resolved)(t) - PchipInterpolator(*homogenised)(t))))


def test_a_laminate_has_exact_parameters():
    b = built(laminate(4e-6, 1e-6), 1e-6, parameters())
    found = on_line(b, 0.5, 0.5 * SIGMA)
    (h,) = found.electrodes
    assert h.thickness == pytest.approx(THICKNESS)
    assert found.separator.thickness == pytest.approx(12e-6)
    assert h.porosity == pytest.approx(0.5, rel=1e-12)
    assert h.active_volume_fraction == pytest.approx(0.5, rel=1e-12)
    # one plane of surface per 4 um, and the 2 um of active material in contact with the separator per 4 um x 24 um
    area = 1.0 / 4e-6 + 0.5 / THICKNESS
    assert h.area_per_volume == pytest.approx(area, rel=0.05)  # the edge at the separator is rounded off
    assert h.radius == pytest.approx(3.0 * 0.5 / h.area_per_volume, rel=1e-12)
    assert h.b_bruggeman == pytest.approx(0.5**1.5)
    assert h.conductivity_bruggeman == pytest.approx(SIGMA * 0.5**1.5)
    assert sum(each.share for each in h.sizes) == pytest.approx(1.0)
    assert sum(each.share / each.radius for each in h.sizes) == pytest.approx(1.0 / h.radius)


def test_what_takes_no_part_is_not_counted():
    """An isolated active voxel in the pore, a closed pore in the active material, and half-porous binder."""
    labels = np.zeros((10, 5, 5), np.uint8)
    labels[4:, 2:] = 1
    labels[1, 1, 1] = 1  # touches neither electrode nor collector
    labels[8, 3, 3] = 0  # a closed pore
    labels[2:4, 4, 4] = 2
    labels[9, :, :] = 1
    b = built(labels, 1e-6, parameters(ionic=IonicPhase(0.5, 0.1)))
    (h,) = on_line(b, 0.3, 1.0).electrodes
    n_active = int((labels == 1).sum())
    assert h.active_volume_fraction == pytest.approx((n_active - 1) / 250.0, rel=1e-12)
    open_pore, binder = int((labels == 0).sum()) - 1, 2
    assert h.porosity == pytest.approx((open_pore + 0.5 * binder) / 250.0, rel=1e-12)
    # R counts the whole surface, a only what reacts with electrolyte that the separator reaches
    assert 3.0 * (n_active / 250.0) / h.radius > h.area_per_volume


def test_the_ladder_takes_over_one_quantity_after_the_other():
    b = built(laminate(4e-6, 1e-6), 1e-6, parameters())
    found = on_line(b, 0.21, 0.7)
    (h,) = found.electrodes
    rungs = {name: p.positive for name, p in ladder(found)}
    assert list(rungs) == ["bruggeman", "+b", "+sigma", "+a", "+radius distribution"]
    assert rungs["bruggeman"].b == h.b_bruggeman
    assert rungs["+b"] == replace(rungs["bruggeman"], b=0.21)
    assert rungs["+sigma"] == replace(rungs["+b"], conductivity=0.7)
    assert rungs["+a"] == replace(rungs["+sigma"], area_per_volume=h.area_per_volume)
    assert rungs["+radius distribution"] == replace(rungs["+a"], particles=h.sizes)
    assert set(BASELINES.values()) <= set(rungs)


def test_the_gap_to_the_resolved_cell_vanishes_with_the_size_of_the_structure():
    """Laminates, whose b, sigma and a are exact: solid diffusion is fast, so that planes are as good as spheres."""
    coarse, fine = (
        difference(built(laminate(period, period / 4.0), period / 4.0, parameters())) for period in (8e-6, 2e-6)
    )
    assert coarse > 4.0 * fine
    assert fine < 3e-4


def test_each_electrode_of_a_full_cell_has_its_own_parameters():
    """The positive laminate is half as thick, with twice the period; an isolated voxel in each takes no part."""
    negative, positive = laminate(4e-6, 1e-6), laminate(8e-6, 1e-6)[:12]
    negative = np.concatenate([negative, negative], axis=1)
    negative[1, 0] = positive[5, 1] = 1
    b = built_full(negative, positive, 1e-6)
    found = homogenise(b.cell, b.mesh, b.images, [Conduction(0.4, 3.0), Conduction(0.5, 5.0)])
    graphite, nmc = found.electrodes
    alone = [built(each, 1e-6, parameters()) for each in (negative, positive)]
    for h, one, name in ((graphite, alone[0], "graphite-chen2020"), (nmc, alone[1], "nmc811-chen2020")):
        (h_alone,) = on_line(one, 0.4, 3.0).electrodes
        assert h.material.name == name
        # the same image opposite lithium; only the rounding of edges at the separator could tell
        for key in ("thickness", "porosity", "active_volume_fraction", "conductivity_bruggeman"):
            assert getattr(h, key) == pytest.approx(getattr(h_alone, key), rel=1e-12), key
        assert h.radius == pytest.approx(h_alone.radius, rel=1e-6)
        assert h.area_per_volume == pytest.approx(h_alone.area_per_volume, rel=1e-6)
    assert (graphite.thickness, nmc.thickness) == (pytest.approx(24e-6), pytest.approx(12e-6))
    assert found.separator.thickness == pytest.approx(12e-6)
    rungs = dict(ladder(found))
    assert [(p.negative.b, p.positive.b) for p in rungs.values()][1:] == [(0.4, 0.5)] * 4
    assert (rungs["bruggeman"].negative.b, rungs["bruggeman"].positive.b) == (graphite.b_bruggeman, nmc.b_bruggeman)
    assert (rungs["+sigma"].negative.conductivity, rungs["+sigma"].positive.conductivity) == (3.0, 5.0)
    assert rungs["+b"].materials.counter is None


def test_the_gap_of_a_full_cell_vanishes_with_the_size_of_the_structure():
    """As for the half cell, with a laminate on either side."""
    coarse, fine = (
        difference(built_full(*[laminate(period, period / 4.0)] * 2, period / 4.0), start=(0.8, 0.3))
        for period in (8e-6, 2e-6)
    )
    assert coarse > 4.0 * fine
    assert fine < 5e-4  # that of two electrodes, each as far off as in a half cell


def test_a_current_that_no_surface_passes_is_impossible():
    """Half a voxel of 2 um with D_s = 4e-15 m2/s fills the surface before it passes 60 A/m2 of electrode."""
    b = built(laminate(8e-6, 2e-6), 2e-6, parameters(4e-15))
    with pytest.raises(ImpossibleError, match=r"solid saturation, the surface is full .* finer voxels"):
        discharged(b.cell, BlockSolver(b.cell.networks, SWEEP_ORDER, cycles=CYCLES), 60.0, 10.0)


def test_the_image_based_cell_is_a_module_for_pybamm(tmp_path: Path, monkeypatch):
    if importlib.util.find_spec("pybamm") is None:  # its tables are looked at, no function of it is called
        monkeypatch.setitem(sys.modules, "pybamm", SimpleNamespace(Interpolant=None))
    b = built(laminate(4e-6, 1e-6), 1e-6, parameters())
    h = on_line(b, 0.4, 1.0)
    p = dict(ladder(h))["+a"]
    file = tmp_path / "cell_for_pybamm.py"
    write_pybamm_module(file, p, title="laminate", x_start=(0.3,), one_c=12.0)
    values = loaded(file).get_parameter_values()
    assert values["Current function [A]"] == 12.0
    assert values["Positive electrode porosity"] ** values[
        "Positive electrode Bruggeman coefficient (electrolyte)"
    ] == pytest.approx(0.4)
    tables = loaded(file).TABLES
    x = np.linspace(0.3, 0.9, 200)
    U = PchipInterpolator(*tables["positive_U"])(x)
    assert open_circuit(p.positive.material, x, 298.15)[0] == pytest.approx(U, abs=2e-5)
    c = np.linspace(200.0, 2000.0, 50)
    i0 = PchipInterpolator(*tables["positive_i0_x"])(0.5) * PchipInterpolator(*tables["positive_i0_c"])(c)
    ours = p.positive.area_ratio * p.positive.material.exchange_current(np.full(50, 0.5), c, 298.15)[0]
    assert i0 == pytest.approx(ours, rel=1e-5)


def loaded(file: Path):
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
