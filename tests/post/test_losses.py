import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from battsim.constants import FARADAY
from battsim.materials.types import open_circuit
from battsim.post.losses import losses, mean_stoichiometry
from meshing.image import VoxelImage
from meshing.voxel import graded_layers, voxel_mesh

IDENTITY = 1e-9
"""V: a residual of 1e-8 of the current times potentials 0.1 V off the terminal's."""


@pytest.fixture(scope="module")
def rough(half_cell):
    """A random image with all that can lose voltage: film, contact resistance, half-covered porous binder."""
    parameters = half_cell.make_parameters(
        half_cell.make_active(film_resistance=2e-3, conductivity=0.05),
        contact_resistance=1e-4,
        active_coverage=0.5,
        conductivity=0.5,
    )
    return half_cell.make_cell(half_cell.random_labels(), parameters)[0]


@pytest.mark.parametrize("rate", [2.0, -2.0, 0.05])
def test_losses_sum_to_open_circuit_minus_voltage(half_cell, rough, rate):
    start = half_cell.started(rough, rate * rough.capacity / 3600.0)
    found = [losses(rough, start.u, start.reference, start.evaluation)]
    found += [losses(rough, s.u, s.reference, s.evaluation) for s in half_cell.steps(start, time=100.0 / abs(rate))]
    for loss in found:
        assert abs(loss.mismatch) < IDENTITY
        assert loss.voltage == pytest.approx(loss.open_circuit - loss.total, abs=IDENTITY)
        parts = (loss.electrolyte_ohmic, loss.kinetics, loss.electronic, loss.counter)
        assert all(np.sign(part) == np.sign(rate) for part in parts)
    assert found[-1].solid_diffusion * rate > 0.0
    assert found[-1].electrolyte_concentration * rate > 0.0


def test_identity_holds_in_the_last_step_onto_a_voltage(half_cell, rough):
    start = half_cell.started(rough, rough.capacity / 3600.0)
    *_, last = half_cell.steps(start, voltage=3.6)
    loss = losses(rough, last.u, last.reference, last.evaluation)
    assert last.stop == "voltage"
    assert loss.voltage == pytest.approx(3.6, abs=1e-9)
    assert abs(loss.mismatch) < IDENTITY


@pytest.mark.skipif("BATTSIM_DATA" not in os.environ, reason="BATTSIM_DATA does not name the folder of real images")
def test_identity_holds_on_a_real_image(half_cell):
    import tifffile

    whole = tifffile.imread(Path(os.environ["BATTSIM_DATA"]) / "matbox_nmc1cal_bridgeCBD.tif")
    image = VoxelImage(np.ascontiguousarray(whole[:14, 100:110, 100:110]), (398e-9,) * 3, ("pore", "active", "binder"))
    mesh = voxel_mesh(image, layers=graded_layers(12e-6, 6, 398e-9), inside="active")
    cell = type(half_cell.make_cell(np.ones((2, 1, 1)))[0])(mesh, half_cell.make_parameters())
    start = half_cell.started(cell, 2.0 * cell.capacity / 3600.0)
    for step in half_cell.steps(start, time=30.0):
        assert abs(losses(cell, step.u, step.reference, step.evaluation).mismatch) < IDENTITY


def test_each_loss_of_a_layered_cell_is_the_one_worked_out_by_hand(half_cell):
    """3 + 2 + 1 um separator, 3 um pore, 4 um active material: one dimension, no gradient yet between the cells."""
    film, h = 5e-4, 1e-6
    active = half_cell.make_active(film_resistance=film)
    cell, _, _ = half_cell.make_cell([[[k]] for k in (0, 0, 0, 1, 1, 1, 1)], half_cell.make_parameters(active))
    i = 20.0  # A/m2 of cell; the interface is a plane, so that j = -i
    start = half_cell.started(cell, i * cell.network.cross_section)
    found = losses(cell, start.u, start.reference, start.evaluation)

    salt, T, c, f = cell.parameters.electrolyte, 298.15, np.array([1000.0]), cell.f
    kappa, D, t_plus, TF = (
        float(p(c, T)[0][0])
        for p in (salt.conductivity, salt.diffusivity, salt.transference, salt.thermodynamic_factor)
    )
    beta = 2.0 * (1.0 - t_plus) * TF / f
    c_pore = 1000.0 - (1.0 - t_plus) * i * 0.5 * h / (FARADAY * D)
    c_Li = 1000.0 + (1.0 - t_plus) * i * 1.5e-6 / (FARADAY * 0.3 * D)
    x_f = np.array(
        [0.3 + i * 0.5 * h / (FARADAY * float(active.diffusivity(np.array([0.3]), T)[0][0]) * active.max_concentration)]
    )
    i0 = float(active.exchange_current(x_f, np.array([c_pore]), T)[0][0])
    i0_Li = float(cell.parameters.counter.exchange_current(np.array([c_Li]), T)[0][0])
    U, U_f = (float(open_circuit(active, x, T)[0][0]) for x in (np.array([0.3]), x_f))
    expected = {
        "electrolyte_ohmic": i * (6e-6 / (0.3 * kappa) + 3.0 * h / kappa),
        "electrolyte_concentration": beta * np.log(c_Li / c_pore),
        "kinetics": 2.0 / f * np.arcsinh(0.5 * i / i0) + i * film,
        "solid_diffusion": U - U_f,
        "electronic": i * 4.0 * h / active.conductivity,
        "counter": 2.0 / f * np.arcsinh(0.5 * i / i0_Li),
        "open_circuit": U,
    }
    for name, value in expected.items():
        # Newton stops at 1e-8 of the current, and the smallest loss is a hundredth of the largest
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name


def test_contact_resistance_is_an_electronic_loss(half_cell):
    """Binder on active material, one column: the current crosses their contact once."""
    i, contact = 20.0, 1e-3
    labels = [[[k]] for k in (0, 1, 1, 2)]
    found = []
    for resistance in (0.0, contact):
        parameters = half_cell.make_parameters(transport="impermeable", contact_resistance=resistance)
        cell = half_cell.make_cell(labels, parameters)[0]
        start = half_cell.started(cell, i * cell.network.cross_section)
        found.append(losses(cell, start.u, start.reference, start.evaluation))
    assert found[1].electronic - found[0].electronic == pytest.approx(i * contact, rel=1e-6)


def test_no_losses_at_rest(half_cell, rough):
    start = half_cell.started(rough, rough.capacity / 3600.0)
    *_, last = half_cell.steps(start, time=5.0)
    assert losses(rough, last.u, last.reference, last.evaluation) is not None
    rest = half_cell.started(rough, 0.0, (last.u, last.reference))
    assert losses(rough, rest.u, rest.reference, rest.evaluation) is None
    tiny = replace(start.evaluation, current=1e-7 * rough.capacity / 3600.0)
    assert losses(rough, start.u, start.reference, tiny) is None


def test_mean_stoichiometry_weighs_by_volume(half_cell):
    cell = half_cell.make_cell(half_cell.random_labels())[0]
    u, _ = cell.uniform_state(0.4)
    u[0] = 0.9
    n = cell.layout.n_solid
    assert mean_stoichiometry(cell, u, cell.electrodes[0]) == pytest.approx(0.4 + 0.5 / n, rel=1e-12)
