"""`battsim tortuosity IMAGE`: every option against an exact answer, every wrong one against its message."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.cli import show
from battsim.cli.options import ImageOptions
from battsim.post.transport import Direction, effective_transport
from battsim.post.transport.discretisation import discretisation_estimate
from battsim.post.transport.representative import representativeness
from meshing.image import VoxelImage


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["tortuosity", *(str(a) for a in arguments)], prog_name="battsim")


def answer(*arguments: object, code: int = 0) -> dict[str, Any]:
    """The one JSON object on standard output."""
    result = battsim(*arguments, "--json")
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    content = json.loads(result.stdout, parse_constant=pytest.fail)
    assert isinstance(content, dict)
    return content


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr, f"{word!r} is not in {result.stderr!r}"


def saved(folder: Path, labels: np.ndarray) -> Path:
    np.save(folder / "image.npy", labels)
    return folder / "image.npy"


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Half 1, half 2 across x; a column of 0 along x."""
    labels = np.ones((6, 4, 5), np.uint8)
    labels[3:] = 2
    labels[:, 0, 0] = 0
    return saved(tmp_path, labels)


# what conducts, and how well


def test_layers_of_two_conductivities_are_in_series_and_in_parallel(layers: Path) -> None:
    found = answer(layers, "--conductivity", "1=1,2=0.25", "--porosity", "2=0.5", "--tolerance", "1e-8")
    share = 19 / 20
    assert found["porosity"] == pytest.approx(share * (0.5 + 0.5 * 0.5), rel=1e-12)
    D_eff = {axis: direction["D_eff"] for axis, direction in found["directions"].items()}
    # 1 / (0.5 / 1 + 0.5 / 0.25) beside the column; the iteration's own tolerance is 1e-8
    assert D_eff["x"] == pytest.approx(share * 0.4, rel=2e-8)
    assert found["directions"]["x"]["tau"] == pytest.approx(0.75 / 0.4, rel=2e-8)
    # beside each other they carry (1 + 0.25) / 2; the column blocks a fifth of the straight ways, and takes its volume
    assert 0.8 * 0.625 < D_eff["y"] < share * 0.625


def test_conductivities_are_relative_to_the_largest(layers: Path) -> None:
    found, tenfold = (answer(layers, "--conductivity", k, "--axis", "x") for k in ("1=1,2=0.25", "1=10,2=2.5"))
    # one problem in another unit: the iterates differ by single-precision rounding, D_eff by its square
    assert tenfold["directions"]["x"]["D_eff"] == pytest.approx(found["directions"]["x"]["D_eff"], rel=1e-9)


def test_a_phase_of_several_values_is_one(layers: Path) -> None:
    alike, paired = answer(layers, "--phase", "1,2"), answer(layers, "--conductivity", "1=1,2=1")
    for found in (alike, paired):
        assert [found["directions"][axis]["percolates"] for axis in "xyz"] == [True] * 3
        assert found["directions"]["x"]["tau"] == pytest.approx(1.0, abs=1e-9)  # straight, exact
    assert alike["directions"]["y"]["D_eff"] == paired["directions"]["y"]["D_eff"]


def test_a_conductivity_of_0_insulates(layers: Path) -> None:
    found = answer(layers, "--conductivity", "1=1,2=0", "--axis", "y")
    assert found["porosity"] == pytest.approx(0.5 * 19 / 20, rel=1e-12)
    assert found["directions"]["y"]["D_eff"] < 0.5


@pytest.mark.parametrize(
    ("dtype", "value", "written"),
    [
        ("uint8", 255, "255"),
        ("int8", -3, "-3"),
        ("uint16", 40000, "40000"),
        (">i2", -300, "-300"),
        ("int64", 2**62 + 1, str(2**62 + 1)),
        ("uint64", 2**64 - 1, str(2**64 - 1)),
        ("float32", 2.0, "2"),
        ("float32", 0.1, "0.1"),
        ("float64", 0.1, "0.1"),
        ("float64", 2.0, "2.0"),
        ("float16", -0.5, "-0.5"),
        ("bool", 1, "1"),
    ],
)
def test_values_of_any_type_match_exactly(tmp_path: Path, dtype: str, value: float, written: str) -> None:
    labels = np.zeros((5, 3, 3), dtype)
    labels[:, 1, 1] = value
    image = saved(tmp_path, labels)
    assert answer(image, "--phase", written, "--axis", "x")["porosity"] == pytest.approx(1 / 9, rel=1e-12)


