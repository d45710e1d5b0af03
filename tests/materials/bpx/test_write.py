import dataclasses

import numpy as np
import pytest

from battsim.errors import CaseError, InputError
from battsim.materials import library
from battsim.materials.bpx import (
    BpxBinder,
    BpxCell,
    BpxElectrode,
    BpxParticle,
    BpxSeparator,
    bpx_of,
    read_bpx,
    write_bpx,
)
from battsim.materials.types import extend_by_end_slope, open_circuit

bpx = pytest.importorskip("bpx", reason="the package bpx (extra bpx) is not installed")

X, C_E = np.linspace(0.0, 1.0, 3001), np.geomspace(1.0, 3800.0, 500)
NEGATIVES = ("graphite-chen2020", "graphite-marquis2019")
POSITIVES = tuple(name for name in library.ACTIVE_MATERIALS if name not in NEGATIVES)


def electrode(material, area=4e5, binder=BpxBinder()):  # noqa: B008 (frozen)
    return BpxElectrode(75e-6, 0.3, 0.16, 2.5, (BpxParticle("", material, 4e-6, area),), binder)


def cell_of(negative="graphite-chen2020", positive="nmc811-chen2020", electrolyte="lipf6-chen2020", **more):
    """A cell of library sets, as an image's homogenisation makes one."""
    return BpxCell(
        title="made",
        source="library sets",
        version="1.1",
        negative=electrode(library.active_material(negative)),
        positive=electrode(library.active_material(positive)),
        separator=BpxSeparator(20e-6, 0.4, 0.25),
        electrolyte=library.electrolyte(electrolyte),
        electrode_area=0.1,
        electrode_pairs=2,
        nominal_capacity=5.0,
        lower_voltage=2.5,
        upper_voltage=4.2,
        **more,
    )


def again(cell, tmp_path):
    write_bpx(tmp_path / "out.json", cell)
    return read_bpx(tmp_path / "out.json")


def by_straight_lines(table, x):
    return np.interp(x, table["x"], table["y"])


@pytest.mark.parametrize("name", [*NEGATIVES, *POSITIVES])
def test_sampled_potential_is_within_a_tenth_of_a_millivolt(name, tmp_path):
    side = "Negative" if name in NEGATIVES else "Positive"
    cell = cell_of(**{side.lower(): name})
    table = bpx_of(cell)["Parameterisation"][f"{side} electrode"]["OCP [V]"]
    exact = open_circuit(library.active_material(name), X, 298.15)[0]
    assert np.abs(by_straight_lines(table, X) - exact).max() < 2.2e-5  # 0.02 mV, tried at three places between entries
    read = getattr(again(cell, tmp_path), side.lower()).particle.material
    inside = (read.fitted[0] <= X) & (read.fitted[1] >= X)
    assert np.abs(open_circuit(read, X, 298.15)[0] - exact)[inside].max() < 2.2e-5
    assert read.fitted == library.active_material(name).fitted
    assert len(table["x"]) < 2000


@pytest.mark.parametrize("name", [*NEGATIVES, *POSITIVES])
def test_kinetics_and_diffusion_come_back(name, tmp_path):
    side = "negative" if name in NEGATIVES else "positive"
    read = getattr(again(cell_of(**{side: name}), tmp_path), side).particle.material
    written = library.active_material(name)
    x = np.linspace(0.02, 0.98, 49)
    for T in (288.15, 298.15, 313.15):
        np.testing.assert_allclose(read.diffusivity(x, T)[0], written.diffusivity(x, T)[0], rtol=1e-9)
        for mine, theirs in zip(read.exchange_current(x, 700.0, T), written.exchange_current(x, 700.0, T), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-14)
        continued = extend_by_end_slope(written.entropic, written.fitted)
        np.testing.assert_allclose(read.entropic(x)[0], continued(x)[0], atol=1.2e-7)
    for key in ("max_concentration", "stoichiometry_soc100", "stoichiometry_soc0", "conductivity", "density"):
        assert getattr(read, key) == getattr(written, key)


@pytest.mark.parametrize("name", library.ELECTROLYTES)
def test_electrolyte_comes_back_at_the_reference_temperature(name, tmp_path):
    read, written = again(cell_of(electrolyte=name), tmp_path).electrolyte, library.electrolyte(name)
    for key in ("diffusivity", "conductivity", "transference", "thermodynamic_factor"):
        mine, theirs = (getattr(e, key)(C_E, 298.15)[0] for e in (read, written))
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=5e-5 if key == "transference" else 0)


