"""Cases that cannot be run: an exit code, a message that helps, and nothing left that looks like a result."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.output.record import state_of

HALF_CELL = """\
schema = 1
[image]
file = "image.tif"
voxel_size = "1 um"
through_plane = "x"
labels = { pore = 0, active = 1 }
[materials]
active = "nmc811-chen2020"
electrolyte = "lipf6-nyman2008"
[materials.separator]
thickness = "12 um"
porosity = 0.47
bruggeman = 1.5
[model]
kind = "resolved"
[[protocol]]
step = "discharge"
rate = "1 C"
until = { voltage = "3.5 V" }
"""
TORTUOSITY = """\
schema = 1
[image]
file = "image.tif"
voxel_size = "1 um"
labels = { pore = 0, active = 1 }
[model]
kind = "tortuosity"
[transport.conductivity]
pore = 1.0
"""
P2D = """\
schema = 1
[model]
kind = "p2d"
cell = "full"
[negative]
material = "graphite-chen2020"
thickness = "85.2 um"
porosity = 0.25
active_volume_fraction = 0.75
particle_radius = "5.86 um"
bruggeman = 1.5
conductivity = "215 S/m"
[positive]
material = "nmc811-chen2020"
thickness = "75.6 um"
porosity = 0.335
active_volume_fraction = 0.665
particle_radius = "5.22 um"
bruggeman = 1.5
conductivity = "0.18 S/m"
[materials]
electrolyte = "lipf6-chen2020"
[materials.separator]
thickness = "12 um"
porosity = 0.47
bruggeman = 1.5
[initial]
soc = 1.0
[[protocol]]
step = "discharge"
rate = "1 C"
until = { voltage = "2.5 V" }
"""
LABELS = "labels = { pore = 0, active = 1 }"
THREE_LABELS = "labels = { pore = 0, active = 1, binder = 2 }"
IMPERMEABLE = ("[materials.separator]", '[materials.binder]\ntransport = "impermeable"\n[materials.separator]')


def two_columns() -> np.ndarray:
    """Pore and active side by side, each from end to end."""
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[:, :2] = 1
    return labels


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


def make(tmp_path: Path, text: str, labels: np.ndarray | None = None, *changes: tuple[str, str]) -> Path:
    """A case directory with its image, and its case.toml with some text replaced."""
    case = tmp_path / "case"
    case.mkdir()
    image = two_columns() if labels is None else labels
    tifffile.imwrite(case / "image.tif", image, photometric="minisblack")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (case / "case.toml").write_text(text)
    return case


def refused(result: Result, code: int, words: tuple[str, ...]) -> None:
    """Exit code, and one error on standard error with these words; no traceback."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr, f"{word!r} is not in {result.stderr!r}"
    assert "Traceback" not in result.output


def assert_no_result(case: Path) -> None:
    """Nothing under results/ but the record of a failure: no number, no table, no field."""
    results = case / "results"
    if results.exists():
        assert state_of(results) in (None, "failed")
    left = {file.relative_to(results).as_posix() for file in results.rglob("*")}
    assert left <= {"run.json", "run.log", "case.resolved.json", "microstructure.json"}


def assert_refused(case: Path, code: int, *words: str, validates: bool = False) -> None:
    """`run` refuses the case, with the same message in its answer and in the record, and so does `validate`.

    With `validates`, only a mesh or a model can tell, and `validate` builds neither.
    """
    result = battsim("run", case, "--json")
    refused(result, code, words)
    answer = json.loads(result.stdout)
    assert answer["exit_code"] == code
    assert f"error: {answer['error']}\n" == result.stderr
    assert_no_result(case)
    record = case / "results" / "run.json"
    if record.exists():
        assert json.loads(record.read_text())["error"] == answer["error"]
    if not validates:
        refused(battsim("validate", case), code, words)


# files


@pytest.mark.parametrize("text", [HALF_CELL, TORTUOSITY])
def test_a_missing_image(tmp_path: Path, text: str) -> None:
    case = make(tmp_path, text)
    (case / "image.tif").unlink()
    words = ("case.toml", 'image.file = "image.tif"', "does not exist", "relative to the case directory")
    assert_refused(case, 4, *words)
    assert not (case / "results").exists()


