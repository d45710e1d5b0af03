import copy
import sys

import numpy as np
import pytest

from battsim.errors import CaseError, InputError
from battsim.materials.bpx import read_bpx
from battsim.materials.charge import stoichiometry_at_soc
from battsim.materials.graphite_chen2020 import graphite_chen2020
from battsim.materials.lipf6_chen2020 import lipf6_chen2020
from battsim.materials.nmc811_chen2020 import nmc811_chen2020

bpx = pytest.importorskip("bpx", reason="the package bpx (extra bpx) is not installed")

X, C_E = np.linspace(0.03, 0.97, 48), np.geomspace(1.0, 3000.0, 40)


def put(document, path, value):
    *places, key = path
    for place in places:
        document = document.setdefault(place, {})
    if value is None:
        del document[key]
    else:
        document[key] = value


def refused(document, write, *parts):
    with pytest.raises(CaseError) as error:
        read_bpx(write(document))
    for part in ("cell.json", *parts):
        assert part in str(error.value), str(error.value)


def test_electrodes_of_chen_are_the_library_sets(document, write):
    cell = read_bpx(write(document))
    for electrode, published in ((cell.negative, graphite_chen2020()), (cell.positive, nmc811_chen2020())):
        material = electrode.particle.material
        assert material.max_concentration == published.max_concentration
        assert (material.stoichiometry_soc100, material.stoichiometry_soc0) == (
            published.stoichiometry_soc100,
            published.stoichiometry_soc0,
        )
        for mine, theirs in zip(material.ocp(X), published.ocp(X), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13)
        for T in (298.15, 310.0):
            i0 = [m.exchange_current(X, 700.0, T) for m in (material, published)]
            for mine, theirs in zip(*i0, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


def test_electrolyte_of_chen_is_the_library_set_at_25_degrees(document, write):
    mine, theirs = read_bpx(write(document)).electrolyte, lipf6_chen2020()
    for name in ("diffusivity", "conductivity", "transference", "thermodynamic_factor"):
        for a, b in zip(getattr(mine, name)(C_E, 298.15), getattr(theirs, name)(C_E, 298.15), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-25)


def test_cell_layers_and_conditions(document, write):
    cell = read_bpx(write(document))
    assert (cell.title, cell.version) == ("LG M50", "1.1")
    assert "cell.json" in cell.source
    assert "Chen et al. (2020)" in cell.source
    assert (cell.electrode_area, cell.electrode_pairs, cell.nominal_capacity) == (0.1027, 1, 5.0)
    assert (cell.lower_voltage, cell.upper_voltage) == (2.5, 4.2)
    assert (cell.initial_soc, cell.initial_salt) == (0.9, 1000.0)
    assert (cell.initial_temperature, cell.ambient_temperature, cell.reference_temperature) == (300.0, 299.0, 298.15)
    assert (cell.separator.thickness, cell.separator.porosity, cell.separator.transport_efficiency) == (
        12e-6,
        0.47,
        0.3222,
    )
    negative = cell.negative
    assert (negative.thickness, negative.porosity, negative.transport_efficiency) == (85.2e-6, 0.25, 0.125)
    assert negative.conductivity == 215.0
    assert negative.active_volume_fraction == pytest.approx(0.75, rel=1e-12)
    assert negative.particle.radius == 5.86e-6


def test_state_of_charge_fills_both_electrodes_from_their_limits(document, write):
    cell = read_bpx(write(document))
    assert stoichiometry_at_soc(cell.negative.particle.material, 0.0) == pytest.approx(0.0279)
    assert stoichiometry_at_soc(cell.negative.particle.material, 1.0) == pytest.approx(0.9014)
    assert stoichiometry_at_soc(cell.positive.particle.material, 0.0) == pytest.approx(0.9084)
    assert stoichiometry_at_soc(cell.positive.particle.material, 1.0) == pytest.approx(0.27)


def test_what_was_assumed_is_noted(document, write):
    notes = " ".join(read_bpx(write(document)).notes)
    for assumption in ("TF = 1", "no 'active material conductivity", "no 'active material density"):
        assert assumption in notes
    del document["State"]
    cell = read_bpx(write(document))
    assert cell.initial_salt == 1000.0
    assert cell.initial_soc is None
    assert any("1000 mol/m3 is assumed" in note for note in cell.notes)


def in_version_0(document, version):
    state = document.pop("State")
    parameters = document["Parameterisation"]
    document["Header"]["BPX"] = version
    parameters["Cell"]["Initial temperature [K]"] = state["Initial conditions"]["Initial temperature [K]"]
    parameters["Cell"]["Ambient temperature [K]"] = state["Thermal environment"]["Ambient temperature [K]"]
    parameters["Cell"]["Thermal conductivity [W.m-1.K-1]"] = 2.0
    parameters["Electrolyte"]["Initial concentration [mol.m-3]"] = 1100.0
    return document


@pytest.mark.parametrize("version", [0.1, "0.2.0", "0.3", 0.4, "0.5.0"])
def test_versions_before_1_keep_state_elsewhere(document, write, version):
    cell = read_bpx(write(in_version_0(document, version)))
    assert cell.version == str(version)[:3]
    assert (cell.initial_temperature, cell.ambient_temperature, cell.initial_salt) == (300.0, 299.0, 1100.0)
    assert cell.initial_soc is None
    assert any("2 i0 sinh" in note for note in cell.notes) == (cell.version in ("0.1", "0.2"))
    # K refers to the initial concentration, so at 1100 mol/m3 i0 is what it was at 1000
    i0 = cell.positive.particle.material.exchange_current(0.5, 1100.0, 298.15)[0]
    assert i0 == pytest.approx(nmc811_chen2020().exchange_current(0.5, 1000.0, 298.15)[0], rel=1e-12)


@pytest.mark.parametrize("version", ["1.1", "1.0.3", 1.0])
def test_versions_of_1(document, write, version):
    document["Header"]["BPX"] = version
    assert read_bpx(write(document)).version in ("1.0", "1.1")


@pytest.mark.parametrize("version", ["2.0.0", "0.6", "1.2", 3, True, "one", "1", None])
def test_another_version_is_refused_with_those_that_are_read(document, write, version):
    put(document, ("Header", "BPX"), version)
    if version is None:
        refused(document, write, "Header", "'BPX' is missing", "0.5, 1.0, 1.1")
    else:
        refused(document, write, "Header, BPX", f"version {version!r}", "0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.1")


def test_layout_of_another_version_is_refused_with_the_right_place(document, write):
    document["Parameterisation"]["Electrolyte"]["Initial concentration [mol.m-3]"] = 1000
    refused(document, write, "Electrolyte, Initial concentration [mol.m-3]", "State, Initial conditions")


def test_other_reference_temperature(document, write):
    cold = copy.deepcopy(document)
    cold["Parameterisation"]["Cell"]["Reference temperature [K]"] = 288.15
    mine, theirs = read_bpx(write(cold, "cold.json")), read_bpx(write(document))
    a, b = mine.positive.particle.material, theirs.positive.particle.material
    gas_constant = 8.31446261815324
    for E, old, new in (
        (12000.0, b.diffusivity(X, 298.15)[0], a.diffusivity(X, 288.15)[0]),
        (17800.0, b.exchange_current(X, 900.0, 298.15)[0], a.exchange_current(X, 900.0, 288.15)[0]),
        (
            17100.0,
            theirs.electrolyte.conductivity(C_E, 298.15)[0],
            mine.electrolyte.conductivity(C_E, 288.15)[0],
        ),
    ):
        np.testing.assert_allclose(new, old, rtol=1e-12)  # the value of the file belongs to its reference
        assert E > 0
    warmer = a.diffusivity(X, 308.15)[0] / a.diffusivity(X, 288.15)[0]
    np.testing.assert_allclose(warmer, np.exp(12000.0 / gas_constant * (1 / 288.15 - 1 / 308.15)), rtol=1e-12)
    # U at 298.15 K is 10 K above the file's reference
    np.testing.assert_allclose(a.ocp(X)[0] - b.ocp(X)[0], 10.0 * b.entropic(X)[0], rtol=1e-9)


def test_derivatives_are_exact(document, write, assert_derivative):
    material = read_bpx(write(document)).positive.particle.material
    assert_derivative(material.ocp, X, step=1e-4, rtol=1e-6)
    assert_derivative(lambda x: material.diffusivity(x, 310.0), X, step=1e-4)
    assert_derivative(lambda x: material.exchange_current(x, 900.0, 310.0)[:2], X, step=1e-5)


def blend(document):
    positive = document["Parameterisation"]["Positive electrode"]
    layer = ("Thickness [m]", "Porosity", "Transport efficiency", "Conductivity [S.m-1]")
    particle = {key: positive.pop(key) for key in list(positive) if key not in layer}
    small = particle | {"Particle radius [m]": 1e-6, "Surface area per unit volume [m-1]": 3 * 0.3 / 1e-6}
    large = particle | {"Surface area per unit volume [m-1]": 3 * 0.3 / 5.22e-6}
    positive["Particle"] = {"Large": large, "Small": small}
    return document


def test_blend(document, write):
    positive = read_bpx(write(blend(document))).positive
    assert [particle.name for particle in positive.particles] == ["Large", "Small"]
    assert [particle.active_volume_fraction for particle in positive.particles] == pytest.approx([0.3, 0.3])
    assert positive.active_volume_fraction == pytest.approx(0.6)
    with pytest.raises(CaseError, match="blend of 'Large', 'Small'"):
        _ = positive.particle


def test_hysteresis_is_left_out_with_a_note(document, write):
    document["Parameterisation"]["Negative electrode"]["OCP (lithiation) [V]"] = "0.1 - 0.01*x"
    cell = read_bpx(write(document))
    assert cell.negative.particle.material.ocp(0.5)[0] == pytest.approx(graphite_chen2020().ocp(0.5)[0], rel=1e-12)
    assert any("hysteresis" in note for note in cell.notes)


def test_half_cell_is_a_partial_file(document, write):
    document["Header"]["Model"] = "Partial"
    del document["Parameterisation"]["Negative electrode"]
    cell = read_bpx(write(document))
    assert cell.negative is None
    assert cell.positive is not None
    document["Header"]["Model"] = "DFN"
    refused(document, write, "'Negative electrode' is missing")


def test_single_particle_models_are_refused(document, write):
    document["Header"]["Model"] = "SPM"
    refused(document, write, "Header, Model", "'SPM'", '"DFN"')


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        (("Negative electrode", "Porosity"), 1.2, ("Negative electrode, Porosity", "1.2 found", "from 0 to 1")),
        (("Negative electrode", "Porosity"), "0.3", ("Porosity", "'0.3' found")),
        (("Negative electrode", "Porosity"), 0.3, ("volume fractions add up to 1.0500", "0.7500", "at most 1")),
        (("Positive electrode", "Minimum stoichiometry"), -0.1, ("Minimum stoichiometry", "-0.1 found", "0 to 1")),
        (("Positive electrode", "Maximum stoichiometry"), 1.1, ("Maximum stoichiometry", "1.1 found", "0 to 1")),
        (("Positive electrode", "Minimum stoichiometry"), 0.95, ("Minimum stoichiometry", "0.95 found", "0.9084")),
        (("Positive electrode", "Thickness [m]"), None, ("Positive electrode", "'Thickness [m]' is missing")),
        (("Positive electrode", "Particle radius [m]"), 0, ("Particle radius [m]", "0 found", "above 0")),
        (("Positive electrode", "Reaction rate constant [mol.m-2.s-1]"), -1e-5, ("Reaction rate", "above 0")),
        (("Positive electrode", "Thicknes [m]"), 1e-5, ("unknown key 'Thicknes [m]'", "did you mean 'Thickness [m]'")),
        (("Positive electrode", "Diffusivity [m2.s-1]"), -1e-14, ("Diffusivity [m2.s-1]", "-1e-14 at x")),
        (("Positive electrode", "OCP [V]"), "open('x')", ("OCP [V]", "open('x')", "not allowed")),
        (("Positive electrode", "OCP [V]"), "3.9 - y", ("OCP [V]", "'y' at position 7", "Allowed are numbers, x")),
        (("Positive electrode", "OCP [V]"), "4 - log(x - 0.5)", ("OCP [V]", "at x = 0.27", "-1 to 6 V")),
        (("Positive electrode", "OCP [V]"), 12.0, ("OCP [V]", "12 V at x = 0.27", "-1 to 6 V")),
        (("Positive electrode", "OCP [V]"), True, ("OCP [V]", "True found", "a formula in x")),
        (("Cell", "Lower voltage cut-off [V]"), 4.5, ("Lower voltage cut-off [V]", "4.5 V", "4.2 V")),
        (
            ("Cell", "Number of electrode pairs connected in parallel to make a cell"),
            1.5,
            ("1.5 found", "whole number"),
        ),
        (("Cell", "Initial temperature [K]"), 298.15, ("Initial temperature [K]", "State, Initial conditions")),
        (("Electrolyte", "Cation transference number"), 1.5, ("Cation transference number", "1.5 found")),
        (("Electrolyte", "Conductivity [S.m-1]"), "1 - x/1500", ("Conductivity [S.m-1]", "at x = 15", "positive")),
        (("Separator", "Porosity"), 0, ("Separator, Porosity", "0 found")),
        (("Separators",), {}, ("unknown key 'Separators'", "did you mean 'Separator'")),
    ],
)
def test_bad_values_are_named_with_place_and_range(document, write, path, value, parts):
    put(document["Parameterisation"], path, value)
    refused(document, write, *parts)


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ({"x": [0.0, 0.5, 0.4], "y": [4.2, 4.0, 3.9]}, ("OCP [V], x", "0.4 as entry 3, after 0.5", "rising")),
        ({"x": [0.0, 0.5, 0.5], "y": [4.2, 4.0, 3.9]}, ("0.5 as entry 3, after 0.5",)),
        ({"x": [0.0, 1.2], "y": [4.2, 3.0]}, ("x = 0 to 1.2", "between 0 and 1")),
        ({"x": [-0.1, 1.0], "y": [4.2, 3.0]}, ("x = -0.1 to 1", "between 0 and 1")),
        ({"x": [0.0, 1.0], "y": [4.2]}, ("2 entries of x and 1 of y",)),
        ({"x": [0.5], "y": [4.2]}, ("1 entries of x",)),
        ({"x": [0.0, "1"], "y": [4.2, 3.0]}, ("OCP [V], x", "'1' as entry 2", "finite number")),
        ({"x": [0.0, 1.0], "z": [4.2, 3.0]}, ("'x', 'z'", 'two lists, "x" and "y"')),
        ({"x": 0.0, "y": 4.2}, ('two lists, "x" and "y"',)),
    ],
)
def test_bad_tables_are_named_with_the_entry(document, write, table, parts):
    document["Parameterisation"]["Positive electrode"]["OCP [V]"] = table
    refused(document, write, "Positive electrode, OCP [V]", *parts)