def test_temperature_dependence_that_is_no_arrhenius_law_is_named():
    description = bpx_of(cell_of(electrolyte="lipf6-valoen2005"))["Header"]["Description"]
    assert "conductivity holds at 298.15 K only" in description
    assert "thermodynamic factor, as a function, is in User-defined" in description
    assert "holds at" not in bpx_of(cell_of())["Header"]["Description"]


def test_functions_of_a_file_go_back_as_they_were(document, write, tmp_path):
    document["Parameterisation"]["User-defined"] = {
        "Electrolyte: thermodynamic factor": "1 + 0.5*(x/1000)**1.5",
        "Positive electrode: binder porosity": 0.5,
        "Foreign": {"x": [0.0, 1.0], "y": [0.0, 2.0]},
    }
    cell = read_bpx(write(document))
    parameters = bpx_of(cell)["Parameterisation"]
    for result in (parameters, bpx_of(again(cell, tmp_path))["Parameterisation"]):
        for part, section in document["Parameterisation"].items():
            for key, value in section.items():
                number = isinstance(value, int | float)
                assert result[part][key] == (pytest.approx(value, rel=1e-9) if number else value)


def test_state_ratings_and_assumptions_are_kept(document, write, tmp_path):
    first = read_bpx(write(document))
    second = again(first, tmp_path)
    for key in (
        "title",
        "initial_soc",
        "initial_salt",
        "initial_temperature",
        "ambient_temperature",
        "reference_temperature",
        "electrode_area",
        "electrode_pairs",
        "nominal_capacity",
        "lower_voltage",
        "upper_voltage",
        "separator",
    ):
        assert getattr(second, key) == getattr(first, key)
    assert "4750 kg/m3 stands in" in second.description


def test_another_reference_temperature_survives(document, write, tmp_path):
    document["Parameterisation"]["Cell"]["Reference temperature [K]"] = 288.15
    first = read_bpx(write(document))
    second = again(first, tmp_path)
    x = np.linspace(0.28, 0.9, 30)
    for T in (288.15, 303.15):
        a, b = first.positive.particle.material, second.positive.particle.material
        np.testing.assert_allclose(open_circuit(b, x, T)[0], open_circuit(a, x, T)[0], rtol=1e-12)
        np.testing.assert_allclose(b.diffusivity(x, T)[0], a.diffusivity(x, T)[0], rtol=1e-9)
        np.testing.assert_allclose(b.exchange_current(x, 800.0, T)[0], a.exchange_current(x, 800.0, T)[0], rtol=1e-9)
        np.testing.assert_allclose(
            second.electrolyte.conductivity(C_E, T)[0], first.electrolyte.conductivity(C_E, T)[0], rtol=1e-9
        )


def test_exchange_current_of_another_form(tmp_path):
    def own(x, c_e, T):
        x, c_e = np.clip(x, 1e-12, 1 - 1e-12), np.asarray(c_e)
        value = 5 * x**0.3 * (1 - x) ** 0.7 * (c_e / 1000.0) ** 0.8 * np.exp(2000.0 * (1 / 298.15 - 1 / T))
        return value, np.zeros_like(x), 0.8 * value / c_e

    material = dataclasses.replace(library.active_material("nmc811-chen2020"), exchange_current=own)
    cell = dataclasses.replace(cell_of(), positive=electrode(material))
    written = bpx_of(cell)
    assert "a form of its own" in written["Header"]["Description"]
    rate = written["Parameterisation"]["Positive electrode"]["Reaction rate constant [mol.m-2.s-1]"]
    assert rate * 96485.33212331001 * 0.5 == pytest.approx(own(0.5, 1000.0, 298.15)[0], rel=1e-12)
    read = again(cell, tmp_path).positive.particle.material.exchange_current
    x = np.linspace(0.02, 0.98, 49)
    for c_e, T in ((1000.0, 298.15), (300.0, 310.0)):
        exact = own(x, c_e, T)[0]
        np.testing.assert_allclose(read(x, np.full_like(x, c_e), T)[0], exact, rtol=1e-4, atol=1e-3 * exact.max())


