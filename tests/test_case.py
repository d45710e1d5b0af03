import copy
import json
import tomllib
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from battsim.case import (
    P2DCase,
    ResolvedCase,
    TortuosityCase,
    active_material,
    active_materials,
    files_of,
    initial_stoichiometries,
    load_case,
    read_case,
)
from battsim.case.start import open_circuit_voltage
from battsim.errors import BattsimError, CaseError, ImpossibleError, InputError

FILE_IMAGE = {
    "file": "image.tif",
    "voxel_size": "0.4 um",
    "through_plane": "z",
    "labels": {"pore": 0, "active": [1, 3], "binder": 2},
    "ignore": [9],
    "crop": [[0, 5], [1, 4], [0, 9]],
}
OWN_ACTIVE = {
    "max_concentration": "50 mol/dm^3",
    "stoichiometry": {"soc100": 0.3, "soc0": 0.9, "fitted": [0.2, 0.95]},
    "ocp": {"expr": "4.5 - 0.8*x"},
    "diffusivity": {"expr": "4e-15*exp(-x)"},
    "exchange_current": {"rate_constant": 3e-6},
    "conductivity": "0.18 S/m",
    "density": "4.7 g/cm^3",
}


def template(name: str) -> dict[str, Any]:
    return tomllib.loads((files("battsim") / "templates" / name / "case.toml").read_text())


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The table with the key at a dotted path set; `...` deletes it."""
    data = copy.deepcopy(data)
    *parents, last = path.split(".")
    table: Any = data
    for key in parents:
        table = table[int(key)] if isinstance(table, list) else table.setdefault(key, {})
    if value is ...:
        del table[last]
    else:
        table[int(last) if isinstance(table, list) else last] = value
    return data


@pytest.fixture
def half_cell(tmp_path: Path) -> dict[str, Any]:
    """A half cell on an image file, which exists (what is in it is not the case's business)."""
    (tmp_path / "image.tif").write_bytes(b"not read here")
    return changed(template("half-cell"), "image", FILE_IMAGE)


def half_p2d() -> dict[str, Any]:
    """The positive electrode of the template against lithium."""
    data = template("p2d")
    data["electrode"] = data.pop("positive")
    del data["negative"], data["solver"]["p2d"], data["model"]["cell"]
    return changed(data, "protocol.0.until.voltage", "3.5 V")


def read_p2d(data: dict[str, Any], tmp_path: Path) -> P2DCase:
    case = read_case(data, tmp_path)
    assert isinstance(case, P2DCase)
    return case


# what is accepted


@pytest.mark.parametrize("name", ["half-cell", "p2d", "tortuosity"])
def test_templates_are_valid_and_say_what_the_defaults_are(name: str, tmp_path: Path) -> None:
    (tmp_path / "case.toml").write_text((files("battsim") / "templates" / name / "case.toml").read_text())
    case = load_case(tmp_path)
    resolved = json.loads(json.dumps(case.resolved(), allow_nan=False))
    again = read_case(resolved, tmp_path)
    assert again == case
    assert again.resolved() == case.resolved() == resolved
    assert case.directory == tmp_path.resolve()


def test_quantities_are_si(half_cell: dict[str, Any], tmp_path: Path) -> None:
    data = changed(half_cell, "cell.capacity", "48.7 Ah/m^2")
    data["protocol"] = [
        {"step": "charge", "current": "2 mA/cm^2", "until": {"time": "2 h", "voltage": "4.2 V"}},
        {"step": "rest", "until": {"time": "10 min"}},
        {"step": "discharge", "rate": "C/5", "until": {"capacity": "10 Ah/m^2"}},
        {"step": "discharge", "power": "8 mW/cm^2", "until": {"current": "3 mA/cm^2", "rate": "2 C"}},
        {"step": "hold", "voltage": "4.2 V", "until": {"rate": "C/20", "time": "1 h"}},
    ]
    data["initial"] = {"soc": 0.5}
    case = read_case(data, tmp_path)
    assert isinstance(case, ResolvedCase)
    assert case.image.voxel_size == (4e-7, 4e-7, 4e-7)
    assert case.image.labels == {"pore": (0,), "active": (1, 3), "binder": (2,)}
    assert case.image.crop == ((0, 5), (1, 4), (0, 9))
    assert case.image_file == (tmp_path / "image.tif").resolve()
    assert case.conditions.temperature == pytest.approx(298.15, rel=1e-14)
    assert case.materials.separator.thickness == 12e-6
    assert case.cell.capacity == 175320.0
    assert case.protocol[0].current == 20.0
    assert (case.protocol[0].until.time, case.protocol[0].until.voltage) == (7200.0, 4.2)
    assert (case.protocol[2].rate, case.protocol[2].until.capacity) == (0.2, 36000.0)
    assert (case.protocol[3].power, case.protocol[3].until.current, case.protocol[3].until.rate) == (80.0, 30.0, 2.0)
    assert (case.protocol[4].voltage, case.protocol[4].until.rate, case.protocol[4].until.given) == (
        4.2,
        0.05,
        ("time", "rate"),
    )
    ends = {"voltage": None, "time": 600.0, "current": None, "rate": None, "capacity": None}
    assert case.resolved()["protocol"][1]["until"] == ends
    assert read_case(json.loads(json.dumps(case.resolved())), tmp_path) == case


def test_defaults_are_those_of_the_contract(half_cell: dict[str, Any], tmp_path: Path) -> None:
    for table in ("conditions", "initial", "solver", "output"):
        del half_cell[table]
    del half_cell["materials"]["binder"], half_cell["materials"]["counter"], half_cell["model"]["cell"]
    resolved = read_case(half_cell, tmp_path).resolved()
    assert resolved["conditions"] == {"temperature": 298.15, "salt": 1000.0}
    assert resolved["initial"] == {"soc": 1.0, "stoichiometry": None, "voltage": None}
    assert resolved["model"] == {"kind": "resolved", "cell": "half", "baseline": False, "engine": "newton"}
    assert resolved["solver"] == {"threads": 2, "time_rtol": 1e-3, "merge": 0}
    assert resolved["output"] == {"fields": ["c_e", "phi_e", "c_s", "phi_s", "j"], "every": 300.0}
    assert resolved["materials"]["counter"] == "lithium-xu2019"
    assert resolved["materials"]["binder"] == {
        "transport": "nanoporous",
        "porosity": 0.5,
        "tortuosity": 4.0,
        "conductivity": 100.0,
        "active_coverage": 1.0,
        "contact_resistance": 0.0,
    }


def test_separator_transport_by_either_law(half_cell: dict[str, Any], tmp_path: Path) -> None:
    by_exponent = read_case(half_cell, tmp_path)
    half_cell["materials"]["separator"] = {"thickness": 1e-5, "porosity": 0.5, "tortuosity": 2.5}
    by_factor = read_case(half_cell, tmp_path)
    assert isinstance(by_exponent, ResolvedCase)
    assert isinstance(by_factor, ResolvedCase)
    assert by_exponent.materials.separator.transport_factor == pytest.approx(0.47**1.5, rel=1e-15)
    assert by_factor.materials.separator.transport_factor == 0.2


def test_transport_fills_porosities(tmp_path: Path) -> None:
    case = read_case(template("tortuosity"), tmp_path)
    assert isinstance(case, TortuosityCase)
    assert case.transport.porosity == {"pore": 1.0, "binder": 0.5}
    in_siemens = changed(template("tortuosity"), "transport.conductivity", {"pore": "1 S/m", "binder": "1 mS/cm"})
    other = read_case(in_siemens, tmp_path)
    assert isinstance(other, TortuosityCase)
    assert other.transport.conductivity == {"pore": 1.0, "binder": 0.1}


def test_transport_asks_for_nothing_more_unless_told(tmp_path: Path) -> None:
    resolved = read_case(template("tortuosity"), tmp_path).resolved()
    assert resolved["output"] == {"fields": []}
    more = {"tensor": False, "electrode": False, "representative": False, "discretisation": False}
    assert resolved["transport"].items() >= more.items()
    assert (resolved["transport"]["sides"], resolved["transport"]["length"]) == ("no-flux", "outer")
    asked = template("tortuosity")
    asked["transport"] |= {"sides": "periodic", "tensor": "mirrored", "electrode": True, "discretisation": True}
    case = read_case(asked | {"output": {"fields": ["flux", "potential"]}}, tmp_path)
    assert isinstance(case, TortuosityCase)
    assert (case.transport.tensor, case.transport.electrode, case.transport.sides) == ("mirrored", True, "periodic")
    assert case.output.fields == ("flux", "potential")
    assert read_case(json.loads(json.dumps(case.resolved())), tmp_path) == case


SIZES = [{"radius": "4 um", "share": 0.4}, {"radius": "6 um", "share": "60 %"}]


def test_a_cell_without_an_image(tmp_path: Path) -> None:
    data = changed(template("p2d"), "positive.particle_radius", SIZES)
    data["positive"] |= {"area_per_volume": "0.38 1/um", "bulk_conductivity": "0.5 S/m", "solid_bruggeman": 2}
    data["negative"]["tortuosity"] = 2.5
    del data["positive"]["conductivity"], data["negative"]["bruggeman"]
    case = read_p2d(data, tmp_path)
    assert list(case.electrodes) == ["negative", "positive"]
    assert case.working is case.positive
    assert case.electrode is None
    negative, positive = case.electrodes.values()
    assert [(size.radius, size.share) for size in negative.particle_radius] == [(5.86e-6, 1.0)]
    assert [(size.radius, size.share) for size in positive.particle_radius] == [(4e-6, 0.4), (6e-6, 0.6)]
    assert (negative.thickness, negative.area_per_volume, positive.area_per_volume) == (85.2e-6, None, 3.8e5)
    assert negative.transport_factor == pytest.approx(0.25 / 2.5, rel=1e-15)
    assert positive.transport_factor == pytest.approx(0.335**1.5, rel=1e-15)
    assert negative.effective_conductivity == 215.0
    assert positive.effective_conductivity == pytest.approx(0.5 * 0.665**2, rel=1e-15)
    assert case.materials.separator.transport_factor == pytest.approx(0.47**1.5, rel=1e-15)
    again = read_case(json.loads(json.dumps(case.resolved(), allow_nan=False)), tmp_path)
    assert again == case
    assert again.resolved() == case.resolved()
    assert files_of(case) == {}


def test_defaults_of_a_cell_without_an_image(tmp_path: Path) -> None:
    full = template("p2d")
    for table in ("conditions", "initial", "solver", "output", "cell"):
        del full[table]
    resolved = read_p2d(full, tmp_path).resolved()
    assert resolved["initial"] == {"soc": 1.0, "stoichiometry": None, "voltage": None}
    assert resolved["solver"]["p2d"] == {"points": [40, 20, 40], "radial": 40, "accuracy": None}
    assert resolved["output"] == {"fields": ["c_e", "phi_e", "c_s", "phi_s", "j"], "every": 300.0}
    assert resolved["materials"]["counter"] is None
    half = read_p2d(half_p2d(), tmp_path)
    assert half.working is half.electrode
    assert (half.model.cell, half.materials.counter) == ("half", "lithium-xu2019")
    assert half.solver.p2d.points == (20, 40)
    assert read_case(json.loads(json.dumps(half.resolved())), tmp_path) == half


def test_the_grid_of_a_cell_without_an_image(tmp_path: Path) -> None:
    """What is left out is filled in, but not beside an accuracy, which chooses all of it."""
    by_shells = read_p2d(changed(template("p2d"), "solver.p2d", {"radial": 10}), tmp_path)
    assert (by_shells.solver.p2d.points, by_shells.solver.p2d.radial) == ((40, 20, 40), 10)
    by_points = read_p2d(changed(half_p2d(), "solver.p2d", {"points": [5, 7]}), tmp_path)
    assert (by_points.solver.p2d.points, by_points.solver.p2d.radial) == ((5, 7), 40)
    by_error = read_p2d(changed(template("p2d"), "solver.p2d", {"accuracy": "0.5 mV"}), tmp_path)
    assert (by_error.solver.p2d.points, by_error.solver.p2d.radial, by_error.solver.p2d.accuracy) == (None, None, 5e-4)
    assert read_case(json.loads(json.dumps(by_error.resolved())), tmp_path) == by_error


def test_the_start_of_a_full_cell(tmp_path: Path) -> None:
    """A state of charge lies between both materials' limits; a voltage gives a state of charge."""
    both = changed(template("p2d"), "initial", {"stoichiometry": {"negative": 0.5, "positive": 0.6}})
    case = read_p2d(both, tmp_path)
    materials = active_materials(case)
    assert [material.name for material in materials] == ["graphite-chen2020", "nmc811-chen2020"]
    assert initial_stoichiometries(case, materials) == (0.5, 0.6)
    assert read_case(json.loads(json.dumps(case.resolved())), tmp_path) == case
    by_charge = read_p2d(changed(template("p2d"), "initial", {"soc": 0.25}), tmp_path)
    x = initial_stoichiometries(by_charge, materials)
    # limits of Chen et al. (2020)
    assert x == pytest.approx((0.75 * 0.0279 + 0.25 * 0.9014, 0.75 * 0.9084 + 0.25 * 0.27), rel=1e-14)
    voltage = open_circuit_voltage(materials, x, 298.15)
    U = [float(material.ocp(each)[0]) for material, each in zip(materials, x, strict=True)]  # type: ignore[arg-type]
    assert voltage == pytest.approx(U[1] - U[0], abs=1e-14)
    by_voltage = read_p2d(changed(template("p2d"), "initial", {"voltage": voltage}), tmp_path)
    assert initial_stoichiometries(by_voltage, materials) == pytest.approx(x, abs=1e-9)


def test_the_start_of_a_half_cell_without_an_image(tmp_path: Path) -> None:
    case = read_p2d(changed(half_p2d(), "initial", {"stoichiometry": 0.4}), tmp_path)
    materials = active_materials(case)
    assert initial_stoichiometries(case, materials) == (0.4,)
    potential = float(materials[0].ocp(0.4)[0])  # type: ignore[arg-type]
    assert open_circuit_voltage(materials, (0.4,), 298.15) == potential
    by_voltage = read_p2d(changed(half_p2d(), "initial", {"voltage": potential}), tmp_path)
    assert initial_stoichiometries(by_voltage, materials) == pytest.approx((0.4,), abs=1e-9)
    by_charge = read_p2d(changed(half_p2d(), "initial", {"soc": 0.0}), tmp_path)
    assert initial_stoichiometries(by_charge, materials) == pytest.approx((0.9084,), rel=1e-14)


def test_curves_of_electrodes_are_files_of_the_case(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("x,U\n0.01,0.9\n0.5,0.12\n0.99,0.05\n")
    own = {"base": "graphite-chen2020", "ocp": {"file": "u.csv"}, "entropic": {"file": "u.csv"}}
    case = read_p2d(changed(template("p2d"), "negative.material", own), tmp_path)
    assert files_of(case) == {"negative.material.ocp.file": "u.csv", "negative.material.entropic.file": "u.csv"}
    assert float(active_materials(case)[0].ocp(0.5)[0]) == pytest.approx(0.12, abs=1e-14)  # type: ignore[arg-type]
    (tmp_path / "u.csv").unlink()
    with pytest.raises(InputError, match=r"negative\.material\.ocp\.file.* does not exist"):
        read_case(case.resolved(), tmp_path)


def test_a_case_cannot_be_changed(tmp_path: Path) -> None:
    case = read_case(template("tortuosity"), tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        case.name = "other"


def test_an_active_material_of_ones_own(half_cell: dict[str, Any], tmp_path: Path) -> None:
    case = read_case(changed(half_cell, "materials.active", OWN_ACTIVE), tmp_path)
    assert isinstance(case, ResolvedCase)
    material = active_material(case)
    assert material.max_concentration == 50000.0
    assert (material.alpha_a, material.alpha_c, material.film_resistance) == (0.5, 0.5, 0.0)
    assert float(material.ocp(0.5)[0]) == pytest.approx(4.1, rel=1e-14)  # type: ignore[arg-type]
    assert read_case(json.loads(json.dumps(case.resolved())), tmp_path) == case


def test_an_active_material_on_a_base_with_a_measured_potential(half_cell: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "ocp.csv").write_text("x,U\n0.1,4.4\n0.5,4.0\n0.99,3.5\n")
    own = {"base": "nmc811-chen2020", "ocp": {"file": "params/ocp.csv"}, "conductivity": 1.0}
    case = read_case(changed(half_cell, "materials.active", own), tmp_path)
    assert isinstance(case, ResolvedCase)
    material = active_material(case)
    assert material.conductivity == 1.0
    assert material.max_concentration == 63104.0
    assert float(material.ocp(0.5)[0]) == pytest.approx(4.0, rel=1e-14)  # type: ignore[arg-type]
    assert files_of(case) == {"image.file": "image.tif", "materials.active.ocp.file": "params/ocp.csv"}


# what is refused: (path, value, words of the message)

REFUSED = [
    ("image.voxel_sise", "1 um", ["image.voxel_sise: unknown key; did you mean 'voxel_size'?"]),
    ("nme", "x", ["nme: unknown key; did you mean 'name'?"]),
    ("protocol.0.until.volage", 1, ["protocol.0.until.volage: unknown key; did you mean 'voltage'?"]),
    ("materials.separator.bruggman", 1, ["materials.separator.bruggman: unknown key; did you mean 'bruggeman'?"]),
    ("schema", 2, ["schema = 2", "known: 1"]),
    ("name", 3, ["name = 3", "string in quotes"]),
    ("image", ..., ["image: is required and missing"]),
    ("image", "cathode.tif", ['image = "cathode.tif": must be a table']),
    ("image.voxel_size", ..., ["image needs voxel_size", "never guessed"]),
    ("image.voxel_size", "0.4 V", ['image.voxel_size = "0.4 V"', "a length is expected", '"0.4 um"']),
    ("image.voxel_size", "0.4", ["image.voxel_size", "without a unit"]),
    ("image.voxel_size", "-1 um", ["image.voxel_size", "greater than 0"]),
    ("image.voxel_size", ["1 um", "1 um"], ["image.voxel_size.2: is missing", "one entry per axis"]),
    ("image.voxel_size", [1e-6, 0, 1e-6], ["image.voxel_size.1 = 0: must be greater than 0"]),
    ("image.through_plane", ..., ["image.through_plane: is required", 'through_plane = "x"']),
    ("image.through_plane", "w", ['image.through_plane = "w" is not allowed', "x, y, z"]),
    ("image.separator_side", "left", ["image.separator_side", "low, high"]),
    ("image.labels", ..., ["image needs labels", "labels = {"]),
    ("image.labels", {"pore": 0, "actve": 1}, ["image.labels.active: is required", "did you mean 'active'?"]),
    ("image.labels", {"pore": 0, "active": 1, "binder": []}, ["image.labels.binder", "is empty"]),
    ("image.labels", {"pore": 0, "active": "1"}, ["image.labels.active.0", "whole number"]),
    ("image.labels", {"pore": 0, "active": True}, ["image.labels.active.0", "whole number"]),
    ("image.labels", {"pore": 0, "active": [1, 0]}, ["the value 0 more than once"]),
    ("image.ignore", [2], ["the value 2 more than once in labels and ignore"]),
    ("image.labels.ignored", 7, ["'ignored'", "ignore = [...]"]),
    ("image.crop", [[0, 5], [3, 3], [0, 1]], ["image.crop.1 = [3, 3] is empty", "half-open"]),
    ("image.crop", [[0, 5], [-1, 3], [0, 1]], ["image.crop.1.0 = -1: must be at least 0"]),
    ("image.crop", [[0, 5], [0, 3]], ["image.crop.2: is missing"]),
    ("image.coarsen", 0, ["image.coarsen = 0: must be at least 1"]),
    ("image.coarsen", 2.0, ["image.coarsen = 2.0: must be a whole number"]),
    ("image.axes", "xxy", ['image.axes = "xxy"', "each of x, y, z once"]),
    ("image.byte_order", "big", ["byte_order", "only a raw file needs"]),
    ("image.file", "image.raw", ["'image.raw', which has no header", "dtype and shape"]),
    ("image.file", "a\0b", ["image.file", "not the name of a file"]),
    ("image.file", "", ["image.file", "not the name of a file"]),
    ("image.file", "../image.tif", ['image.file = "../image.tif"', "outside the case directory", "--allow-outside"]),
    ("image.file", "/etc/hosts", ["image.file", "outside the case directory"]),
    ("image.generate", {"kind": "spheres"}, ["image.generate.shape: is required", "image.generate.diameter: is"]),
    ("materials", ..., ["materials: is required"]),
    ("materials.active", "nmc811", ['materials.active = "nmc811"', "did you mean 'nmc811-chen2020'?"]),
    ("materials.electrolyte", "water", ["materials.electrolyte", "lipf6-nyman2008"]),
    ("materials.counter", "sodium", ["materials.counter", "lithium-xu2019"]),
    ("materials.active", {"base": "nmc"}, ["materials.active.base", "nmc811-chen2020"]),
    ("materials.active", {}, ["materials.active has neither max_concentration", "nor a base"]),
    ("materials.active", {"base": "nmc811-chen2020", "conductivty": 1}, ["did you mean 'conductivity'?"]),
    ("materials.active", {"base": "nmc811-chen2020", "diffusivity": "1 m"}, ["materials.active.diffusivity", "m2/s"]),
    ("materials.active", {"base": "nmc811-chen2020", "ocp": {"expr": "1", "file": "a"}}, ["exactly one of file"]),
    ("materials.active", OWN_ACTIVE | {"ocp": {"expr": "__import__('os')"}}, ["materials.active: ", "__import__"]),
    ("materials.active", OWN_ACTIVE | {"ocp": {"expr": "4 - y"}}, ["materials.active: ", "y"]),
    ("materials.active", OWN_ACTIVE | {"stoichiometry": {"soc0": 0.9}}, ["stoichiometry.soc100, stoichiometry.fitted"]),
    ("materials.binder.porosity", 0, ["materials.binder.porosity = 0: must be greater than 0"]),
    ("materials.binder.tortuosity", 0.5, ["materials.binder.tortuosity = 0.5: must be at least 1"]),
    ("materials.binder.transport", "porous", ["materials.binder.transport", "did you mean 'nanoporous'?"]),
    ("materials.separator", ..., ["materials.separator: is required"]),
    ("materials.separator.porosity", 1.2, ["materials.separator.porosity = 1.2: must be at most 1"]),
    ("materials.separator.porosity", 0, ["materials.separator.porosity = 0: must be greater than 0"]),
    ("materials.separator.thickness", "0 um", ["materials.separator.thickness", "greater than 0"]),
    ("materials.separator.tortuosity", 2, ["exactly one of bruggeman", "tortuosity"]),
    ("materials.separator.bruggeman", ..., ["exactly one of bruggeman", "tortuosity"]),
    ("conditions.temperature", 25, ["conditions.temperature = 25", "in kelvin", '"25 degC"']),
    ("conditions.temperature", "25 C", ['conditions.temperature = "25 C"', '"25 degC"']),
    ("conditions.salt", 0, ["conditions.salt = 0: must be greater than 0"]),
    ("initial.stoichiometry", 0.5, ["initial needs exactly one of", "not soc and stoichiometry"]),
    ("initial", {}, ["initial needs exactly one of", "not none"]),
    ("initial.soc", 1.5, ["initial.soc = 1.5: must be at most 1"]),
    ("cell.capacity", 48.7, ["cell.capacity = 48.7", '"48.7 Ah/m^2"']),
    ("model", ..., ["model.kind: is required"]),
    ("model.kind", "resolvd", ['model.kind = "resolvd"', "did you mean 'resolved'?"]),
    ("model.kind", ["resolved"], ["model.kind", "resolved, p2d, tortuosity"]),
    ("model.engine", "newtn", ["model.engine", "did you mean 'newton'?"]),
    ("protocol", [], ["protocol = [] is empty"]),
    ("protocol", ..., ["protocol: is required"]),
    ("protocol.0.step", "discarge", ["protocol.0.step", "did you mean 'discharge'?"]),
    ("protocol.0.rate", "fast", ['protocol.0.rate = "fast"', '"C/5"']),
    ("protocol.0.rate", -1, ["protocol.0.rate = -1", "gives the sign"]),
    ("protocol.0.rate", ..., ["protocol.0 needs exactly one of rate, current and power, not none"]),
    ("protocol.0.current", 25, ["protocol.0 needs exactly one of rate, current and power, not rate and current"]),
    ("protocol.0.power", "80 W/m^2", ["protocol.0 needs exactly one of rate, current and power, not rate and power"]),
    ("protocol.0.power", "80 W", ["protocol.0.power", '"80 W/m^2"']),
    ("protocol.0.power", 0, ["protocol.0.power = 0: must be greater than 0"]),
    ("protocol.0.voltage", "4 V", ["protocol.0 is a discharge, which takes no voltage", "until = {", 'step = "hold"']),
    ("protocol.0.current", "25 A", ["protocol.0.current", '"25 A/m^2"']),
    ("protocol.0.step", "rest", ["protocol.0 is a rest: it takes no rate"]),
    ("protocol.0", {"step": "rest", "rate": 1, "until": {"time": 1}}, ["protocol.0 is a rest", "takes no rate"]),
    ("protocol.0", {"step": "rest", "voltage": 4, "until": {"time": 1}}, ["protocol.0 is a rest", "or voltage"]),
    ("protocol.0", {"step": "rest", "until": {"time": 1, "voltage": 4}}, ["protocol.0 is a rest", "by time alone"]),
    ("protocol.0", {"step": "rest", "until": {"time": 1, "rate": 1}}, ["protocol.0 is a rest", "by time alone"]),
    ("protocol.0", {"step": "rest", "until": {"capacity": 1}}, ["protocol.0 is a rest", "by time alone"]),
    ("protocol.0.step", "hold", ["protocol.0 is a hold, which takes no rate", "delete it"]),
    ("protocol.0", {"step": "hold", "until": {"time": 1}}, ["protocol.0 is a hold and needs the voltage"]),
    ("protocol.0", {"step": "hold", "voltage": 4, "until": {"time": 1, "voltage": 4}}, ["until.voltage is never met"]),
    ("protocol.0", {"step": "hold", "voltage": 4, "until": {}}, ["protocol.0.until is empty"]),
    ("protocol.0", {"step": "hold", "voltage": 7, "until": {"time": 1}}, ["protocol.0.voltage = 7: must be at most 6"]),
    ("protocol.0.until.current", 1, ["until.current at a constant rate", "met at once or never", "voltage, time or"]),
    ("protocol.0.until.rate", "C/20", ["until.rate at a constant rate", "met at once or never"]),
    ("protocol.0.until.rate", "slow", ['protocol.0.until.rate = "slow"', '"C/5"']),
    ("protocol.0.until", {}, ["protocol.0.until is empty"]),
    ("protocol.0.until.voltage", 3500, ["protocol.0.until.voltage = 3500: must be at most 6"]),
    ("protocol.0.until.time", "1 V", ["protocol.0.until.time", "a time is expected"]),
    ("solver.threads", 0, ["solver.threads = 0: must be at least 1"]),
    ("solver.threads", True, ["solver.threads = true: must be a whole number"]),
    ("solver.time_rtol", 0.5, ["solver.time_rtol = 0.5: must be at most 0.1"]),
    ("output.fields", ["c_e", "phi"], ['output.fields.1 = "phi" is not allowed', "phi_s"]),
    ("output.fields", ["c_e", "c_e"], ["output.fields", "repeats a field"]),
    ("output.every", 0, ["output.every = 0: must be greater than 0"]),
    ("transport", {"conductivity": {"pore": 1}}, ['transport: is not used by model.kind = "resolved"']),
    ("electrode", {}, ['electrode: is not used by model.kind = "resolved"', "delete the table"]),
    ("solver.p2d", {"radial": 40}, ["solver.p2d: unknown key"]),
    # understood, and not there yet
    (
        "model.cell",
        "full",
        ["image: a full cell has one in each electrode; move it to [negative.image]", 'cell = "half"'],
    ),
    ("model.baseline", 1, ["model.baseline = 1: must be true or false"]),
    ("materials.counter", "cell.json", ["describes no counter electrode", "use the name of a set, such as lithium-"]),
    ("materials.separator", "celgard", ["materials.separator", "'celgard', which is no BPX file", "ends in .json"]),
    (
        "materials.active",
        {"base": "nmc811-chen2020", "electrode": "positive"},
        ["materials.active has electrode to choose from a BPX file, but its base is none", '"params/cell.json"'],
    ),
    ("negative", {}, ["negative: is no part of a half cell, which has [image] and [materials]", 'cell = "full"']),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_refused_with_key_value_and_remedy(
    half_cell: dict[str, Any], tmp_path: Path, path: str, value: Any, words: list[str]
) -> None:
    read_case(half_cell, tmp_path)  # only the change is wrong
    with pytest.raises(CaseError) as caught:
        read_case(changed(half_cell, path, value), tmp_path, file="mycase/case.toml")
    message = str(caught.value)
    assert message.startswith("mycase/case.toml")
    for word in words:
        assert word in message
    assert "pydantic" not in message
    assert "validation" not in message


REFUSED_RECIPES = [
    ("half-cell", "image.generate.voxel_size", ..., ["image.generate.voxel_size: is required"]),
    ("half-cell", "image.generate.voxel_size", "1 V", ["image.generate.voxel_size", "a length is expected"]),
    ("half-cell", "image.generate.kind", "blobs", ["image.generate.kind", "spheres"]),
    ("half-cell", "image.generate.binder_volume_fraction", 0.5, ["leaves no pore"]),
    ("half-cell", "image.generate.shape", [10, 10], ["image.generate.shape.2: is missing"]),
    ("half-cell", "image.labels", {"pore": 0}, ["labels, which describe a file", "delete them"]),
    ("half-cell", "image.voxel_size", "1 um", ["voxel_size, which describe a file", "delete them"]),
    ("half-cell", "image.file", "a.tif", ["exactly one of file"]),
    ("half-cell", "image.generate", ..., ["exactly one of file"]),
    ("tortuosity", "transport", ..., ["transport: is required", "conductivity"]),
    ("tortuosity", "transport.conductivity", {}, ["transport.conductivity", "is empty"]),
    ("tortuosity", "transport.conductivity.poor", 1.0, ["transport.conductivity.poor", "did you mean 'pore'?"]),
    ("tortuosity", "transport.conductivity", {"pore": 1, "binder": "0.1 S/m"}, ["mixes numbers"]),
    ("tortuosity", "transport.conductivity.pore", 0, ["transport.conductivity.pore = 0: must be greater than 0"]),
    ("tortuosity", "transport.porosity", {"active": 0.5}, ["a porosity for active, which does not conduct"]),
    ("tortuosity", "transport.axes", ["x", "x"], ["name each axis once"]),
    ("tortuosity", "transport.axes", [], ["transport.axes", "is empty"]),
    ("tortuosity", "transport.length", "faces", ["transport.length", "outer, centres"]),
    ("tortuosity", "transport.sides", "closed", ["transport.sides", "no-flux, periodic"]),
    ("tortuosity", "transport.tensor", True, ["transport.tensor = true", "how the sides are closed", '"periodic"']),
    ("tortuosity", "transport.tensor", 0, ["transport.tensor = 0", "write false, or one of periodic, mirrored"]),
    ("tortuosity", "transport.tensor", "periodc", ["transport.tensor", "did you mean 'periodic'?"]),
    ("tortuosity", "transport.electrode", "yes", ['transport.electrode = "yes": must be true or false']),
    ("tortuosity", "transport.representative", 1, ["transport.representative = 1: must be true or false"]),
    ("tortuosity", "transport.discretisation", "x", ["transport.discretisation", "must be true or false"]),
    ("tortuosity", "transport.tolerance", 1e-12, ["transport.tolerance = 1e-12: must be at least 1e-11"]),
    ("tortuosity", "output.fields", ["potentail"], ["output.fields.0", "did you mean 'potential'?"]),
    ("tortuosity", "output.fields", ["c_e"], ['output.fields.0 = "c_e" is not allowed', "potential, flux"]),
    ("tortuosity", "output.fields", ["flux", "flux"], ["output has fields = ", "name each field once"]),
    ("tortuosity", "output.every", "1 s", ["output.every: unknown key"]),
    ("tortuosity", "protocol", [], ['protocol: is not used by model.kind = "tortuosity"']),
    ("tortuosity", "solver.time_rtol", 1e-3, ["solver.time_rtol: unknown key"]),
]


@pytest.mark.parametrize(("name", "path", "value", "words"), REFUSED_RECIPES)
def test_refused_in_a_recipe(name: str, path: str, value: Any, words: list[str], tmp_path: Path) -> None:
    read_case(template(name), tmp_path)
    with pytest.raises(CaseError) as caught:
        read_case(changed(template(name), path, value), tmp_path)
    for word in words:
        assert word in str(caught.value)


REFUSED_P2D = [
    # tables
    ("image", {"file": "a.tif"}, ['image: is not used by model.kind = "p2d"', "delete the table"]),
    ("positive", ..., ["positive: is required and missing", "[negative] and [positive]", "add [positive]"]),
    ("negative", ..., ["negative: is required and missing"]),
    ("electrode", {}, ["electrode.material: is required", '"nmc811-chen2020"']),
    (
        "model.cell",
        "half",
        ["electrode: is required and missing", "negative: is no part of a half cell", 'cell = "full"'],
    ),
    ("model.cell", "ful", ['model.cell = "ful" is not allowed', "did you mean 'full'?"]),
    ("model.engine", "newton", ["model.engine: unknown key"]),
    ("materials.active", "nmc811-chen2020", ["materials.active: unknown key", "electrolyte, counter, separator"]),
    ("materials.counter", "lithium-xu2019", ["materials.counter: a full cell has no counter electrode", "delete it"]),
    ("materials.electrolyte", "lipf6-chen2021", ["materials.electrolyte", "did you mean 'lipf6-chen2020'?"]),
    ("materials.separator", ..., ["materials.separator: is required"]),
    # electrodes
    ("positive.material", "nmc811", ['positive.material = "nmc811"', "did you mean 'nmc811-chen2020'?"]),
    ("positive.material", {"base": "nmc811"}, ["positive.material.base", "did you mean 'nmc811-chen2020'?"]),
    ("positive.material", OWN_ACTIVE | {"ocp": {"expr": "4 - y"}}, ["positive.material: ", "y"]),
    ("negative.material", ..., ["negative.material: is required and missing"]),
    ("positive.thickness", 0, ["positive.thickness = 0: must be greater than 0"]),
    ("positive.thickness", 75.6, ["positive.thickness = 75.6: must be at most 0.01 (in m, or a string", '"75.6 um"']),
    ("positive.porosity", 1.2, ["positive.porosity = 1.2: must be at most 1"]),
    ("positive.porosity", 0, ["positive.porosity = 0: must be greater than 0"]),
    ("positive.porosity", 0.34, ["positive has porosity = 0.34 and active_volume_fraction = 0.665", "together 1.005"]),
    ("positive.active_volume_fraction", "110 %", ["positive.active_volume_fraction", "must be at most 1"]),
    ("positive.particle_radius", "5 V", ['positive.particle_radius = "5 V"', "a length is expected"]),
    ("positive.particle_radius", -1e-6, ["positive.particle_radius = -1e-06 must be greater than 0"]),
    ("positive.particle_radius", 5.22, ["positive.particle_radius = 5.22 must be", "at most 0.001 m", '"5.22 um"']),
    ("positive.particle_radius", [{"radius": 1, "share": 1}], ["particle_radius.0.radius = 1: must be at most 0.001"]),
    ("positive.particle_radius", [], ["positive.particle_radius = [] is empty"]),
    ("positive.particle_radius", SIZES[:1], ["positive.particle_radius", "shares that sum to 0.4", "sum to 1"]),
    ("positive.particle_radius", [{"radius": 1e-6, "share": 2}], ["particle_radius.0.share = 2: must be at most 1"]),
    ("positive.particle_radius", [{"radius": 1e-6}], ["positive.particle_radius.0.share: is required"]),
    ("positive.particle_radius", [{"radus": 1e-6, "share": 1}], ["particle_radius.0.radus: unknown key", "'radius'?"]),
    ("positive.area_per_volume", "1 m", ["positive.area_per_volume", "1/m"]),
    ("positive.area_per_volume", 0, ["positive.area_per_volume = 0: must be greater than 0"]),
    ("positive.bruggeman", ..., ["positive needs exactly one of bruggeman", "tortuosity"]),
    ("positive.tortuosity", 2, ["positive needs exactly one of bruggeman", "tortuosity"]),
    ("positive.tortuosity", 0.5, ["positive.tortuosity = 0.5: must be at least 1"]),
    ("positive.conductivity", ..., ["positive has no conductivity; give either conductivity", "solid_bruggeman"]),
    ("positive.bulk_conductivity", 1, ["positive has conductivity and bulk_conductivity; give either"]),
    ("positive.solid_bruggeman", 1.5, ["positive has conductivity and solid_bruggeman; give either"]),
    # start
    ("initial", {"stoichiometry": 0.4}, ["initial.stoichiometry = 0.4: a full cell has two", "negative = 0.9"]),
    ("initial", {"stoichiometry": {"negative": 0.9}}, ["initial.stoichiometry.positive: is required"]),
    (
        "initial",
        {"stoichiometry": {"negative": 1, "positive": 0.3}},
        ["stoichiometry.negative = 1: must be less than 1"],
    ),
    ("initial", {"stoichiometry": {"negative": 0.9, "positive": -0.3}}, ["positive = -0.3: must be greater than 0"]),
    ("initial", {"soc": 1, "stoichiometry": {"negative": 0.9, "positive": 0.3}}, ["not soc and stoichiometry"]),
    ("initial", {"voltage": "4.5 V"}, ["initial.voltage = 4.5 V is outside", "choose a voltage in it"]),
    # grid
    (
        "solver.p2d.points",
        [20, 40],
        ["solver.p2d.points = [20, 40]", "needs 3 numbers", "negative, separator, positive"],
    ),
    ("solver.p2d.points", [40, 1, 40], ["solver.p2d.points.1 = 1: must be at least 2"]),
    ("solver.p2d.points", [40, 20.5, 40], ["solver.p2d.points.1 = 20.5: must be a whole number"]),
    ("solver.p2d.radial", 0, ["solver.p2d.radial = 0: must be at least 2"]),
    ("solver.p2d.radial", 20000, ["solver.p2d.radial = 20000: must be at most 10000"]),
    ("solver.p2d.accuracy", "0.5 mV", ["solver.p2d has accuracy beside points and radial", "keep one"]),
    ("solver.p2d", {"accuracy": 0}, ["solver.p2d.accuracy = 0: must be at least 1e-06"]),
    ("solver.p2d.pints", 1, ["solver.p2d.pints: unknown key; did you mean 'points'?"]),
    ("output.fields", ["c_e", "c_e"], ["output.fields", "repeats a field"]),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED_P2D)
def test_refused_in_a_cell_without_an_image(path: str, value: Any, words: list[str], tmp_path: Path) -> None:
    read_case(template("p2d"), tmp_path)
    with pytest.raises(CaseError) as caught:
        read_case(changed(template("p2d"), path, value), tmp_path)
    for word in words:
        assert word in str(caught.value)


REFUSED_HALF_P2D = [
    ("negative", template("p2d")["negative"], ["negative: is no part of a half cell, which has [electrode]", "full"]),
    ("electrode", ..., ["electrode: is required and missing", "add [electrode]"]),
    ("initial", {"stoichiometry": {"negative": 0.9, "positive": 0.3}}, ["a half cell has one", "stoichiometry = 0.3"]),
    ("initial", {"voltage": "2 V"}, ["initial.voltage = 2 V is outside the open-circuit potential of nmc811-chen2020"]),
    (
        "solver.p2d.points",
        [40, 20, 40],
        ["solver.p2d.points = [40, 20, 40]", "needs 2 numbers", "separator, electrode"],
    ),
    ("materials.counter", "sodium", ["materials.counter", "lithium-xu2019"]),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED_HALF_P2D)
def test_refused_in_a_half_cell_without_an_image(path: str, value: Any, words: list[str], tmp_path: Path) -> None:
    read_case(half_p2d(), tmp_path)
    with pytest.raises(CaseError) as caught:
        read_case(changed(half_p2d(), path, value), tmp_path)
    for word in words:
        assert word in str(caught.value)


def test_fractions_that_fill_the_volume_but_for_round_off_pass(tmp_path: Path) -> None:
    data = changed(template("p2d"), "positive.porosity", 0.3350001)
    read_case(data, tmp_path)
    thirds = [{"radius": radius, "share": 0.3333333} for radius in (4e-6, 5e-6, 6e-6)]
    read_case(changed(template("p2d"), "positive.particle_radius", thirds), tmp_path)


def test_electrodes_in_the_wrong_order(tmp_path: Path) -> None:
    data = template("p2d")
    data["negative"], data["positive"] = data["positive"], data["negative"]
    with pytest.raises(CaseError, match=r"\[positive\] is at -4\.181 V against \[negative\].*exchange the two tables"):
        read_case(data, tmp_path)


def test_all_problems_are_listed_at_once(half_cell: dict[str, Any], tmp_path: Path) -> None:
    data = changed(changed(half_cell, "conditions.salt", "1 V"), "solver.threds", 1)
    with pytest.raises(CaseError, match="has 2 problems") as caught:
        read_case(data, tmp_path)
    assert "conditions.salt" in str(caught.value)
    assert "did you mean 'threads'?" in str(caught.value)


@pytest.mark.parametrize("kind", ["half-cell", "p2d"])
@pytest.mark.parametrize(
    ("key", "value"), [("rate", 5000), ("rate", "1001C"), ("current", "1 kA/mm^2"), ("power", "1100 W/cm^2")]
)
def test_absurd_magnitudes_are_impossible(kind: str, tmp_path: Path, key: str, value: Any) -> None:
    data, step = template(kind), {"step": "discharge", key: value, "until": {"voltage": 3.5}}
    with pytest.raises(ImpossibleError, match=rf"protocol\.1\.{key} = .* is beyond") as caught:
        read_case(data | {"protocol": [*data["protocol"], step]}, tmp_path)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("kind", ["half-cell", "p2d"])
@pytest.mark.parametrize(
    ("initial", "step", "limit", "words"),
    [
        ({"voltage": "3.7 V"}, "discharge", "3.8 V", ["this discharge", "initial.voltage", "falls", "below 3.7 V"]),
        ({"voltage": "3.7 V"}, "charge", "3.6 V", ["this charge", "rises", "above 3.7 V", "or another start"]),
        ({"soc": 0.5}, "discharge", "4.2 V", ["this discharge", "(initial.soc)"]),
    ],
)
def test_a_first_step_that_cannot_begin_is_impossible(
    kind: str, initial: dict[str, Any], step: str, limit: str, words: list[str], tmp_path: Path
) -> None:
    """Its limit is passed before a current flows; a rest before it changes nothing."""
    rest = {"step": "rest", "until": {"time": 1}}
    protocol = [rest, {"step": step, "rate": "1 C", "until": {"voltage": limit, "time": "1 h"}}]
    data = template(kind) | {"initial": initial, "protocol": protocol}
    with pytest.raises(ImpossibleError, match=rf"protocol\.1\.until\.voltage = {limit}: .* cannot begin") as caught:
        read_case(data, tmp_path)
    assert caught.value.exit_code == 5
    for word in words:
        assert word in str(caught.value)
    other = {"discharge": "charge", "charge": "discharge"}[step]
    read_case(data | {"protocol": [rest, protocol[1] | {"step": other}]}, tmp_path)
    read_case(data | {"protocol": [rest, protocol[1] | {"step": other}, protocol[1]]}, tmp_path)  # who knows
    held = {"step": "hold", "voltage": 4, "until": {"time": 1}}
    read_case(data | {"protocol": [held, protocol[1]]}, tmp_path)


@pytest.mark.parametrize("rate", [1000, 0.001])
def test_extreme_but_possible_rates_pass(half_cell: dict[str, Any], tmp_path: Path, rate: float) -> None:
    read_case(changed(half_cell, "protocol.0.rate", rate), tmp_path)


# files


def test_missing_image_is_an_input_error(half_cell: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "image.tif").unlink()
    with pytest.raises(InputError, match=r'image\.file = "image\.tif": .* does not exist') as caught:
        read_case(half_cell, tmp_path)
    assert caught.value.exit_code == 4
    (tmp_path / "image.tif").mkdir()  # a folder of slices is an image too
    read_case(half_cell, tmp_path)


def test_missing_table_is_an_input_error(half_cell: dict[str, Any], tmp_path: Path) -> None:
    own = {"base": "nmc811-chen2020", "ocp": {"file": "ocp.csv"}}
    with pytest.raises(InputError, match=r"materials\.active\.ocp\.file.* does not exist"):
        read_case(changed(half_cell, "materials.active", own), tmp_path)
    (tmp_path / "ocp.csv").mkdir()
    with pytest.raises(InputError, match="is a directory, not a file"):
        read_case(changed(half_cell, "materials.active", own), tmp_path)


def test_outside_needs_permission_and_links_are_followed(half_cell: dict[str, Any], tmp_path: Path) -> None:
    case = tmp_path / "case"
    case.mkdir()
    (case / "image.tif").symlink_to(tmp_path / "image.tif")
    with pytest.raises(CaseError, match="outside the case directory"):
        read_case(half_cell, case)
    assert read_case(half_cell, case, allow_outside=True).image_file == tmp_path / "image.tif"
    up = changed(half_cell, "image.file", "../image.tif")
    assert read_case(up, case, allow_outside=True).image_file == tmp_path / "image.tif"


def test_a_path_that_comes_back_is_inside(half_cell: dict[str, Any], tmp_path: Path) -> None:
    data = changed(half_cell, "image.file", f"../{tmp_path.name}/image.tif")
    assert read_case(data, tmp_path).image_file == tmp_path / "image.tif"


def test_a_link_in_a_circle_is_an_input_error(half_cell: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "image.tif").unlink()
    (tmp_path / "image.tif").symlink_to(tmp_path / "image.tif")
    with pytest.raises(InputError, match=r"image\.file"):
        read_case(half_cell, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"schema = 1\nname = NMC\n", ["not valid TOML", "line 2"]),
        (b"a = 1\na = 2\n", ["not valid TOML", "line 2"]),
        (b"[image\n", ["not valid TOML", "line 1"]),
        (b"name = '\xff'\n", ["not UTF-8", "byte 8"]),
        (b"x = " + b"[" * 100_000, ["case.toml"]),
        (b"", ["model.kind: is required"]),
        (b"#" * 1_000_001, ["at most 1000000"]),
    ],
)
def test_unreadable_case_files_are_refused(tmp_path: Path, text: bytes, words: list[str]) -> None:
    (tmp_path / "case.toml").write_bytes(text)
    with pytest.raises(CaseError) as caught:
        load_case(tmp_path)
    for word in ["case.toml", *words]:
        assert word in str(caught.value)


def test_no_case_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"contains no case\.toml") as caught:
        load_case(tmp_path)
    assert "battsim init" in str(caught.value)
    with pytest.raises(InputError, match="is not a directory"):
        load_case(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["half-cell", "p2d", "tortuosity"])
@pytest.mark.parametrize("value", [None, 0, -1.5, float("nan"), "", "x", [], [[]], {}, {"a": {}}, True, 10**400])
def test_no_value_anywhere_breaks_the_reader(name: str, value: Any, tmp_path: Path) -> None:
    """Every key of a template with every kind of value: accepted, or refused by an error of ours."""

    def paths(table: Any, at: str) -> list[str]:
        inner = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
        return [at, *(p for key, item in inner for p in paths(item, f"{at}.{key}"))]

    data = template(name)
    for path in [p.removeprefix(".") for key in data for p in paths(data[key], key)]:
        *parents, last = path.split(".")
        changed_data = copy.deepcopy(data)
        table: Any = changed_data
        for key in parents:
            table = table[int(key)] if isinstance(table, list) else table[key]
        table[int(last) if isinstance(table, list) else last] = value
        with suppress(BattsimError):
            read_case(changed_data, tmp_path)