def test_initial_conditions_out_of_range(document, write):
    document["State"]["Initial conditions"]["Initial state-of-charge"] = 1.5
    refused(document, write, "Initial state-of-charge", "1.5 found", "from 0 to 1")


def test_degradation_is_refused_unless_zero(document, write):
    document["State"]["Degradation"] = {"LLI": 0, "LAM: Positive electrode": 0, "LAM: Negative electrode": 0}
    read_bpx(write(document))
    document["State"]["Degradation"]["LLI"] = 0.1
    refused(document, write, "Degradation, LLI", "0.1 found")


def test_what_only_the_schema_forbids(document, write):
    document["Validation"] = {"1C": {"Time [s]": "now", "Current [A]": [1.0]}}
    refused(document, write, "the BPX schema refuses it", "Time [s]")


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"Header": NaN}', "\x00"])
def test_no_json_object(write, content):
    with pytest.raises(InputError, match=r"cell\.json"):
        read_bpx(write(content))


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"nothere\.json"):
        read_bpx(tmp_path / "nothere.json")


def test_missing_package_names_the_extra(document, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "bpx", None)
    with pytest.raises(InputError, match=r"pip install \"battsim\[bpx\]\""):
        read_bpx(write(document))


def test_formulas_are_never_shown_to_the_package(document, write, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the package saw a formula")

    monkeypatch.setattr(bpx.Function, "to_python_function", fail)
    monkeypatch.setattr(bpx.Function, "validate", fail)
    document["Parameterisation"]["User-defined"] = {"Something": "2*x", "Nested": {"more": "3*x"}}
    cell = read_bpx(write(document))
    assert dict(cell.user_defined) == {"Something": "2*x", "Nested": {"more": "3*x"}}