def test_exchange_current_with_another_exponent_of_salt_alone(tmp_path):
    def own(x, c_e, T):  # noqa: ARG001
        value = 4.0 * np.sqrt(np.maximum(x * (1 - x), 1e-12)) * (np.asarray(c_e) / 1000.0) ** 0.8
        return value, np.zeros_like(x), 0.8 * value / c_e

    material = dataclasses.replace(library.active_material("nmc811-chen2020"), exchange_current=own)
    read = again(dataclasses.replace(cell_of(), positive=electrode(material)), tmp_path).positive.particle.material
    assert read.exchange_current(np.array([0.5]), np.array([300.0]), 298.15)[0] == pytest.approx(
        2.0 * 0.3**0.8, rel=1e-3
    )


def test_sampled_functions_belong_to_the_reference_temperature_that_is_written(tmp_path):
    cell = dataclasses.replace(cell_of(positive="nmc532-mohtat2020"), reference_temperature=283.15)
    read, written = again(cell, tmp_path).positive.particle.material, cell.positive.particle.material
    x = np.linspace(0.04, 0.95, 50)
    for T in (283.15, 298.15, 313.15):
        np.testing.assert_allclose(open_circuit(read, x, T)[0], open_circuit(written, x, T)[0], atol=2.5e-5)
        np.testing.assert_allclose(read.diffusivity(x, T)[0], written.diffusivity(x, T)[0], rtol=1e-9)
        i0 = (m.exchange_current(x, np.full_like(x, 800.0), T)[0] for m in (read, written))
        np.testing.assert_allclose(*i0, rtol=1e-9)


def test_exchange_current_that_is_no_power_of_salt_is_refused():
    def own(x, c_e, T):  # noqa: ARG001
        return 1.0 + np.asarray(c_e) / 1000.0 + 0 * x, 0 * x, 1e-3 + 0 * x

    material = dataclasses.replace(library.active_material("nmc811-chen2020"), exchange_current=own)
    with pytest.raises(CaseError, match="Positive electrode: the exchange current is no power"):
        bpx_of(dataclasses.replace(cell_of(), positive=electrode(material)))


def test_binder_film_and_transfer_coefficients(tmp_path):
    binder = BpxBinder(100.0, 0.5, 4.0, 0.6, 1e-4)
    material = dataclasses.replace(
        library.active_material("nmc811-chen2020"), film_resistance=1e-3, alpha_a=0.4, alpha_c=0.6
    )
    read = again(dataclasses.replace(cell_of(), positive=electrode(material, binder=binder)), tmp_path).positive
    assert read.binder == binder
    assert (read.particle.material.film_resistance, read.particle.material.alpha_a) == (1e-3, 0.4)
    assert read.particle.material.conductivity == 0.18
    assert read.conductivity == 2.5


def test_blend(tmp_path):
    material = library.active_material("nmc811-chen2020")
    sizes = (BpxParticle("Large", material, 6e-6, 1e5), BpxParticle("Small", material, 1e-6, 2e5))
    blend = dataclasses.replace(cell_of().positive, particles=sizes)
    read = again(dataclasses.replace(cell_of(), positive=blend), tmp_path).positive
    assert [(p.name, p.radius, p.area_per_volume) for p in read.particles] == [
        ("Large", 6e-6, 1e5),
        ("Small", 1e-6, 2e5),
    ]
    nameless = dataclasses.replace(blend, particles=(sizes[0], dataclasses.replace(sizes[1], name="Large")))
    with pytest.raises(CaseError, match="need names that differ"):
        bpx_of(dataclasses.replace(cell_of(), positive=nameless))


def test_half_cell_is_written_as_partial(tmp_path):
    half = dataclasses.replace(cell_of(), negative=None)
    assert bpx_of(half)["Header"]["Model"] == "Partial"
    read = again(half, tmp_path)
    assert read.negative is None
    assert read.positive is not None


def test_a_material_in_the_wrong_electrode_is_refused():
    graphite = electrode(library.active_material("graphite-chen2020"))
    with pytest.raises(CaseError, match=r"Positive electrode: x = 0\.9014 at 100 %"):
        bpx_of(dataclasses.replace(cell_of(), positive=graphite))


def test_the_schema_accepts_what_is_written(recwarn):
    for cell in (cell_of(), cell_of("graphite-marquis2019", "lco-marquis2019", "lipf6-landesfeind2019")):
        parsed = bpx.parse_bpx_obj(bpx_of(cell))
        assert parsed.header.bpx == "1.1.0"
        assert parsed.parameterisation.cell.volume == pytest.approx(0.1 * 2 * 170e-6)
    assert not recwarn.list


def test_unwritable_place(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_bpx(tmp_path / "no" / "where.json", cell_of())
