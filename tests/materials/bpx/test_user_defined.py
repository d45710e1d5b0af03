"""What BPX lacks, from the block under its user-defined parameters."""

import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.materials.bpx import BpxBinder, read_bpx

bpx = pytest.importorskip("bpx", reason="the package bpx (extra bpx) is not installed")

X, C_E = np.linspace(0.03, 0.97, 48), np.geomspace(1.0, 3000.0, 40)


def read(document, write, block):
    document["Parameterisation"]["User-defined"] = block
    return read_bpx(write(document))


def refused(document, write, block, *parts):
    with pytest.raises(CaseError) as error:
        read(document, write, block)
    for part in ("cell.json", "User-defined", *parts):
        assert part in str(error.value), str(error.value)


def test_binder(document, write):
    assert read_bpx(write(document)).positive.binder == BpxBinder()
    block = {
        "Positive electrode: binder conductivity [S.m-1]": 100,
        "Positive electrode: binder porosity": 0.5,
        "Positive electrode: binder tortuosity factor": 4.0,
        "Positive electrode: binder active coverage": 0.6,
        "Positive electrode: binder contact resistance [Ohm.m2]": 1e-4,
    }
    cell = read(document, write, block)
    assert cell.positive.binder == BpxBinder(100.0, 0.5, 4.0, 0.6, 1e-4)
    assert cell.negative.binder == BpxBinder()
    assert dict(cell.user_defined) == {}


def test_active_material(document, write):
    block = {
        "Positive electrode: active material conductivity [S.m-1]": 0.5,
        "Positive electrode: active material density [kg.m-3]": 4780.0,
        "Positive electrode: film resistance [Ohm.m2]": 1e-3,
        "Positive electrode: anodic transfer coefficient": 0.4,
        "Positive electrode: cathodic transfer coefficient": 0.6,
        "Positive electrode: fitted minimum stoichiometry": 0.25,
        "Positive electrode: fitted maximum stoichiometry": 0.93,
    }
    cell = read(document, write, block)
    material = cell.positive.particle.material
    assert (material.conductivity, material.density, material.film_resistance) == (0.5, 4780.0, 1e-3)
    assert (material.alpha_a, material.alpha_c, material.fitted) == (0.4, 0.6, (0.25, 0.93))
    assert cell.positive.conductivity == 0.18
    assert not any(note.startswith("Positive electrode") for note in cell.notes)
    assert sum(note.startswith("Negative electrode") for note in cell.notes) == 2


def test_bulk_conductivity_is_the_effective_one_unless_given(document, write):
    cell = read_bpx(write(document))
    assert cell.positive.particle.material.conductivity == cell.positive.conductivity


def test_thermodynamic_factor_and_transference_number(document, write, assert_derivative):
    block = {
        "Electrolyte: thermodynamic factor": "1 + 0.5*(x/1000)**1.5",
        "Electrolyte: cation transference number": {"x": [10, 1000, 2000], "y": [0.4, 0.3, 0.2]},
    }
    cell = read(document, write, block)
    TF, t_plus = cell.electrolyte.thermodynamic_factor, cell.electrolyte.transference
    np.testing.assert_allclose(TF(C_E, 310.0)[0], 1 + 0.5 * (C_E / 1000) ** 1.5, rtol=1e-12)
    np.testing.assert_allclose(t_plus(np.array([1.0, 1000.0, 5000.0]), 298.15)[0], [0.4, 0.3, 0.2], rtol=1e-12)
    assert_derivative(lambda c: TF(c, 298.15), np.linspace(10.0, 3900.0, 30), step=0.5, rtol=1e-6)
    assert_derivative(lambda c: t_plus(c, 298.15), np.array([50.0, 700.0, 1500.0, 2500.0]), step=0.5, rtol=1e-6)
    assert not any("TF = 1" in note for note in cell.notes)