@pytest.mark.parametrize(
    ("dtype", "there", "written"),
    [
        ("float32", 16777216.0, "16777217"),
        ("float64", 0.1, "0.1000001"),
        ("float32", 1.0, "9" * 400),
        ("uint8", 255, "-1"),
        ("uint8", 1, "257"),
        ("bool", 1, "2"),
        ("int64", 2**62 + 1, str(2**62)),
        ("float64", 0.5, "1"),
    ],
)
def test_values_that_only_nearly_match_do_not(tmp_path: Path, dtype: str, there: float, written: str) -> None:
    labels = np.zeros((3, 3, 3), dtype)
    labels[1] = there
    refused(battsim(saved(tmp_path, labels), "--phase", written), 3, "does not occur in the image")


def test_a_channel_through_the_sides_needs_them_periodic(tmp_path: Path) -> None:
    """A channel along x that changes from one side of y to the other: neighbours only where the image repeats."""
    labels = np.zeros((6, 4, 3), np.uint8)
    labels[:3, 0, 1] = labels[3:, 3, 1] = 1
    labels[2, 3, 1] = 1
    image = saved(tmp_path, labels)
    closed = answer(image, "--phase", "1", "--axis", "x", code=5)
    assert closed["directions"]["x"]["tau"] is None
    around = answer(image, "--phase", "1", "--axis", "x", "--sides", "periodic", "--tolerance", "1e-8")
    # two half voxels and six steps between centres, one voxel each, in series: 7 voxels of resistance
    assert around["directions"]["x"]["D_eff"] == pytest.approx(6 / 7 / 12, rel=2e-8)


def test_length_between_centres(tmp_path: Path) -> None:
    labels = np.zeros((4, 3, 3), np.uint8)
    labels[:, 1, 1] = 1
    labels[0] = 1  # an inlet chamber: its resistance counts between outer faces, not between centres
    image = saved(tmp_path, labels)
    outer, centres = (
        answer(image, "--phase", "1", "--axis", "x", "--length", length)["directions"]["x"]["D_eff"]
        for length in ("outer", "centres")
    )
    assert centres == pytest.approx(1 / 9, rel=1e-9)
    assert outer > centres


# what goes with it


def test_error_bars_say_what_each_source_may_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (40, 40, 40)
    blobs = (gaussian_filter(np.random.default_rng(0).normal(size=shape), 3.0, mode="wrap") > 0.0).astype(np.uint8)
    image = saved(tmp_path, blobs)
    solved = []

    def counted(image: VoxelImage, *arguments: Any, **settings: Any) -> Direction:
        solved.append(image.shape)
        return effective_transport(image, *arguments, **settings)

    monkeypatch.setattr("battsim.post.transport.summary.effective_transport", counted)
    found = answer(image, "--phase", "1", "--axis", "x", "--error-bars")["directions"]["x"]
    assert solved.count(shape) == 1  # each estimate takes the number that is there
    voxels = VoxelImage(blobs, (1e-6, 1e-6, 1e-6), ("other", "1"))
    by_voxels = discretisation_estimate(voxels, {"1": 1.0}, axis="x")
    by_size = representativeness(voxels, {"1": 1.0}, axis="x")
    assert found["discretisation"]["relative_error"] == by_voxels.relative_error
    assert found["discretisation"]["D_eff"] == {str(factor): value for factor, value in by_voxels.D_eff.items()}
    assert found["representative"]["tau_error"] == by_size.tau_error
    assert [size["boxes"] for size in found["representative"]["sizes"]] == [8, 64]
    tau = found["tau"]
    shares = {
        "iteration": found["error_estimate"],
        "voxels": by_voxels.relative_error,
        "size of the image": by_size.tau_error,
    }
    assert None not in shares.values()
    words = ", ".join(f"+- {tau * share:.2g} ({source})" for source, share in shares.items())
    assert words in battsim(image, "--phase", "1", "--axis", "x", "--error-bars").stdout


def test_error_bars_that_cannot_be_had_say_why(layers: Path) -> None:
    options = (layers, "--phase", "1,2", "--axis", "x", "--error-bars")
    found = answer(*options)["directions"]["x"]
    assert (found["discretisation"]["relative_error"], found["representative"]["tau_error"]) == (None, None)
    text = battsim(*options).stdout
    assert "+- ? (voxels), +- ? (size of the image)" in text
    for key, source in (("discretisation", "voxels"), ("representative", "size of the image")):
        assert f"x: no estimate for the {source}: {found[key]['reason']}\n" in text
    blocked = answer(layers, "--phase", "2", "--axis", "x", "--error-bars", code=5)["directions"]["x"]
    assert (blocked["discretisation"], blocked["representative"]) == (None, None)


