"""What a tortuosity writes for each axis, from `battsim tortuosity --fields` and from a case, read back."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.output.record import state_of

SHAPE, SIZE = (10, 9, 8), (1e-6, 2e-6, 1.5e-6)
CASE = """\
schema = 1
name = "written"
[image]
file = "image.npy"
voxel_size = ["1 um", "2 um", "1.5 um"]
labels = { pore = 0, active = 1, binder = 2 }
[model]
kind = "tortuosity"
[transport]
conductivity = { pore = 1.0, binder = 0.2 }
porosity = { binder = 0.5 }
axes = ["y", "x"]
tolerance = 1e-9
[output]
fields = ["potential", "flux"]
"""
K, WEIGHT = np.array([1.0, 0.0, 0.2]), np.array([1.0, 0.0, 0.5])


def labels() -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(2).normal(size=SHAPE), 1.2)
    return np.digitize(smooth, np.quantile(smooth, [0.5, 0.8])).astype(np.uint8)


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    np.save(tmp_path / "image.npy", labels())
    (tmp_path / "case.toml").write_text(CASE)
    return tmp_path


def summary_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout, parse_constant=pytest.fail)
    assert isinstance(content, dict)
    return content


def field(image: pyvista.ImageData, name: str) -> np.ndarray:
    values = np.asarray(image.cell_data[name])
    return values.reshape((*SHAPE, *values.shape[1:]), order="F")


def check_files(fields: Path, beside: Path, summary: dict[str, Any], axes: str) -> None:
    """Potential, flux and slices agree with each other and with the numbers of the summary."""
    reader = pyvista.PVDReader(fields / "fields.pvd")
    assert reader.time_values == [float(number) for number in range(len(axes))]
    with (beside / "slices.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["axis"] for row in rows] == [axis for axis in axes for _ in range(SHAPE["xyz".index(axis)])]
    for number, axis in enumerate(axes):
        along = "xyz".index(axis)
        direction = summary["directions"][axis]
        reader.set_active_time_value(float(number))
        image = reader.read()[0]
        assert image.spacing == pytest.approx(SIZE)
        np.testing.assert_array_equal(K[labels()] == 0.0, np.isin(labels(), [1]))
        u, flux = field(image, "potential [1]"), field(image, "flux [1]")
        assert np.isnan(u[K[labels()] == 0.0]).all()
        layers = np.moveaxis(u, along, 0)
        assert np.nanmean(layers[0]) > np.nanmean(layers[-1])
        # over the mean flux, the mean along the axis is 1; single precision
        assert flux[..., along].mean(dtype=np.float64) == pytest.approx(1.0, rel=1e-6)
        np.testing.assert_allclose(field(image, "flux_magnitude [1]"), np.linalg.norm(flux, axis=-1), rtol=1e-5)
        own = [row for row in rows if row["axis"] == axis]
        length = SHAPE[along] * SIZE[along]
        # D_eff / L through every slice; first order in the potential's error, 3e-5 where D_eff's is 1e-9
        through = [float(row["flux"]) for row in own]
        np.testing.assert_allclose(through, direction["D_eff"] / length, rtol=2e-4)
        assert direction["plane_flux_deviation"] < 2e-4
        porosity = [float(row["porosity"]) for row in own]
        np.testing.assert_allclose(porosity, WEIGHT[np.moveaxis(labels(), along, 0)].mean(axis=(1, 2)), rtol=1e-9)
        assert np.mean(porosity) == pytest.approx(summary["porosity"], rel=1e-9)
        centres = (np.arange(SHAPE[along]) + 0.5) * SIZE[along]
        np.testing.assert_allclose([float(row["position_m"]) for row in own], centres, rtol=1e-9)
    assert (beside / "transport.png").stat().st_size > 10_000


def test_a_case_writes_the_fields_that_it_asks_for(case: Path) -> None:
    summary = summary_of(battsim("run", case, "--json"))
    check_files(case / "results" / "fields", case / "results", summary, "yx")
    left = {file.name for file in (case / "results" / "fields").iterdir()}
    assert left == {"fields.pvd", "transport_x.vti", "transport_y.vti"}


def test_an_image_alone_writes_the_same(case: Path) -> None:
    out = case / "new" / "folder"
    options = ("--conductivity", "0=1,2=0.2", "--porosity", "2=0.5", "--voxel-size", "1 um,2 um,1.5 um")
    image = case / "image.npy"
    summary = summary_of(battsim("tortuosity", image, *options, "--tolerance", "1e-9", "--fields", out, "--json"))
    check_files(out, out, summary, "xyz")
    again = summary_of(battsim("tortuosity", image, *options, "--axis", "z", "--fields", out, "--json"))
    assert list(again["directions"]) == ["z"]
    assert pyvista.PVDReader(out / "fields.pvd").time_values == [0.0]
    assert battsim("tortuosity", image, *options[:2], "--voxel-size", "3 um", "--fields", out).exit_code == 0
    assert pyvista.read(out / "transport_x.vti").spacing == pytest.approx((3e-6,) * 3)


def test_only_the_fields_that_are_asked_for(case: Path) -> None:
    text = CASE.replace('["potential", "flux"]', '["potential"]')
    (case / "case.toml").write_text(text)
    assert battsim("run", case).exit_code == 0
    image = pyvista.read(case / "results" / "fields" / "transport_x.vti")
    assert list(image.cell_data) == ["potential [1]", "phase"]
    (case / "case.toml").write_text(CASE[: CASE.index("[output]")])
    assert battsim("run", case, "--fresh").exit_code == 0
    left = {file.name for file in (case / "results").iterdir()}
    assert left == {"run.json", "run.log", "summary.json", "microstructure.json", "case.resolved.json"}


def test_an_axis_without_a_path_leaves_no_file(case: Path) -> None:
    blocked = labels()
    blocked[4] = 1
    np.save(case / "image.npy", blocked)
    summary = summary_of(battsim("run", case, "--json"))
    assert (summary["directions"]["x"]["tau"], summary["directions"]["y"]["percolates"]) == (None, True)
    assert "plane_flux_deviation" not in summary["directions"]["x"]
    assert [file.name for file in (case / "results" / "fields").glob("*.vti")] == ["transport_y.vti"]
    blocked[:, 4] = 1
    np.save(case / "image.npy", blocked)
    assert battsim("run", case, "--fresh").exit_code == 5
    assert state_of(case / "results") == "failed"
    left = {file.name for file in (case / "results").rglob("*")}
    assert left == {"run.json", "run.log", "microstructure.json", "case.resolved.json"}


def test_a_picture_that_cannot_be_drawn_costs_nothing(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("battsim.run.transport_files.draw_transport", broken)
    assert battsim("run", case).exit_code == 0
    assert "the picture was not drawn: RuntimeError: no fonts" in (case / "results" / "run.log").read_text()
    assert (case / "results" / "slices.csv").exists()


def test_fields_need_a_directory(case: Path) -> None:
    result = battsim("tortuosity", case / "image.npy", "--phase", "0", "--fields", case / "case.toml")
    assert result.exit_code == 2
    assert "case.toml is a file; name a directory" in result.stderr
