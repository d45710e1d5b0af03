"""BPX files in a case: which part is meant, what they fill in, what is refused, and the same voltage as with sets."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from battsim.case import FullCellCase, P2DCase, ResolvedCase, active_materials, assumed, electrolyte_of, files_of
from battsim.case import load_case as load
from battsim.case import read_case as read
from battsim.errors import CaseError, CheckpointError, InputError
from battsim.materials.bpx import BpxBinder, BpxCell, BpxElectrode, BpxParticle, BpxSeparator, bpx_of
from battsim.materials.library import active_material, electrolyte
from battsim.output.tables import read_table
from battsim.run import check_finished, run_case
from battsim.run.build import full_cell_parameters

SIDES = {"negative": "graphite-chen2020", "positive": "nmc811-chen2020"}
BINDER = BpxBinder(50.0, 0.4, 3.0, 0.7, 1e-3)


def electrode(side: str, **changed: Any) -> BpxElectrode:
    """That of the template of a homogenised cell."""
    thickness, porosity, share, radius, sigma = {
        "negative": (85.2e-6, 0.25, 0.75, 5.86e-6, 215.0),
        "positive": (75.6e-6, 0.335, 0.665, 5.22e-6, 0.18),
    }[side]
    particle = BpxParticle("", active_material(SIDES[side]), radius, 3.0 * share / radius)
    return BpxElectrode(thickness, porosity, porosity**1.5, sigma, (particle,), **changed)


def cell() -> BpxCell:
    parts: dict[str, Any] = {
        "negative": electrode("negative"),
        "positive": electrode("positive", binder=BINDER),
        "separator": BpxSeparator(12e-6, 0.47, 0.47**1.5),
        "electrolyte": electrolyte("lipf6-chen2020"),
        "initial_salt": 1100.0,
    }
    ratings: dict[str, Any] = {"electrode_area": 0.1, "electrode_pairs": 1, "nominal_capacity": 5.0}
    return BpxCell("LG M50", "a test", "1.1", **parts, **ratings, lower_voltage=2.5, upper_voltage=4.2)


DOCUMENT = json.dumps(bpx_of(cell()))
"""Sampling the functions takes longer than all that follows."""


def template(name: str) -> dict[str, Any]:
    return tomllib.loads((files("battsim") / "templates" / name / "case.toml").read_text())


def write(folder: Path, name: str = "cell.json", change: Any = None) -> dict[str, Any]:
    """The file, with a change to its document."""
    document: dict[str, Any] = json.loads(DOCUMENT)
    if change is not None:
        change(document["Parameterisation"], document)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))
    return document


def p2d(file: str = "cell.json") -> dict[str, Any]:
    """A full cell of which only materials are given, everything from one file."""
    data = template("p2d")
    data |= {side: {"material": file} for side in SIDES}
    data["materials"] = {"electrolyte": file, "separator": file}
    del data["conditions"]
    data["solver"]["p2d"] = {"points": [8, 6, 8], "radial": 10}
    data["output"]["every"] = 60.0
    return data


def half_cell(active: Any = "cell.json") -> dict[str, Any]:
    data = template("half-cell")
    data["image"]["generate"] |= {"shape": [12, 8, 8], "diameter": {"median": "4 um"}}
    data["materials"]["active"] = active
    data["materials"]["separator"]["layers"] = 4
    data["protocol"] = [{"step": "discharge", "rate": 1.0, "until": {"time": 60.0}}]
    data["output"] = {"fields": [], "every": 60.0}
    del data["materials"]["binder"], data["conditions"]
    return data


# what a file gives


def test_a_homogenised_cell_may_come_from_a_file_altogether(tmp_path: Path) -> None:
    write(tmp_path)
    case = read(p2d(), tmp_path)
    assert isinstance(case, P2DCase)
    for side, table in case.electrodes.items():
        expected = electrode(side)
        assert (table.thickness, table.porosity, table.conductivity) == (
            expected.thickness,
            expected.porosity,
            expected.conductivity,
        )
        assert table.transport_factor == pytest.approx(expected.transport_efficiency, rel=1e-15)
        assert table.active_volume_fraction == pytest.approx(expected.active_volume_fraction, rel=1e-15)
        assert [(size.radius, size.share) for size in table.particle_radius] == [(expected.particle.radius, 1.0)]
    separator = case.materials.separator
    assert (separator.thickness, separator.porosity) == (12e-6, 0.47)
    assert separator.transport_factor == pytest.approx(0.47**1.5, rel=1e-15)
    assert case.conditions.salt == 1100.0
    assert [material.max_concentration for material in active_materials(case)] == [33133.0, 63104.0]
    assert files_of(case) == dict.fromkeys(
        ("negative.material", "positive.material", "materials.electrolyte", "materials.separator.base"), "cell.json"
    )


def test_what_the_case_says_itself_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "params/cell.json")
    data = p2d("params/cell.json")
    data["positive"] |= {
        "material": {"base": "params/cell.json", "max_concentration": "60000 mol/m^3"},
        "thickness": "50 um",
        "bruggeman": 2.0,
        "bulk_conductivity": 1.0,
        "solid_bruggeman": 1.5,
    }
    data["materials"]["separator"] = {"base": "params/cell.json", "porosity": 0.4, "bruggeman": 1.5}
    data["conditions"] = {"salt": 900.0}
    case = read(data, tmp_path)
    assert isinstance(case, P2DCase)
    positive, separator = case.working, case.materials.separator
    assert (positive.thickness, positive.transport_factor) == (50e-6, positive.porosity**2.0)
    assert positive.effective_conductivity == pytest.approx(0.665**1.5)
    assert (separator.thickness, separator.transport_factor) == (12e-6, 0.4**1.5)
    assert case.conditions.salt == 900.0
    assert active_materials(case)[1].max_concentration == 60000.0
    assert files_of(case)["positive.material.base"] == "params/cell.json"
    assert active_materials(case)[1].conductivity == active_material("nmc811-chen2020").conductivity


def test_a_rounded_area_in_a_file_is_no_volume_above_one(tmp_path: Path) -> None:
    def rounded(parameters: dict[str, Any], _: dict[str, Any]) -> None:
        parameters["Negative electrode"]["Surface area per unit volume [m-1]"] *= 1.0005

    write(tmp_path, change=rounded)
    case = read(p2d(), tmp_path)
    assert isinstance(case, P2DCase)
    assert case.electrodes["negative"].active_volume_fraction == pytest.approx(0.75 * 1.0005, rel=1e-12)


def test_the_binder_comes_from_the_user_defined_block(tmp_path: Path) -> None:
    write(tmp_path)
    data = half_cell()
    data["materials"]["binder"] = {"porosity": 0.6}
    case = read(data, tmp_path)
    assert isinstance(case, ResolvedCase)
    binder = case.materials.binder
    assert (binder.porosity, binder.conductivity, binder.tortuosity) == (0.6, 50.0, 3.0)
    assert (binder.active_coverage, binder.contact_resistance) == (0.7, 1e-3)
    assert case.conditions.salt == 1000.0  # the electrolyte is another one


def test_each_electrode_of_a_full_cell_takes_its_own(tmp_path: Path) -> None:
    write(tmp_path)
    data = tomllib.loads((Path(__file__).parent.parent / "cases" / "full-cell" / "case.toml").read_text())
    for side in SIDES:
        data[side]["materials"] = {"active": "cell.json"}
    data["materials"]["electrolyte"] = "cell.json"
    del data["conditions"]
    case = read(data, tmp_path)
    assert isinstance(case, FullCellCase)
    assert [material.name for material in active_materials(case)] == [
        "LG M50, Negative electrode",
        "LG M50, Positive electrode",
    ]
    assert (case.positive.materials.binder.porosity, case.negative.materials.binder.porosity) == (0.4, 0.5)
    assert full_cell_parameters(case).electrolyte.name == electrolyte_of(case).name == "LG M50, electrolyte"
    assert case.conditions.salt == 1100.0


@pytest.mark.parametrize(
    ("active", "dropped", "found"),
    [
        ("cell.json", (), 63104.0),
        ("cell.json", ("Positive electrode",), 33133.0),
        ({"base": "cell.json", "electrode": "negative"}, (), 33133.0),
        ({"base": "CELL.JSON", "electrode": "positive"}, ("Negative electrode",), 63104.0),
    ],
)
def test_a_half_cell_takes_the_positive_electrode_or_the_only_one_or_the_one_that_it_names(
    active: Any, dropped: tuple[str, ...], found: float, tmp_path: Path
) -> None:
    def change(parameters: dict[str, Any], document: dict[str, Any]) -> None:
        for part in dropped:
            del parameters[part]
            document["Header"]["Model"] = "Partial"
        del parameters["User-defined"]

    write(tmp_path, active if isinstance(active, str) else active["base"], change)
    case = read(half_cell(active), tmp_path)
    assert active_materials(case)[0].max_concentration == found


def test_the_place_in_the_case_can_be_overruled(tmp_path: Path) -> None:
    write(tmp_path)
    data = p2d()
    data["positive"]["material"] = {"base": "cell.json", "electrode": "negative"}
    data["negative"]["material"] = {"base": "cell.json", "electrode": "positive"}
    with pytest.raises(CaseError, match="exchange the two tables"):
        read(data, tmp_path)


def blended(parameters: dict[str, Any], _: dict[str, Any]) -> None:
    """The positive electrode of two components."""
    positive = parameters["Positive electrode"]
    layer = ("Thickness [m]", "Porosity", "Transport efficiency", "Conductivity [S.m-1]")
    particle = {key: positive.pop(key) for key in list(positive) if key not in layer}
    half = particle["Surface area per unit volume [m-1]"] / 2.0
    positive["Particle"] = {
        "large": particle | {"Surface area per unit volume [m-1]": half},
        "small": particle | {"Surface area per unit volume [m-1]": half, "Maximum concentration [mol.m-3]": 5e4},
    }
    del parameters["User-defined"]


def test_a_component_of_a_blend_is_named(tmp_path: Path) -> None:
    write(tmp_path, change=blended)
    chosen = {"base": "cell.json", "particle": "small"}
    assert active_materials(read(half_cell(chosen), tmp_path))[0].max_concentration == 5e4
    with pytest.raises(CaseError, match=r"materials.active: .*is a blend of 'large', 'small'.*particle = \"large\""):
        read(half_cell(), tmp_path)
    with pytest.raises(CaseError, match="has no component \"smal\"; did you mean 'small'"):
        read(half_cell(chosen | {"particle": "smal"}), tmp_path)
    data = p2d()
    data["positive"]["material"] = chosen
    with pytest.raises(CaseError, match=r"positive\.active_volume_fraction: is required and missing"):
        read(data, tmp_path)


def test_what_the_file_leaves_open_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    assert assumed(read(half_cell(), tmp_path)) == []

    def change(parameters: dict[str, Any], _: dict[str, Any]) -> None:
        del parameters["User-defined"]

    write(tmp_path, change=change)
    notes = assumed(read(half_cell(), tmp_path))
    assert [note.split(": ")[:3] for note in notes] == [["materials.active", "cell.json", "Positive electrode"]] * 2
    assert "no 'active material conductivity [S.m-1]' given; the electrode's effective 0.18 S/m is used" in notes[0]
    told = run_case(read(half_cell(), tmp_path), results=tmp_path / "results")["warnings"]
    assert [warning for warning in told if warning in notes] == notes
    # the homogenised cell has no use for the conductivity of the bulk
    assert ["density" in note for note in assumed(read(p2d(), tmp_path)) if "electrode: " in note] == [True, True]


# the same numbers


def voltages(case: Any, results: Path) -> tuple[Any, dict[str, Any]]:
    summary = run_case(case, results=results)
    table = read_table(results / "timeseries.csv")
    return table, summary


def test_a_homogenised_cell_of_named_sets_and_of_their_file_have_one_voltage(tmp_path: Path) -> None:
    write(tmp_path)
    data = template("p2d")
    data["solver"]["p2d"], data["output"]["every"] = {"points": [8, 6, 8], "radial": 10}, 60.0
    data["conditions"]["salt"] = 1100.0
    named, told = voltages(read(data, tmp_path), tmp_path / "named")
    filed, of_file = voltages(read(p2d(), tmp_path), tmp_path / "filed")
    capacity = np.linspace(1.0, 0.95 * told["capacity_Ah_m2"], 200)
    V, V_file = (np.interp(capacity, table["capacity_Ah_m2"], table["voltage_V"]) for table in (named, filed))
    assert told["capacity_Ah_m2"] > 40.0
    assert of_file["capacity_Ah_m2"] == pytest.approx(told["capacity_Ah_m2"], rel=1e-4)
    # potentials are sampled to 0.02 mV and properties to 1e-4; linear interpolation of the two curves adds as much
    assert np.abs(V - V_file).max() < 3e-4


def test_a_half_cell_of_a_named_set_and_of_its_file_have_one_voltage(tmp_path: Path) -> None:
    write(tmp_path)
    data = half_cell(SIDES["positive"])
    data["materials"] |= {"electrolyte": "lipf6-chen2020"}
    data["materials"]["binder"] = {
        "porosity": 0.4,
        "tortuosity": 3.0,
        "conductivity": 50.0,
        "active_coverage": 0.7,
        "contact_resistance": 1e-3,
    }
    data["conditions"] = {"salt": 1100.0}
    named, _ = voltages(read(data, tmp_path), tmp_path / "named")
    data = half_cell()
    data["materials"]["electrolyte"] = "cell.json"
    filed, _ = voltages(read(data, tmp_path), tmp_path / "filed")
    # the potential is sampled to 0.02 mV
    assert filed["voltage_V"][-1] == pytest.approx(named["voltage_V"][-1], abs=2e-5)
    assert named["voltage_V"][0] - named["voltage_V"][-1] > 0.01


def test_the_resolved_case_runs_to_the_same_bits_and_a_changed_file_is_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    data = p2d()
    data["protocol"][0]["until"] = {"time": 60.0}
    case = read(data, tmp_path)
    first = run_case(case, results=tmp_path / "first")
    record = json.loads((tmp_path / "first" / "run.json").read_text())
    assert set(record["inputs"]) == set(files_of(case))
    written = json.loads((tmp_path / "first" / "case.resolved.json").read_text())
    again = read(written, tmp_path)
    assert again == case
    assert run_case(again, results=tmp_path / "second") == first
    check_finished(case, tmp_path / "first")

    def warmer(parameters: dict[str, Any], _: dict[str, Any]) -> None:
        parameters["Negative electrode"]["Reaction rate constant activation energy [J.mol-1]"] += 1.0

    write(tmp_path, change=warmer)
    with pytest.raises(CheckpointError, match=r"sha256 of the file named by materials\.electrolyte was"):
        check_finished(read(data, tmp_path), tmp_path / "first")


# what is refused


def refused(tmp_path: Path, kind: type[Exception], data: dict[str, Any] | None = None) -> str:
    with pytest.raises(kind) as caught:
        read(data or half_cell(), tmp_path, file="mycase/case.toml")
    message = str(caught.value)
    assert message.startswith("mycase/case.toml")
    return message


def test_a_file_that_is_not_there_or_elsewhere_or_no_json(tmp_path: Path) -> None:
    inside = tmp_path / "case"
    inside.mkdir()
    assert 'materials.active = "cell.json": ' in (message := refused(inside, InputError))
    assert "does not exist" in message
    (inside / "cell.json").mkdir()
    assert "is a directory, not a file" in refused(inside, InputError)
    (tmp_path / "other.json").write_text("{not json")  # what is outside is not even opened
    outside = half_cell("../other.json")
    message = refused(inside, CaseError, outside)
    assert 'materials.active = "../other.json" is ' in message
    assert "outside the case directory; copy it into the case, or allow it with --allow-outside" in message
    write(tmp_path, "other.json")
    assert isinstance(read(outside, inside, allow_outside=True), ResolvedCase)
    (inside / "text.json").write_text("{not json")
    message = refused(inside, InputError, half_cell("text.json"))
    assert "materials.active: " in message
    assert "text.json: cannot be read as a BPX file" in message
    assert "cannot be looked up: " in refused(inside, InputError, half_cell("x" * 900 + ".json"))
    assert "is not the name of a set or of a file" in refused(inside, CaseError, half_cell("a\0.json"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _, d: d["Header"].update(BPX="2.0"), "Header, BPX: version '2.0' found; a version among 0.1, "),
        (lambda p, _: p["Positive electrode"].pop("OCP [V]"), "Positive electrode: the key 'OCP [V]' is missing"),
        (
            lambda p, _: p["Positive electrode"].update({"OCP [V]": "__import__('os').getcwd()"}),
            "Positive electrode, OCP [V]: ",
        ),
        (
            lambda p, _: p["User-defined"].update({"Positive electrode: binder porosty": 0.4}),
            "did you mean 'Positive electrode: binder porosity'",
        ),
        (
            lambda p, _: p["User-defined"].update({"Positive electrode: binder porosity": 1.4}),
            "binder porosity: 1.4 found; a number from 0 to 1",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_case_key_file_and_place(change: Any, told: str, tmp_path: Path) -> None:
    write(tmp_path, change=change)
    message = refused(tmp_path, CaseError)
    assert "mycase/case.toml: materials.active: " in message
    assert f"{tmp_path / 'cell.json'}, " in message
    assert told in message


def test_a_part_that_the_file_lacks(tmp_path: Path) -> None:
    def only_positive(parameters: dict[str, Any], document: dict[str, Any]) -> None:
        document["Header"]["Model"] = "Partial"
        for part in ("Negative electrode", "Electrolyte", "Separator", "User-defined"):
            del parameters[part]

    write(tmp_path, change=only_positive)
    data = template("p2d")
    data["negative"]["material"] = "cell.json"
    message = refused(tmp_path, CaseError, data)
    assert "negative.material: " in message
    assert "no 'Negative electrode' found, only 'Positive electrode'" in message
    assert '{ base = "cell.json", electrode = "positive" }' in message
    for key in ("electrolyte", "separator"):
        data = half_cell()
        data["materials"][key] = "cell.json"
        message = refused(tmp_path, CaseError, data)
        assert f"materials.{key}: " in message
        assert f"no '{key.capitalize()}' found" in message


def test_a_wrong_electrode_name_is_told_as_ever(tmp_path: Path) -> None:
    write(tmp_path)
    message = refused(tmp_path, CaseError, half_cell({"base": "cell.json", "electrode": "negativ"}))
    assert 'materials.active.electrode = "negativ" is not allowed; did you mean' in message
    assert "'Positive electrode' is no blend; delete particle" in refused(
        tmp_path, CaseError, half_cell({"base": "cell.json", "particle": "a"})
    )


def test_a_case_directory_is_loaded(tmp_path: Path) -> None:
    write(tmp_path)
    text = (files("battsim") / "templates" / "p2d" / "case.toml").read_text()
    (tmp_path / "case.toml").write_text(text.replace('"nmc811-chen2020"', '"cell.json"'))
    case = load(tmp_path)
    assert isinstance(case, P2DCase)
    assert case.working.thickness == 75.6e-6
