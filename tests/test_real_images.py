"""Whole cases on a real cathode: X-ray tomography of a calendered electrode, 398 nm voxels."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from battsim import cli
from battsim.case import load_case
from battsim.materials.library import active_material
from battsim.materials.types import open_circuit
from battsim.output.tables import read_table
from battsim.post.transport import effective_transport
from battsim.run import build_image

NAME = "matbox_nmc1cal_bridgeCBD.tif"
CROP = np.s_[0:32, 100:132, 100:132]
TORTUOSITY = """\
schema = 1
[image]
file = "{file}"
voxel_size = "398 nm"
labels = {{ pore = 0, active = 1, binder = 2 }}
crop = [[0, 32], [100, 132], [100, 132]]
shape = [251, 301, 301]
[model]
kind = "tortuosity"
[transport]
conductivity = {{ pore = 1.0, binder = 0.125 }}
porosity = {{ binder = 0.5 }}
tolerance = {tolerance}
[solver]
threads = 1
"""
HALF_CELL = """\
schema = 1
[image]
file = "{file}"
voxel_size = "398 nm"
through_plane = "x"
labels = {{ pore = 0, active = 1, binder = 2 }}
[materials]
active = "nmc532-mohtat2020"
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
until = {until}
[solver]
threads = 1
"""


@pytest.fixture(scope="module")
def cathode() -> Path:
    folder = os.environ.get("BATTSIM_DATA")
    if not folder:
        pytest.skip("set BATTSIM_DATA to the folder of real images")
    return Path(folder) / NAME


def run(case: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli.app, ["run", str(case), "--json", *options], prog_name="battsim")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_tortuosity_of_a_crop_against_another_preconditioner(tmp_path: Path, cathode: Path) -> None:
    (tmp_path / "case.toml").write_text(TORTUOSITY.format(file=cathode.as_posix(), tolerance=1e-4))
    summary = run(tmp_path, "--allow-outside")
    case = load_case(tmp_path, allow_outside=True)
    image = build_image(case)
    assert np.array_equal(image.labels, tifffile.imread(cathode)[CROP])
    counts = np.bincount(image.labels.ravel()) / image.labels.size
    assert summary["porosity"] == pytest.approx(counts[0] + 0.5 * counts[2], rel=1e-12)
    for axis in ("x", "y", "z"):
        own = summary["directions"][axis]
        peer = effective_transport(
            image, {"pore": 1.0, "binder": 0.125}, axis=axis, porosity={"binder": 0.5}, tolerance=1e-7, solver="amg"
        )
        assert own["percolates"]
        # D_eff comes from above, and no further away than it says; the peer's own error is below 1e-7
        assert -1e-7 <= own["D_eff"] / peer.D_eff - 1.0 <= own["error_estimate"] + 1e-7
        assert own["error_estimate"] <= 1e-4
        # first order in the potential's error, where D_eff is second order: sqrt(1e-4), twice for round-off
        assert own["flux_imbalance"] <= 2e-2
        assert own["residual"] <= 2e-2
        assert own["tau"] == pytest.approx(summary["porosity"] / own["D_eff"], rel=1e-12)


def half_cell(directory: Path, labels: np.ndarray, until: str) -> dict[str, Any]:
    """Summary of a discharge of these voxels, which are written into the case."""
    (directory / "image").mkdir()
    tifffile.imwrite(directory / "image" / "crop.tif", labels, photometric="minisblack")
    (directory / "case.toml").write_text(HALF_CELL.format(file="image/crop.tif", until=until))
    return run(directory)


def assert_sound(results: Path, summary: dict[str, Any]) -> None:
    """Every step converged at once and conserves, and the losses are those of this voltage."""
    steps, series = read_table(results / "steps.csv"), read_table(results / "timeseries.csv")
    assert steps["failed"].sum() == 0.0
    assert steps["lithium_imbalance"].max() <= 1e-10
    assert steps["charge_imbalance"].max() <= 1e-8
    assert steps["newton_iterations"].max() <= 6.0
    for balance in ("lithium_imbalance", "charge_imbalance", "salt_drift"):
        assert summary[balance] <= 1e-8
    U, _ = open_circuit(active_material("nmc532-mohtat2020"), series["x_mean"], 298.15)
    total = sum(column for name, column in series.items() if name.startswith("loss_"))
    # Newton's residual of the potentials, and ten digits of x_mean
    assert total == pytest.approx(U - series["voltage_V"], abs=1e-7)
    assert np.all(np.diff(series["voltage_V"]) < 0.0)


def test_five_minutes_at_1_c(tmp_path: Path, cathode: Path) -> None:
    labels = tifffile.imread(cathode)[CROP]
    summary = half_cell(tmp_path, labels, '{ time = "300 s" }')
    assert summary["stop"] == {"reason": "time", "step": 0, "time_s": 300.0, "message": None}
    assert summary["capacity_Ah_m2"] == pytest.approx(summary["current_1C_A_m2"] / 12.0, rel=1e-9)
    assert summary["thickness_m"] == pytest.approx(32 * 398e-9, rel=1e-9)
    assert_sound(tmp_path / "results", summary)
    fractions = json.loads((tmp_path / "results" / "microstructure.json").read_text())["phases"]
    assert fractions["active"]["volume_fraction"] == pytest.approx(np.mean(labels == 1), rel=1e-12)


@pytest.mark.slow
def test_a_whole_discharge_at_1_c(tmp_path: Path, cathode: Path) -> None:
    labels = tifffile.imread(cathode)[0:40, 100:140, 100:140]
    summary = half_cell(tmp_path, labels, '{ voltage = "3.5 V" }')
    assert summary["stop"]["reason"] == "voltage"
    assert_sound(tmp_path / "results", summary)
    series = read_table(tmp_path / "results" / "timeseries.csv")
    assert series["voltage_V"][-1] == pytest.approx(3.5, abs=1e-9)
    # an earlier run of our own at the same time_rtol; 0.2 % is many times what that leaves open, and above an hour
    # since 3.5 V is below the potential at soc = 0
    assert summary["stop"]["time_s"] == pytest.approx(3663.9, rel=2e-3)