def test_the_tensor_of_layers(layers: Path) -> None:
    np.save(layers, np.repeat([1, 2], 3).astype(np.uint8)[:, None, None] * np.ones((1, 4, 5), np.uint8))
    options = (layers, "--conductivity", "1=1,2=0.25", "--tensor", "periodic", "--tolerance", "1e-9")
    tensor = answer(*options)["tensor"]
    # series across the layers, parallel along them, exact; nothing off the diagonal
    np.testing.assert_allclose(tensor["D_eff"], np.diag([0.4, 0.625, 0.625]), atol=1e-8)
    assert tensor["boundary"] == "periodic"
    np.testing.assert_allclose(tensor["principal"], [0.4, 0.625, 0.625], atol=1e-8)
    np.testing.assert_allclose(np.abs(tensor["principal_directions"])[:, 0], [1.0, 0.0, 0.0], atol=1e-6)
    lines = battsim(*options).stdout.splitlines()
    assert lines[lines.index("tensor of D_eff, periodic:") + 1].split()[0] == "0.4"


def test_a_tensor_without_an_answer_is_null_with_its_reason(layers: Path) -> None:
    found = answer(layers, "--phase", "1,2", "--tensor", "uniform-flux")
    assert found["tensor"] is None
    assert ["voxels at the low x end insulate" in warning for warning in found["warnings"]] == [True]
    assert found["directions"]["x"]["tau"] == pytest.approx(1.0, abs=1e-9)
    assert "tensor: -" in battsim(layers, "--phase", "1,2", "--tensor", "uniform-flux").stdout


def test_a_dead_end_charges_though_nothing_passes(tmp_path: Path) -> None:
    """A pore that ends half-way: half the resistance and half the volume of one that goes through."""
    labels = np.ones((80, 3, 3), np.uint8)
    labels[:40, 1, 1] = 0
    image = saved(tmp_path, labels)
    x = answer(image, "--phase", "0", "--axis", "x", "--electrode", code=5)["directions"]["x"]
    assert (x["tau"], x["percolates"], x["electrode"]["separator"]) == (None, False, "low")
    # the closed end is a wall too: 1 of 161 faces, whose current goes all the way
    assert x["electrode"]["tau_e"] == pytest.approx(0.25, rel=0.02)
    lines = battsim(image, "--phase", "0", "--axis", "x", "--electrode").stdout.splitlines()
    assert lines[-2].split() == ["axis", "tau", "D_eff", "percolating", "tau_e", "error", "of", "tau"]
    assert lines[-1].split()[5] == f"{x['electrode']['tau_e']:.5g}"
    whole = answer(saved(tmp_path, np.zeros((4, 4, 4), np.uint8)), "--phase", "0", "--axis", "x", "--electrode")
    assert whole["directions"]["x"]["electrode"] is None
    assert "no wall to charge" in whole["warnings"][0]


# axes