@pytest.mark.parametrize("text", [HALF_CELL, TORTUOSITY])
def test_a_truncated_tiff(tmp_path: Path, text: str) -> None:
    case = make(tmp_path, text)
    content = (case / "image.tif").read_bytes()
    (case / "image.tif").write_bytes(content[:-40])
    size = len(content)
    assert_refused(case, 4, str(case / "image.tif"), "truncated", f"the file has {size - 40}", "copy it again")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", ("is empty (0 bytes)", "copy it again")), (b"no image at all", ("does not begin as a TIFF", "save it as"))],
)
def test_a_file_that_is_no_tiff(tmp_path: Path, content: bytes, words: tuple[str, ...]) -> None:
    case = make(tmp_path, HALF_CELL)
    (case / "image.tif").write_bytes(content)
    assert_refused(case, 4, str(case / "image.tif"), *words)


def test_a_format_that_is_not_read(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, None, ("image.tif", "image.jpg"))
    (case / "image.jpg").write_bytes(b"x")
    assert_refused(case, 4, "image.jpg", "'.jpg'", ".tif", ".npy")


def test_a_colour_image(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL)
    tifffile.imwrite(case / "image.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    assert_refused(case, 4, str(case / "image.tif"), "colour image", "Save it as grey-scale")


def test_a_declared_shape_that_the_file_has_not(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, None, (LABELS, f"shape = [4, 4, 8]\n{LABELS}"))
    assert_refused(case, 4, "image.tif", "(8, 4, 4)", "shape = [4, 4, 8]", "correct shape")


def test_a_missing_table_of_a_material(tmp_path: Path) -> None:
    own = 'active = { base = "nmc811-chen2020", ocp = { file = "params/ocp.csv" } }'
    case = make(tmp_path, HALF_CELL, None, ('active = "nmc811-chen2020"', own))
    assert_refused(case, 4, "case.toml", 'materials.active.ocp.file = "params/ocp.csv"', "does not exist")
    (case / "params").mkdir()
    (case / "params" / "ocp.csv").write_text("x,U\n0.1,4.2\n0.5,four\n")
    assert_refused(case, 4, "params/ocp.csv", "line 3", "'four'")


# what the case says of the image


@pytest.mark.parametrize("text", [HALF_CELL, TORTUOSITY])
def test_a_label_that_is_not_in_the_image(tmp_path: Path, text: str) -> None:
    case = make(tmp_path, text, None, (LABELS, THREE_LABELS))
    words = ("case.toml", "image.tif", "labels.binder names the value 2", "does not occur", "0 (50.000%), 1 (50.000%)")
    assert_refused(case, 3, *words, "Correct labels.binder, or remove it")


@pytest.mark.parametrize("text", [HALF_CELL, TORTUOSITY])
def test_a_value_that_is_not_in_the_case(tmp_path: Path, text: str) -> None:
    labels = two_columns()
    labels[0, 0, :2] = 7
    case = make(tmp_path, text, labels)
    assert_refused(case, 3, "case.toml", "image.tif", "neither labels nor ignore names: 7 (1.562%)", "Add each")


def test_a_grey_image(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, np.arange(512, dtype=np.uint16).reshape(8, 8, 8))
    assert_refused(case, 3, "case.toml", "image.tif", "512 different values", "must be segmented first")


@pytest.mark.parametrize("text", [HALF_CELL, TORTUOSITY])
def test_no_voxel_size(tmp_path: Path, text: str) -> None:
    case = make(tmp_path, text, None, ('voxel_size = "1 um"\n', ""))
    assert_refused(case, 3, "case.toml", "image needs voxel_size", 'voxel_size = "0.4 um"', "never guessed")
    assert not (case / "results").exists()


def test_a_crop_outside_the_image(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, None, (LABELS, f"crop = [[0, 8], [0, 4], [1, 5]]\n{LABELS}"))
    assert_refused(case, 3, "case.toml", "crop along z is [1, 5)", "4 voxels there", "choose 0 <= start < stop <= 4")


def test_coarser_than_the_image(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, None, (LABELS, f"coarsen = 5\n{LABELS}"))
    assert_refused(case, 3, "case.toml", "coarsen = 5", "(8, 4, 4)", "use a smaller factor")


# keys and values


def test_unknown_keys_are_all_named_at_once(tmp_path: Path) -> None:
    changes = (('voxel_size = "1 um"', 'voxel_sise = "1 um"'), ("porosity = 0.47", "porosety = 0.47"))
    case = make(tmp_path, HALF_CELL, None, *changes)
    words = ("case.toml has", "image.voxel_sise: unknown key; did you mean 'voxel_size'?", "'porosity'?")
    assert_refused(case, 3, *words, "materials.separator.porosety: unknown key")
    assert not (case / "results").exists()


def test_a_phase_that_is_not_in_the_case(tmp_path: Path) -> None:
    case = make(tmp_path, TORTUOSITY, None, ("pore = 1.0", "por = 1.0"))
    assert_refused(case, 3, "case.toml", "transport.conductivity.por", "did you mean 'pore'?", "pore, active")


def test_an_initial_voltage_out_of_reach(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, None, ("[model]", '[initial]\nvoltage = "5 V"\n[model]'))
    assert_refused(case, 3, "case.toml", "initial.voltage = 5 V", "3.544 to 4.337 V", "choose a voltage in it")
    assert not (case / "results").exists()


def test_an_absurd_rate(tmp_path: Path) -> None:
    case = make(tmp_path, HALF_CELL, None, ('"1 C"', '"5000 C"'))
    assert_refused(case, 5, "case.toml", "protocol.0.rate = 5000 C", "1000 C", "check the unit")
    assert not (case / "results").exists()


def test_an_absurd_power(tmp_path: Path) -> None:
    case = make(tmp_path, P2D, None, ('rate = "1 C"', 'power = "1.1 kW/cm^2"'))
    assert_refused(case, 5, "case.toml", "protocol.0.power = 1.1e+07 W/m2", "1e+07 W/m2", "check the unit")
    assert not (case / "results").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("porosity = 0.335", "porosity = 0.4", ("positive has porosity = 0.4", "= 0.665, together 1.065", "at most 1")),
        ("porosity = 0.25", "porosity = 1.25", ("negative.porosity = 1.25: must be at most 1",)),
        (
            "soc = 1.0",
            "stoichiometry = { negative = 0.9, positive = 1.2 }",
            ("initial.stoichiometry.positive = 1.2: must be less than 1",),
        ),
        ("soc = 1.0", 'voltage = "5 V"', ("initial.voltage = 5 V", "to 4.181 V", "choose a voltage in it")),
        ('"5.22 um"', '[{ radius = "5 um", share = 0.9 }]', ("positive.particle_radius", "shares that sum to 0.9")),
        (
            'material = "nmc811-chen2020"',
            'material = { base = "nmc811-chen2020", electrode = "positive" }',
            ("positive.material has electrode", "from a BPX file", "its base is none"),
        ),
        (
            'material = "nmc811-chen2020"',
            'material = { base = "nmc811-chen2020", diffusivity = { expr = "open(x)" } }',
            ("positive.material: ", "open"),
        ),
        (
            'cell = "full"',
            'cell = "half"',
            ("electrode: is required and missing", "positive: is no part of a half cell"),
        ),
    ],
)
def test_a_cell_without_an_image_that_cannot_be(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    case = make(tmp_path, P2D, None, (old, new))
    assert_refused(case, 3, "case.toml", *words)
    assert not (case / "results").exists()


def test_a_table_of_an_electrode_that_rises_and_falls(tmp_path: Path) -> None:
    own = 'material = { base = "nmc811-chen2020", ocp = { file = "ocp.csv" } }'
    case = make(tmp_path, P2D, None, ('material = "nmc811-chen2020"', own))
    assert_refused(case, 4, "case.toml", 'positive.material.ocp.file = "ocp.csv"', "does not exist")
    (case / "ocp.csv").write_text("x,U\n0.1,4.2\n0.5,4.0\n0.4,3.8\n")
    assert_refused(case, 4, "case.toml: positive.material: ", "ocp.csv", "line 4")


@pytest.mark.parametrize(
    ("text", "initial"),
    [(HALF_CELL, ("[model]", '[initial]\nvoltage = "3.6 V"\n[model]')), (P2D, ("soc = 1.0", 'voltage = "3.6 V"'))],
)
def test_a_first_step_that_cannot_begin(tmp_path: Path, text: str, initial: tuple[str, str]) -> None:
    limit = 'until = { voltage = "3.5 V" }' if text is HALF_CELL else 'until = { voltage = "2.5 V" }'
    case = make(tmp_path, text, None, initial, (limit, 'until = { voltage = "3.7 V" }'))
    words = ("case.toml: protocol.0.until.voltage = 3.7 V", "this discharge cannot begin", "3.6 V", "initial.voltage")
    assert_refused(case, 5, *words, "choose a limit below 3.6 V")
    assert not (case / "results").exists()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ('step = "hold"\nuntil = { time = "1 h" }', ("protocol.0 is a hold and needs the voltage",)),
        ('step = "hold"\nvoltage = "4 V"\nuntil = { voltage = "4 V" }', ("is a hold", "until.voltage is never met")),
        ('step = "charge"\nrate = "1 C"\nuntil = { rate = "C/20" }', ("until.rate at a constant rate", "hold")),
        (
            'step = "charge"\nrate = 1\npower = "1 W/m^2"\nuntil = { time = "1 h" }',
            ("exactly one of", "rate and power"),
        ),
    ],
)
@pytest.mark.parametrize("text", [HALF_CELL, P2D])
def test_a_step_that_says_too_little_or_too_much(tmp_path: Path, text: str, step: str, words: tuple[str, ...]) -> None:
    protocol = text[text.index('step = "discharge"') :]
    case = make(tmp_path, text, None, (protocol, step))
    assert_refused(case, 3, "case.toml: protocol.0", *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pore = -1.0", ("transport.conductivity.pore = -1.0", "greater than 0")),
        ("pore = 0", ("transport.conductivity.pore = 0", "greater than 0")),
        ("pore = nan", ("transport.conductivity.pore", "is not a finite number")),
        ("pore = inf", ("transport.conductivity.pore", "is not a finite number")),
    ],
)
def test_a_conductivity_that_no_phase_has(tmp_path: Path, line: str, words: tuple[str, ...]) -> None:
    case = make(tmp_path, TORTUOSITY, None, ("pore = 1.0", line))
    assert_refused(case, 3, "case.toml", *words)


