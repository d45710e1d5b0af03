import copy
import json
import tomllib
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from battsim.case import ResolvedCase, TortuosityCase, active_material, files_of, load_case, read_case
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
        table[last] = value
    return data


@pytest.fixture
def half_cell(tmp_path: Path) -> dict[str, Any]:
    """A half cell on an image file, which exists (what is in it is not the case's business)."""
    (tmp_path / "image.tif").write_bytes(b"not read here")
    return changed(template("half-cell"), "image", FILE_IMAGE)


# what is accepted


@pytest.mark.parametrize("name", ["half-cell", "tortuosity"])
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
    ]
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
    assert case.resolved()["protocol"][1]["until"] == {"voltage": None, "time": 600.0, "capacity": None}


def test_defaults_are_those_of_the_contract(half_cell: dict[str, Any], tmp_path: Path) -> None:
    for table in ("conditions", "initial", "solver", "output"):
        del half_cell[table]
    del half_cell["materials"]["binder"], half_cell["materials"]["counter"], half_cell["model"]["cell"]
    resolved = read_case(half_cell, tmp_path).resolved()
    assert resolved["conditions"] == {"temperature": 298.15, "salt": 1000.0}
    assert resolved["initial"] == {"soc": 1.0, "stoichiometry": None, "voltage": None}
    assert resolved["model"] == {"kind": "resolved", "cell": "half", "baseline": False, "engine": "newton"}
    assert resolved["solver"] == {"threads": 2, "time_rtol": 1e-3}
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
    ("model.kind", ["resolved"], ["model.kind", "resolved, tortuosity"]),
    ("model.engine", "newtn", ["model.engine", "did you mean 'newton'?"]),
    ("protocol", [], ["protocol = [] is empty"]),
    ("protocol", ..., ["protocol: is required"]),
    ("protocol.0.step", "discarge", ["protocol.0.step", "did you mean 'discharge'?"]),
    ("protocol.0.rate", "fast", ['protocol.0.rate = "fast"', '"C/5"']),
    ("protocol.0.rate", -1, ["protocol.0.rate = -1", "gives the sign"]),
    ("protocol.0.rate", ..., ["protocol.0 needs exactly one of rate and current, not none"]),
    ("protocol.0.current", 25, ["protocol.0 needs exactly one of rate and current, not rate and current"]),
    ("protocol.0.current", "25 A", ["protocol.0.current", '"25 A/m^2"']),
    ("protocol.0.step", "rest", ["protocol.0 is a rest"]),
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
    # understood, and not there yet
    ("model.kind", "p2d", ['model.kind = "p2d" is not available in this version; use']),
    ("model.cell", "full", ['model.cell = "full" is not available in this version; use']),
    ("model.baseline", True, ["model.baseline = true is not available in this version; use baseline = false"]),
    ("protocol.0.step", "hold", ['protocol.0.step = "hold" is not available in this version; use']),
    ("protocol.0.power", "80 W/m^2", ["protocol.0.power is not available in this version; use rate or current"]),
    ("protocol.0.until.current", 1, ["protocol.0.until.current is not available in this version; use"]),
    ("protocol.0.until.rate", "C/20", ["protocol.0.until.rate is not available in this version; use"]),
    ("materials.active", "cell.json", ["BPX", "not available in this version; use"]),
    ("solver.p2d", {"radial": 40}, ["[solver.p2d] is not available in this version; use"]),
    ("negative", {}, ["[negative] is not available in this version; use"]),
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


def test_all_problems_are_listed_at_once(half_cell: dict[str, Any], tmp_path: Path) -> None:
    data = changed(changed(half_cell, "conditions.salt", "1 V"), "solver.threds", 1)
    with pytest.raises(CaseError, match="has 2 problems") as caught:
        read_case(data, tmp_path)
    assert "conditions.salt" in str(caught.value)
    assert "did you mean 'threads'?" in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("rate", 5000), ("rate", "1001C"), ("current", "1 kA/mm^2")])
def test_absurd_magnitudes_are_impossible(half_cell: dict[str, Any], tmp_path: Path, key: str, value: Any) -> None:
    step = {"step": "discharge", key: value, "until": {"voltage": 3.5}}
    with pytest.raises(ImpossibleError, match=rf"protocol\.1\.{key} = .* is beyond") as caught:
        read_case(half_cell | {"protocol": [*half_cell["protocol"], step]}, tmp_path)
    assert caught.value.exit_code == 5


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


@pytest.mark.parametrize("name", ["half-cell", "tortuosity"])
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