def test_one_axis_may_percolate_alone(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[:, 2, 2] = 1
    found = answer(saved(tmp_path, labels), "--phase", "1")["directions"]
    assert found["x"]["tau"] == pytest.approx(1.0, abs=1e-9)
    assert [(found[axis]["tau"], found[axis]["D_eff"], found[axis]["percolates"]) for axis in "yz"] == [
        (None, 0.0, False)
    ] * 2


def test_a_flat_image_has_no_transport_across_it(tmp_path: Path) -> None:
    labels = np.ones((4, 6), np.uint8)
    tifffile.imwrite(tmp_path / "flat.tif", labels, photometric="minisblack")
    image = tmp_path / "flat.tif"
    found = answer(image, "--phase", "1")
    assert list(found["directions"]) == ["y", "z"]
    assert found["warnings"] == ["transport along x left out: the image of 1 x 4 x 6 voxels has one voxel there"]
    assert "warning: transport along x left out" in battsim(image, "--phase", "1").stderr
    words = ("transport along x", "1 x 4 x 6", "one voxel there", "choose y or z")
    refused(battsim(image, "--phase", "1", "--axis", "x"), 3, *words)
    np.save(tmp_path / "dot.npy", np.ones((1, 1, 1), np.uint8))
    refused(battsim(tmp_path / "dot.npy", "--phase", "1"), 3, "along x and y and z", "a larger image")


# what is refused


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, ["--phase is required", "0 (5.0%), 1 (47.5%), 2 (47.5%)"]),
        (("--conductivity", "1=-1"), 2, ["--conductivity 1=-1.0", "finite numbers of 0 or more"]),
        (("--conductivity", "1=nan"), 2, ["--conductivity 1=nan", "finite numbers"]),
        (("--conductivity", "1=inf,2=1"), 2, ["--conductivity 1=inf", "finite numbers"]),
        (("--conductivity", "1=0,2=0"), 2, ["--conductivity 1=0,2=0: nothing conducts"]),
        (("--conductivity", "1"), 2, ["VALUE=NUMBER", "--conductivity 0=1,2=0.5"]),
        (("--conductivity", "pore=1"), 2, ["needs values of the image", "--conductivity 0=1,2=0.5"]),
        (("--conductivity", "nan=1"), 2, ["needs values of the image"]),
        (("--conductivity", "1=1,1.0=2"), 2, ["names 1 twice"]),
        (("--conductivity", "1=1,9=2"), 3, ["--conductivity 9 does not occur", "0 (5.0%), 1 (47.5%)"]),
        (("--phase", "9"), 3, ["--phase 9 does not occur"]),
        (("--phase", "1", "--conductivity", "2=1"), 2, ["both say what conducts", "keep one"]),
        (("--phase", "1", "--porosity", "1=0"), 2, ["--porosity 1=0.0", "above 0 and up to 1"]),
        (("--phase", "1", "--porosity", "1=1.5"), 2, ["--porosity 1=1.5"]),
        (("--phase", "1", "--porosity", "1=nan"), 2, ["--porosity 1=nan"]),
        (("--phase", "1", "--porosity", "2=0.5"), 2, ["2 does not conduct"]),
        (("--conductivity", "1=1,2=0", "--porosity", "2=0.5"), 2, ["2 does not conduct"]),
        (("--phase", "1", "--sides", "open"), 2, ["--sides open is not known; use no-flux or periodic"]),
        (("--phase", "1", "--length", "inner"), 2, ["--length inner is not known; use outer or centres"]),
        (("--phase", "1", "--tensor", "yes"), 2, ["--tensor yes is not known", "mirrored, linear or uniform-flux"]),
        (("--phase", "1", "--tolerance", "1"), 3, ["tolerance = 1"]),
        (("--phase", "1", "--tolerance", "nan"), 3, ["tolerance = nan"]),
    ],
)
def test_bad_options(layers: Path, options: tuple[str, ...], code: int, words: list[str]) -> None:
    refused(battsim(layers, *options), code, *words)


@pytest.mark.parametrize("threads", ["0", "-1", "x"])
def test_threads_are_a_positive_number(layers: Path, threads: str) -> None:
    result = battsim(layers, "--phase", "1", "--threads", threads)
    assert result.exit_code == 2
    assert "--threads" in result.stderr


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_voxels_that_are_no_number_are_refused(tmp_path: Path, odd: float) -> None:
    labels = np.ones((3, 3, 3))
    labels[1, 1, 1] = odd
    refused(battsim(saved(tmp_path, labels), "--phase", "1"), 3, "1 of 27 voxels are NaN or infinite")