def test_general_exchange_current(document, write, assert_derivative):
    document["State"]["Initial conditions"]["Initial electrolyte concentration [mol.m-3]"] = 1200.0
    block = {
        "Positive electrode: exchange-current density at reference salt [A.m-2]": "8*x**0.3*(1 - x)**0.7",
        "Positive electrode: exchange-current salt exponent": 0.7,
    }
    i0 = read(document, write, block).positive.particle.material.exchange_current
    exact = 8 * X**0.3 * (1 - X) ** 0.7
    np.testing.assert_allclose(i0(X, 1200.0, 298.15)[0], exact, rtol=1e-12)
    factor = (600.0 / 1200.0) ** 0.7 * np.exp(17800.0 / 8.31446261815324 * (1 / 298.15 - 1 / 310.0))
    np.testing.assert_allclose(i0(X, 600.0, 310.0)[0], exact * factor, rtol=1e-12)
    assert_derivative(lambda x: i0(x, 900.0, 310.0)[:2], X, step=1e-5)
    assert_derivative(lambda c: i0(np.full_like(c, 0.4), c, 310.0)[::2], C_E, step=1e-2)
    for x in (-0.1, 0.0, 1.0, 1.1):
        value, di0_dx, _ = i0(np.array([x]), np.array([0.0]), 298.15)
        assert value >= 0
        assert np.isfinite(di0_dx)


def test_general_exchange_current_at_another_reference_temperature(document, write):
    document["Parameterisation"]["Cell"]["Reference temperature [K]"] = 288.15
    block = {"Positive electrode: exchange-current density at reference salt [A.m-2]": 3.0}
    i0 = read(document, write, block).positive.particle.material.exchange_current
    assert i0(0.5, 1000.0, 288.15)[0] == pytest.approx(3.0, rel=1e-12)


def test_components_of_a_blend_have_their_own_names(document, write):
    positive = document["Parameterisation"]["Positive electrode"]
    layer = ("Thickness [m]", "Porosity", "Transport efficiency", "Conductivity [S.m-1]")
    particle = {key: positive.pop(key) for key in list(positive) if key not in layer}
    particle["Surface area per unit volume [m-1]"] /= 2
    positive["Particle"] = {"Large": particle, "Small": dict(particle)}
    block = {"Positive electrode, Small: film resistance [Ohm.m2]": 2e-3}
    large, small = read(document, write, block).positive.particles
    assert (large.material.film_resistance, small.material.film_resistance) == (0.0, 2e-3)
    refused(document, write, {"Positive electrode: film resistance [Ohm.m2]": 2e-3}, "unknown key", "did you mean")


def test_foreign_parameters_are_kept(document, write):
    block = {"description": "ours", "Positive electrode tension [V]": 1.0, "Ageing": {"rate": "2*x"}}
    assert dict(read(document, write, block).user_defined) == block


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"Positive electrode: binder porosty": 0.5}, ("binder porosty", "did you mean 'Positive electrode: binder p")),
        ({"Positive electrode: binder porosity": 1.5}, ("binder porosity", "1.5 found", "from 0 to 1")),
        ({"Positive electrode: binder tortuosity factor": 0.5}, ("tortuosity factor", "0.5 found", "at least 1")),
        ({"Positive electrode: anodic transfer coefficient": 2.5}, ("anodic transfer", "2.5 found", "from 0 to 2")),
        ({"Positive electrode: fitted minimum stoichiometry": -0.5}, ("fitted minimum", "-0.5 found", "from 0 to 1")),
        (
            {
                "Positive electrode: fitted minimum stoichiometry": 0.9,
                "Positive electrode: fitted maximum stoichiometry": 0.3,
            },
            ("fitted minimum", "0.9 found", "0.3"),
        ),
        ({"Electrolyte: thermodynamic factor": "1 - x/1000"}, ("thermodynamic factor", "positive")),
        ({"Electrolyte: thermodynamic factor": "y"}, ("thermodynamic factor", "'y' at position 1")),
        ({"Positive electrode: exchange-current salt exponent": 0.7}, ("exponent without its function",)),
        (
            {"Positive electrode: exchange-current density at reference salt [A.m-2]": "x - 0.5"},
            ("exchange-current density", "positive"),
        ),
    ],
)
def test_bad_values_are_named(document, write, block, parts):
    refused(document, write, block, *parts)
