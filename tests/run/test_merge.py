"""`[solver] merge = 1`: what it changes in a run, and what it must not."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from scipy import ndimage

from battsim.case import FullCellCase, ResolvedCase, read_case
from battsim.errors import CaseError, CheckpointError, ResourceError
from battsim.output.pictures import read_fields
from battsim.output.tables import read_table
from battsim.run import find_checkpoint, run_case
from battsim.run.build import build_image, build_mesh, electrode_images
from battsim.run.memory import memory_of, most_unknowns, refuse_too_large_stack
from battsim.run.merging import merged_cells
from battsim.run.protocol import BETWEEN_CHECKPOINTS

LABELS = {"pore": 0, "active": 1, "binder": 2}
TABLE = {
    "file": "image.npy",
    "voxel_size": "0.6 um",
    "through_plane": "x",
    "separator_side": "high",
    "labels": LABELS,
}
CASE = {
    "schema": 1,
    "image": TABLE,
    "materials": {
        "active": "nmc811-chen2020",
        "electrolyte": "lipf6-nyman2008",
        "separator": {"thickness": "4 um", "porosity": 0.47, "bruggeman": 1.5, "layers": 3},
    },
    "model": {"kind": "resolved"},
    "initial": {"soc": 0.9},
    "protocol": [{"step": "discharge", "rate": "1 C", "until": {"time": "120 s"}}],
    "solver": {"threads": 1, "time_rtol": 3e-4, "merge": 1},
    "output": {"every": "60 s"},
}
SOLVER = CASE["solver"]
FULL = {
    "schema": 1,
    "materials": {key: CASE["materials"][key] for key in ("electrolyte", "separator")},  # type: ignore[index]
    "model": {"kind": "resolved", "cell": "full"},
    "protocol": [{"step": "discharge", "rate": "1 C", "until": {"time": "30 s"}}],
    "solver": SOLVER,
    "output": {"fields": ["c_s", "c_e"], "every": None},
}
"""The electrodes are added by `full`."""


def grains(radius: float = 5.8, wide: int = 13, count: int = 2) -> np.ndarray:
    """Grains in a row with binder at their necks, and two planes of active material at the collector; cell axes."""
    place = np.indices((9 * count + 2, wide, wide))
    labels = np.zeros(place.shape[1:], np.uint8)
    for k in range(count):
        centre = np.reshape((4.5 + 9 * k, 6 + 0.3 * k, 5.8), (3, 1, 1, 1))
        labels[np.sum((place - centre) ** 2, axis=0) <= radius**2] = 1
    labels[-2:] = 1
    neck = np.abs(place[0] % 9 - 0.5) < 2
    labels[ndimage.binary_dilation(labels == 1) & (labels == 0) & neck] = 2
    return labels


@dataclass(frozen=True)
class Ran:
    """A finished run."""

    case: ResolvedCase
    results: Path
    summary: dict[str, Any]

    @property
    def series(self) -> dict[str, np.ndarray]:
        return read_table(self.results / "timeseries.csv")

    @property
    def profiles(self) -> dict[str, np.ndarray]:
        """Of the last time, in the order of depth."""
        table = read_table(self.results / "profiles.csv")
        return {name: values[table["time_s"] == table["time_s"].max()] for name, values in table.items()}

    @property
    def microstructure(self) -> dict[str, Any]:
        content = json.loads((self.results / "microstructure.json").read_text())
        assert isinstance(content, dict)
        return content

    def fields(self, folder: str = "fields") -> Any:
        return read_fields(sorted((self.results / folder).glob("t_*.vti"))[-1])


def half(directory: Path, labels: np.ndarray | None = None, **tables: Any) -> ResolvedCase:
    directory.mkdir(exist_ok=True)
    np.save(directory / "image.npy", grains()[::-1] if labels is None else labels)
    case = read_case(CASE | tables, directory)
    assert isinstance(case, ResolvedCase)
    return case


def run(directory: Path, labels: np.ndarray | None = None, **tables: Any) -> Ran:
    case = half(directory, labels, **tables)
    return Ran(case, directory / "results", run_case(case, results=directory / "results"))


def solver(**changes: Any) -> dict[str, Any]:
    return {**SOLVER, **changes}  # type: ignore[dict-item]


@pytest.fixture(autouse=True, scope="module")
def without_pictures() -> Any:
    with pytest.MonkeyPatch.context() as patched:
        for kind in ("half", "full"):
            patched.setattr(f"battsim.run.draw_{kind}_cell", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def voxels(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("voxels"), solver=solver(merge=0))


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("merged"))


# the case file


@pytest.mark.parametrize("value", [2, -1, True, 1.0, "1", None])
def test_merge_is_0_or_1(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CaseError, match=r"case.toml: solver.merge = \S+ is not allowed; write 0 \(off\), or 1") as told:
        half(tmp_path, solver=solver(merge=value))
    assert told.value.exit_code == 3
    assert json.dumps(value) in str(told.value)


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    case = half(tmp_path, solver={})
    assert case.solver.merge == 0
    assert case.resolved()["solver"]["merge"] == 0


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"model": {"kind": "resolved", "engine": "fipy"}}, ["solver.merge = 1: model.engine", "whole voxels"]),
        ({"image": TABLE | {"voxel_size": [1e-6, 1e-6, 1.25e-6]}}, [
            "solver.merge = 1 with image.voxel_size", "1 x 1 x 1.25 um", "too far from cubes", "without merging",
        ]),
    ],
)  # fmt: skip
def test_what_cannot_merge(tmp_path: Path, tables: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CaseError) as told:
        half(tmp_path, **tables)
    for word in words:
        assert word in str(told.value)
    half(tmp_path, **tables, solver=solver(merge=0))


@pytest.mark.parametrize("kind", ["p2d", "tortuosity"])
def test_other_kinds_do_not_know_it(tmp_path: Path, kind: str) -> None:
    data = tomllib.loads((files("battsim") / "templates" / kind / "case.toml").read_text(encoding="utf-8"))
    data["solver"]["merge"] = 1
    with pytest.raises(CaseError, match=r"solver.merge: unknown key; known: threads"):
        read_case(data, tmp_path)


# a half cell


def test_it_saves_unknowns_and_tells_how_many_voxels_merged(merged: Ran, voxels: Ran) -> None:
    entry, shares = merged.microstructure["merging"], merged.microstructure["merging"]["shares"]
    assert entry["voxels"] == 8 * entry["cells"]
    assert voxels.summary["cells"] - merged.summary["cells"] == 7 * entry["cells"]
    # two unknowns in every cell that can merge
    assert voxels.summary["unknowns"] - merged.summary["unknowns"] == 14 * entry["cells"]
    assert merged.summary["unknowns"] < 0.85 * voxels.summary["unknowns"]
    for ran in (merged, voxels):  # known before there is a mesh, behind an odd number of layers
        assert most_unknowns(ran.case, build_image(ran.case)) == ran.summary["unknowns"]
    labels = build_image(merged.case).labels
    counts = {name: shares[name] * np.count_nonzero(labels == k) for name, k in LABELS.items()}
    assert sum(counts.values()) == pytest.approx(entry["voxels"], rel=1e-12)
    assert (counts["active"] > 400, counts["pore"] > 50, counts["binder"]) == (True, True, 0)


def test_the_microstructure_is_that_of_the_voxels(merged: Ran, voxels: Ran) -> None:
    own = merged.microstructure
    assert {key: value for key, value in own.items() if key != "merging"} == voxels.microstructure
    for key in ("capacity_Ah_m2", "current_1C_A_m2", "thickness_m"):
        assert merged.summary[key] == pytest.approx(voxels.summary[key], rel=1e-12)


def test_the_voltage_is_that_of_the_voxels(merged: Ran, voxels: Ran) -> None:
    times = np.linspace(5.0, 120.0, 100)
    curves = [np.interp(times, ran.series["time_s"], ran.series["voltage_V"]) for ran in (merged, voxels)]
    # grains of 6 voxels radius: 0.1 to 0.2 mV; merged volumes as they are, without what is handed over: 1.2 mV
    assert np.abs(curves[0] - curves[1]).max() < 4e-4
    assert curves[0][-1] != curves[1][-1]


def test_balances_close(merged: Ran) -> None:
    assert merged.summary["lithium_imbalance"] < 1e-12
    assert merged.summary["charge_imbalance"] < 1e-8
    assert abs(merged.summary["salt_drift"]) < 1e-12
    assert merged.summary["first_law_mismatch_V"] < 1e-8
    assert read_table(merged.results / "steps.csv")["lithium_imbalance"].max() < 1e-11


def test_fields_are_on_voxels(merged: Ran, voxels: Ran) -> None:
    found, whole = merged.fields().values, voxels.fields().values
    np.testing.assert_array_equal(found["phase"], np.load(merged.case.directory / "image.npy"))
    cells = merged_cells(merged.case, build_mesh(merged.case, build_image(merged.case)))
    of_voxel = cells.cell_of[-found["phase"].size :].reshape(found["phase"].shape)[::-1]  # from the high end
    for name, scale in (("x", 4e-3), ("c_e", 0.5), ("phi_e", 1e-4), ("phi_s", 3e-4)):
        assert np.array_equal(np.isnan(found[name]), np.isnan(whole[name]))
        here = ~np.isnan(found[name])
        _, first, cell, voxel_count = np.unique(
            of_voxel[here], return_index=True, return_inverse=True, return_counts=True
        )
        assert voxel_count.max() == 8
        value, on_voxels = found[name][here], whole[name][here]
        assert np.array_equal(value[first][cell], value)
        # the mean of the voxels, of which there are 8 in a merged cell; its own value is that of its centre, and in a
        # grain that is filling less than the mean
        mean = np.bincount(cell, on_voxels) / voxel_count
        np.testing.assert_allclose(value[first], mean, rtol=0, atol=scale, err_msg=name)
    assert np.array_equal(np.isnan(found["j"]), np.isnan(whole["j"]))  # no reacting cell has merged


def test_profiles_have_every_plane_and_all_of_the_current(merged: Ran, voxels: Ran) -> None:
    own, whole = merged.profiles, voxels.profiles
    np.testing.assert_allclose(own["depth_m"], whole["depth_m"], rtol=1e-9)  # ten digits in the table
    depth = own["depth_m"]
    thickness = np.full(depth.size, 0.6e-6)
    thickness[:3] = 2 * (depth[:3] - np.append(0.0, np.cumsum(_layers(depth))[:2]))
    assert thickness.sum() == pytest.approx(4e-6 + 0.6e-6 * 20, rel=1e-8)
    current = merged.series["current_A_m2"][-1]
    assert -thickness @ own["reaction_A_m3"] == pytest.approx(current, rel=1e-8)
    # both planes of a merged cell have the value between them: where x falls by 0.01 per plane, half of that
    for name, tolerance in (("x_mean", 3e-3), ("c_e_mol_m3_mean", 0.3), ("phi_e_V_mean", 1e-4), ("phi_s_V_mean", 3e-4)):
        np.testing.assert_allclose(own[name], whole[name], rtol=0, atol=tolerance, err_msg=name)
    assert thickness @ own["heat_W_m3"] == pytest.approx(thickness @ whole["heat_W_m3"], rel=0.01)


def _layers(depth: np.ndarray) -> np.ndarray:
    """Thicknesses of the three layers in front, from the depths of their middles."""
    found: list[float] = []
    for middle in depth[:3]:
        found.append(2 * (middle - sum(found)))
    return np.array(found)


def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path: Path, merged: Ran) -> None:
    case, results = half(tmp_path), tmp_path / "results"
    with pytest.raises(KeyboardInterrupt):
        run_case(case, results=results, progress=interrupting(BETWEEN_CHECKPOINTS + 6))
    found = find_checkpoint(case, results)
    assert found.checkpoint is not None
    with pytest.raises(CheckpointError, match=r"case.toml solver.merge was 1, and is 0; restore") as told:
        find_checkpoint(half(tmp_path, solver=solver(merge=0)), results)
    assert told.value.exit_code == 9
    run_case(case, results=results, checkpoint=found.checkpoint)
    names = [path.relative_to(merged.results) for path in merged.results.rglob("*") if path.is_file()]
    compared = [name for name in names if name.suffix in (".csv", ".vti", ".pvd") or name.stem in COMPARED]
    assert len(compared) >= 9
    assert [name for name in compared if (results / name).read_bytes() != (merged.results / name).read_bytes()] == []


COMPARED = ("summary", "microstructure", "case.resolved")


def interrupting(calls: int) -> Callable[[float, str], None]:
    """Progress that stops the run at its call of that number."""
    told: list[float] = []

    def progress(share: float, _: str) -> None:
        told.append(share)
        if len(told) == calls:
            raise KeyboardInterrupt

    return progress


def test_where_nothing_merges_it_is_said_and_changes_nothing(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice(3, (6, 5, 5), p=(0.45, 0.45, 0.1)).astype(np.uint8)
    labels[0] = 1
    brief = [{"step": "discharge", "rate": "1 C", "until": {"time": "5 s"}}]
    asked, not_asked = (
        run(tmp_path / str(merge), labels, protocol=brief, solver=solver(merge=merge)) for merge in (1, 0)
    )
    assert asked.microstructure["merging"]["voxels"] == 0
    [warning] = set(asked.summary["warnings"]) - set(not_asked.summary["warnings"])
    assert warning.startswith("solver.merge = 1 merged no voxels")
    for name in ("timeseries.csv", "profiles.csv", "steps.csv"):
        assert (asked.results / name).read_bytes() == (not_asked.results / name).read_bytes()


def test_the_homogenised_cell_is_that_of_the_voxels(tmp_path: Path) -> None:
    brief = [{"step": "discharge", "rate": "1 C", "until": {"time": "90 s"}}]
    model = {"kind": "resolved", "baseline": True}
    labels = grains(count=1)
    labels[-2:, :3, :3] = 0  # a way through for ions
    found = [
        run(tmp_path / str(merge), labels[::-1], protocol=brief, model=model, solver=solver(merge=merge))
        for merge in (1, 0)
    ]
    own, whole = (numbers(ran.summary["homogenised"]) for ran in found)
    assert len(own) > 10
    assert own == pytest.approx(whole, rel=1e-12)


def numbers(content: Any) -> list[float]:
    """All numbers in tables and lists, in order."""
    if isinstance(content, dict | list):
        inside = content.values() if isinstance(content, dict) else content
        return [number for value in inside for number in numbers(value)]
    return [content] if isinstance(content, float) else []


def test_left_out_cells_are_counted_in_voxels(tmp_path: Path) -> None:
    """Electrons have no way out of binder that floats in the pore."""
    labels = np.ones((20, 11, 12), np.uint8)
    labels[:14] = 0
    labels[4:11, 2:9, 2:9] = 2
    brief = [{"step": "discharge", "rate": "1 C", "until": {"time": "1 s"}}]
    found = run(tmp_path, labels[::-1], protocol=brief)
    [part] = found.microstructure["removed"]
    assert (part["phase"], part["potential"], part["cells"]) == ("binder", "phi_s", 7**3)
    assert part["volume_share"] == pytest.approx(1.0, rel=1e-12)
    assert found.microstructure["merging"]["shares"]["binder"] > 0.1


# a full cell


@pytest.fixture(scope="module", params=[0.6, 0.5], ids=["same voxels", "thinner voxels"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, Any]]]:
    """A full cell on merged cells and on voxels."""
    ran = []
    for merge in (1, 0):
        folder = tmp_path_factory.mktemp("full")
        np.save(folder / "positive.npy", grains(count=1)[::-1])
        np.save(folder / "negative.npy", grains(radius=5.4, count=1)[::-1])
        tables = {
            name: {
                "image": TABLE | {"file": f"{name}.npy", "voxel_size": [f"{h} um", "0.6 um", "0.6 um"]},
                "materials": {"active": active},
            }
            for name, h, active in (
                ("negative", request.param, "graphite-chen2020"),
                ("positive", 0.6, "nmc811-chen2020"),
            )
        }
        case = read_case(FULL | tables | {"solver": solver(merge=merge)}, folder)
        ran.append((folder, run_case(case, results=folder / "results")))
    return ran


def test_both_electrodes_of_a_full_cell_merge(full: list[tuple[Path, dict[str, Any]]]) -> None:
    (folder, merged), (_, voxels) = full
    measured = json.loads((folder / "results" / "microstructure.json").read_text())
    cells = [measured[name]["merging"]["cells"] for name in ("negative", "positive")]
    assert min(cells) > 30
    assert voxels["unknowns"] - merged["unknowns"] == 14 * sum(cells)
    assert merged["lithium_imbalance"] < 1e-12
    assert merged["charge_imbalance"] < 1e-8
    for key in ("capacity_ratio", "current_1C_A_m2", "thickness_m"):
        assert merged[key] == pytest.approx(voxels[key], rel=1e-12)
    ends = [read_table(path / "results" / "timeseries.csv")["voltage_V"][-1] for path, _ in full]
    assert ends[0] == pytest.approx(ends[1], abs=4e-4)


def test_the_memory_of_a_full_cell_is_that_of_its_merged_cells(
    full: list[tuple[Path, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(available=2**40)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    for folder, summary in full:
        case = read_case(json.loads((folder / "results" / "case.resolved.json").read_text()), folder)
        assert isinstance(case, FullCellCase)
        images = {name: each.image for name, each in electrode_images(case).items()}
        free.available = memory_of(int(1.02 * summary["unknowns"]))
        refuse_too_large_stack(case, images)
        free.available = memory_of(summary["unknowns"]) - 1
        with pytest.raises(ResourceError, match="GiB are free"):
            refuse_too_large_stack(case, images)
        free.available = 2**40


def test_fields_of_a_full_cell_are_on_voxels(full: list[tuple[Path, dict[str, Any]]]) -> None:
    for name in ("negative", "positive"):
        files_ = [sorted((folder / "results" / "fields" / name).glob("t_*.vti"))[-1] for folder, _ in full]
        found, whole = (read_fields(file) for file in files_)
        np.testing.assert_array_equal(found.values["phase"], np.load(full[0][0] / f"{name}.npy"))
        assert found.voxel_size == pytest.approx(whole.voxel_size, rel=1e-12)
        # most of a grain's profile after 30 s is in two voxels at its surface, which have not merged
        np.testing.assert_allclose(found.values["x"], whole.values["x"], rtol=0, atol=5e-3)