@pytest.mark.parametrize(
    ("free", "words"),
    [
        # 120 bytes to read, and two more per voxel to label
        (100, ("6 x 4 x 5 voxels of uint8", "needs about 0.0 MB", "0.0 MB are free", "crop it")),
        # enough for that, and not for any solve
        (1000, ("transport through 6 x 4 x 5 voxels needs about", "are free", "crop or coarsen")),
    ],
)
def test_an_image_too_large_for_memory_is_refused_before_it_is_read(
    layers: Path, monkeypatch: pytest.MonkeyPatch, free: int, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr("battsim.cli.image_transport.read_voxels", pytest.fail)
    refused(battsim(layers, "--phase", "1"), 7, *words)


def test_options_of_an_image_do_not_go_with_a_case(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli.app, ["init", str(tmp_path), "--template", "tortuosity"]).exit_code == 0
    refused(battsim(tmp_path, "--conductivity", "0=1"), 2, "--conductivity: goes with an image", "case.toml")
    refused(battsim(tmp_path, "--sides", "periodic", "--error-bars"), 2, "--sides, --error-bars: goes with an image")
    assert not (tmp_path / "results").exists()


def test_threads_reach_the_solver(layers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(*arguments: Any, **settings: Any) -> Direction:
        asked.append(settings["threads"])
        return effective_transport(*arguments, **settings)

    monkeypatch.setattr("battsim.post.transport.summary.effective_transport", counted)
    answer(layers, "--phase", "1,2", "--axis", "x", "--threads", "3")
    case = layers.parent
    (case / "case.toml").write_text(
        'schema = 1\nimage = { file = "image.npy", voxel_size = 1e-6, labels = { a = [0, 1], b = 2 } }\n'
        'model = { kind = "tortuosity" }\ntransport = { conductivity = { a = 1, b = 1 }, axes = ["x"] }\n'
        "solver = { threads = 5 }\n"
    )
    assert CliRunner().invoke(cli.app, ["run", str(case)]).exit_code == 0
    assert asked == [3, 5]


def test_every_option_is_known_by_its_name() -> None:
    help_text = battsim("--help").stdout
    changed = ImageOptions("1", "1", "1", "2 um", "x", "periodic", "centres", 0.1, 1, True, "linear", True, Path("a"))
    assert len(changed.given) == 13
    assert all(option in help_text for option in changed.given)
    assert ImageOptions().given == []


def test_an_interrupt_ends_with_130(layers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("battsim.post.transport.summary.effective_transport", interrupted)
    refused(battsim(layers, "--phase", "1"), 130, "interrupted")


# progress


def test_progress_goes_to_a_terminal_only(layers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, str]] = []

    @contextmanager
    def bar() -> Iterator[show.Progress]:
        yield lambda share, message: seen.append((share, message))

    monkeypatch.setattr(show, "_progress_bar", bar)
    assert battsim(layers, "--phase", "1,2").exit_code == 0
    assert seen == []
    monkeypatch.setattr(show, "_on_terminal", lambda: True)
    assert answer(layers, "--phase", "1,2")["kind"] == "tortuosity"
    shares, messages = zip(*seen, strict=True)
    assert list(shares) == sorted(shares)
    assert shares[-1] == 1.0
    assert [f"transport along {axis}" in messages for axis in "xyz"] == [True] * 3


# a case that asks for all of it


def test_a_case_may_ask_for_all_of_it(tmp_path: Path) -> None:
    labels = np.ones((20, 4, 4), np.uint8)
    labels[:10, 1:3, 1:3] = 0
    labels[10:, 1, 1] = 0
    np.save(tmp_path / "image.npy", labels)
    text = """\
schema = 1
[image]
file = "image.npy"
voxel_size = "1 um"
separator_side = "SIDE"
labels = { pore = 0, active = 1 }
[model]
kind = "tortuosity"
[transport]
conductivity = { pore = "2 S/m" }
axes = ["x"]
sides = "periodic"
tensor = "mirrored"
electrode = true
representative = true
discretisation = true
[solver]
threads = 1
"""
    found = {}
    for side in ("low", "high"):
        (tmp_path / "case.toml").write_text(text.replace("SIDE", side))
        result = CliRunner().invoke(cli.app, ["run", str(tmp_path), "--fresh", "--json"])
        assert result.exit_code == 0, result.output
        found[side] = json.loads(result.stdout)
    x = {side: summary["directions"]["x"] for side, summary in found.items()}
    assert found["low"]["tensor"]["D_eff"][0][0] == pytest.approx(x["low"]["D_eff"], rel=1e-3)
    # over the bulk, whatever its unit: between the straight column, and layers each of one potential
    assert 1 / 16 < x["low"]["D_eff"] < 1 / (0.5 / (4 / 16) + 0.5 / (1 / 16))
    assert [x[side]["electrode"]["separator"] for side in x] == ["low", "high"]
    # entered by its wide end a pore takes less resistance to charge than by its narrow one
    assert x["low"]["electrode"]["tau_e"] < 0.8 * x["high"]["electrode"]["tau_e"]
    assert x["low"]["discretisation"]["relative_error"] is None  # 4 voxels wide
    assert x["low"]["representative"]["porosity"]["mean"] == pytest.approx((40 + 10) / 320, rel=1e-6)
    log = (tmp_path / "results" / "run.log").read_text()
    assert [name in log for name in ("discretisation along x", "electrode along x", "tensor")] == [True] * 3