def test_transport_along_an_axis_of_one_voxel(tmp_path: Path) -> None:
    axes = ("[transport.conductivity]", '[transport]\naxes = ["x"]\n[transport.conductivity]')
    flat = np.repeat([[0, 1]], 4, axis=1).reshape(1, 4, 2).astype(np.uint8)
    case = make(tmp_path, TORTUOSITY, flat, axes)
    words = ("case.toml", "transport along x", "1 x 4 x 2 voxels", "choose y or z")
    assert_refused(case, 3, *words, validates=True)
    (case / "case.toml").write_text(TORTUOSITY)
    result = battsim("run", case, "--fresh", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert list(answer["directions"]) == ["y", "z"]
    assert answer["warnings"] == ["transport along x left out: the image of 1 x 4 x 2 voxels has one voxel there"]


def test_more_voxels_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room to read and label the image, but not to solve: refused with the estimate."""
    case = make(tmp_path, TORTUOSITY)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2000))
    words = ("case.toml", "transport through 8 x 4 x 4 voxels needs about", "are free", "crop or coarsen the image")
    assert_refused(case, 7, *words, validates=True)


def test_a_case_without_an_image_has_no_mesh(tmp_path: Path) -> None:
    case = make(tmp_path, P2D)
    assert f"{case}: valid (p2d; full cell; tables negative, positive)" in battsim("validate", case).stdout
    refused(battsim("mesh", case), 2, ('model.kind = "p2d"', "no image to mesh"))
    assert not (case / "mesh.vtu").exists()


# what no current can pass


def test_a_phase_that_percolates_nowhere(tmp_path: Path) -> None:
    labels = np.ones((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 0
    case = make(tmp_path, TORTUOSITY, labels)
    words = ("case.toml", "pore percolates along none of x, y, z", "[image] labels", "[transport] conductivity")
    assert_refused(case, 5, *words, validates=True)


def test_a_phase_that_percolates_along_other_axes_than_the_asked_one(tmp_path: Path) -> None:
    labels = two_columns()
    case = make(
        tmp_path,
        TORTUOSITY,
        labels,
        ("[transport.conductivity]", '[transport]\naxes = ["y"]\n[transport.conductivity]'),
    )
    assert_refused(case, 5, "case.toml", "pore percolates along none of y", validates=True)


def test_pores_that_do_not_reach_the_separator(tmp_path: Path) -> None:
    """A layer of impermeable binder before the electrode: no ion passes it."""
    labels = two_columns()
    labels[0] = 2
    case = make(tmp_path, HALF_CELL, labels, (LABELS, THREE_LABELS), IMPERMEABLE)
    words = ("case.toml", "no reactive face", "reaches x = 11", "of 19.5 um", "[image] labels and through_plane")
    assert_refused(case, 5, *words, validates=True)


def test_active_material_that_touches_no_electrolyte(tmp_path: Path) -> None:
    """A particle wrapped in impermeable binder."""
    labels = np.full((8, 4, 4), 2, np.uint8)
    labels[3:6, 1:3, 1:3] = 1
    labels[:, 0, 0] = 0
    case = make(tmp_path, HALF_CELL, labels, (LABELS, THREE_LABELS), IMPERMEABLE)
    words = ("case.toml", "active material touches no electrolyte", "[image] labels", "[materials.binder] transport")
    assert_refused(case, 5, *words, validates=True)


def test_no_solid_at_the_collector(tmp_path: Path) -> None:
    labels = two_columns()
    labels[-1] = 0
    case = make(tmp_path, HALF_CELL, labels)
    words = ("case.toml", "touches the current collector", "[image] through_plane, separator_side, crop and labels")
    assert_refused(case, 5, *words, validates=True)
    (case / "case.toml").write_text(HALF_CELL.replace("[materials]", 'separator_side = "high"\n[materials]', 1))
    assert battsim("mesh", case).exit_code == 0


def test_particles_that_no_electron_reaches(tmp_path: Path) -> None:
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[3:6, 1:3, 1:3] = 1
    labels[-1] = 2
    case = make(tmp_path, HALF_CELL, labels, (LABELS, THREE_LABELS))
    assert_refused(case, 5, "case.toml", "no reactive face joins", "use a larger crop", validates=True)


# what was there before


def test_a_refused_case_may_be_corrected_and_run(tmp_path: Path) -> None:
    labels = np.ones((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 0
    case = make(tmp_path, TORTUOSITY, labels)
    assert battsim("run", case).exit_code == 5
    labels[:, 2:4, 2:4] = 0
    tifffile.imwrite(case / "image.tif", labels, photometric="minisblack")
    result = battsim("run", case, "--json")
    assert result.exit_code == 0
    assert state_of(case / "results") == "done"
    # a straight channel
    assert json.loads(result.stdout)["directions"]["x"]["tau"] == pytest.approx(1.0, abs=1e-9)


def test_a_refused_run_leaves_no_old_numbers_beside_its_record(tmp_path: Path) -> None:
    case = make(tmp_path, TORTUOSITY)
    assert battsim("run", case).exit_code == 0
    (case / "image.tif").write_bytes((case / "image.tif").read_bytes()[:-40])
    refused(battsim("run", case), 2, ("finished run", "--fresh"))
    assert (case / "results" / "summary.json").exists()
    refused(battsim("run", case, "--fresh"), 4, ("truncated",))
    assert_no_result(case)
