"""A full cell on two images, from its case file to its results."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from battsim.case import FullCellCase, files_of, images_of, read_case
from battsim.errors import CaseError, ImpossibleError, ResourceError
from battsim.materials.library import active_material
from battsim.output.pictures import read_fields
from battsim.output.tables import read_table
from battsim.run import check_images, find_checkpoint, mesh_of, run_case
from battsim.run.build import electrode_images
from battsim.run.memory import memory_of
from meshing.errors import LabelError

CASE = Path(__file__).parent.parent / "cases" / "full-cell" / "case.toml"
GRAPHITE, NMC = active_material("graphite-chen2020"), active_material("nmc811-chen2020")


def tables(**protocol: Any) -> dict[str, Any]:
    """The project's case on small images, one step."""
    data = tomllib.loads(CASE.read_text(encoding="utf-8"))
    for name, shape in (("negative", [9, 6, 7]), ("positive", [7, 8, 6])):
        data[name]["image"]["generate"] |= {"shape": shape, "diameter": {"median": "4 um"}}
    data["materials"]["separator"]["layers"] = 4
    data["protocol"] = [{"step": "discharge", "rate": 1.0, "until": {"time": 40.0}, **protocol}]
    data["output"] = {"fields": ["c_s", "c_e", "phi_s"], "every": 20.0}
    return data


def with_key(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *tables_, key = path.split(".")
    inner = data
    for name in tables_:
        inner = inner.setdefault(name, {})
    inner[key] = value
    return data


def read(data: dict[str, Any], folder: Path) -> FullCellCase:
    case = read_case(data, folder)
    assert isinstance(case, FullCellCase)
    return case


# the case file


def test_both_electrodes_have_image_and_materials_and_defaults_are_filled(tmp_path: Path) -> None:
    case = read(tables(), tmp_path)
    assert list(images_of(case)) == ["negative.image", "positive.image"]
    assert case.negative.materials.active == "graphite-chen2020"
    assert case.positive.materials.binder.active_coverage == 1.0
    assert (case.model.baseline, case.model.engine) == (False, "newton")
    assert read_case(json.loads(json.dumps(case.resolved())), tmp_path) == case


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("image", {}, ["image: a full cell has one in each electrode", "[negative.image]"]),
        ("electrode", {}, ["electrode: is not used by model.kind"]),
        ("negative.thickness", "50 um", ["negative.thickness: unknown key; known: image, materials"]),
        ("negative.materials.activ", "x", ["negative.materials.activ: unknown key; did you mean 'active'"]),
        ("negative.materials.active", "graphit", ['negative.materials.active = "graphit" is no set', "graphite-"]),
        ("materials.active", "nmc811-chen2020", ["materials has active", "move it to [negative.materials]"]),
        ("materials.counter", "lithium-xu2019", ["no counter electrode; delete it"]),
        ("materials.electrolyte", "lipf6", ["materials.electrolyte", "is no set"]),
        ("model.baseline", 1, ["model.baseline = 1: must be true or false"]),
        ("model.engine", "fipy", ['model.engine = "fipy" for a full cell is not available', "newton"]),
        ("initial", {"stoichiometry": 0.5}, ["initial.stoichiometry"]),
        ("initial", {"stoichiometry": {"negative": 0.5}}, ["initial.stoichiometry.positive: is required"]),
        ("initial", {"voltage": 5.0}, ["initial.voltage = 5"]),
        ("positive.image", {"file": "a.npy", "voxel_size": 1e-6, "labels": {"pore": 0, "am": 1}}, [
            "positive.image.labels.active: is required and missing; an electrode needs pore and active",
            "positive.image.labels.am: is no phase of an electrode",
            "positive.image.through_plane: is required and missing",
        ]),
        ("positive.materials.active", "graphite-chen2020", ["[positive] is at 0.000 V against [negative]"]),
        ("protocol", [{"step": "charge", "rate": 1, "until": {"voltage": 4.1}}], ["until.voltage", "cannot begin"]),
    ],
)  # fmt: skip
def test_what_a_full_cell_cannot_be(path: str, value: Any, told: list[str], tmp_path: Path) -> None:
    data = with_key(tables(until={"voltage": 2.8}), path, value)
    with pytest.raises((CaseError, ImpossibleError)) as refused:
        read_case(data, tmp_path)
    for part in told:
        assert part in str(refused.value)


def test_exchanged_electrodes_are_told(tmp_path: Path) -> None:
    data = tables()
    data["negative"]["materials"], data["positive"]["materials"] = (
        data[name]["materials"] for name in ("positive", "negative")
    )
    with pytest.raises(CaseError, match=r"\[positive\] is at -4\.\d+ V against \[negative\]"):
        read_case(data, tmp_path)


def test_files_of_both_images_are_named_and_read(tmp_path: Path) -> None:
    data, labels = tables(), np.ones((6, 4, 4), np.uint8)
    labels[:, 0] = 0
    np.save(tmp_path / "a.npy", labels)
    np.save(tmp_path / "b.npy", labels[:, :, :3])
    for name, file, size in (("negative", "a.npy", 1e-6), ("positive", "b.npy", [2e-6, 1e-6, 1e-6])):
        data[name]["image"] = {
            "file": file,
            "voxel_size": size,
            "through_plane": "x",
            "labels": {"pore": 0, "active": 1},
        }
    case = read(data, tmp_path)
    assert files_of(case) == {"negative.image.file": "a.npy", "positive.image.file": "b.npy"}
    mesh = mesh_of(case)
    assert mesh.grid_shape == (6 + 4 + 6, 4, 3)
    assert mesh.phases == (*("negative pore", "negative active"), "separator", *("positive pore", "positive active"))
    assert mesh.patches["x-high"].distance[0] == pytest.approx(1e-6, rel=1e-12)
    data["positive"]["image"]["voxel_size"] = [1e-6, 2e-6, 1e-6]
    with pytest.raises(LabelError, match=r"case.toml: \[negative.image\] and \[positive.image\].*1 x 1 um.*2 x 1 um"):
        check_images(read(data, tmp_path))
    np.save(tmp_path / "b.npy", 2 * labels)
    with pytest.raises(LabelError, match=r"\[positive.image\] file = \"b.npy\""):
        check_images(read(data, tmp_path))


# a run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[FullCellCase, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("full")
    case = read(tables(), folder)
    return case, folder, run_case(case, results=folder / "results")


def test_summary_tells_balance_and_plating(finished: tuple[FullCellCase, Path, dict[str, Any]]) -> None:
    case, folder, found = finished
    assert json.loads((folder / "results" / "summary.json").read_text()) == found
    negative, positive = found["electrodes"]["negative"], found["electrodes"]["positive"]
    measured = json.loads((folder / "results" / "microstructure.json").read_text())
    for name, material, told, depth in (("negative", GRAPHITE, negative, 9e-6), ("positive", NMC, positive, 7e-6)):
        share = measured[name]["phases"]["active"]["volume_fraction"]
        window = abs(material.stoichiometry_soc100 - material.stoichiometry_soc0) * material.max_concentration
        all_of_it = window * share * depth * 96485.33212 / 3600.0
        assert told["capacity_Ah_m2"] <= all_of_it * (1 + 1e-9)
        assert told["capacity_Ah_m2"] > 0.8 * all_of_it
    assert found["capacity_ratio"] == pytest.approx(negative["capacity_Ah_m2"] / positive["capacity_Ah_m2"], rel=1e-12)
    assert found["current_1C_A_m2"] == pytest.approx(min(negative["capacity_Ah_m2"], positive["capacity_Ah_m2"]))
    # at 100 % all that can move is in the negative electrode
    assert found["cyclable_lithium_Ah_m2"] == pytest.approx(negative["capacity_Ah_m2"], rel=1e-9)
    assert (negative["x_start"], positive["x_start"]) == (
        pytest.approx(GRAPHITE.stoichiometry_soc100),
        pytest.approx(NMC.stoichiometry_soc100),
    )
    assert negative["x_end"] < negative["x_start"]
    assert positive["x_end"] > positive["x_start"]
    assert found["plating_margin"]["minimum_V"] > 0.0
    assert found["plating_margin"]["below_zero"] is None
    assert "negative active" in found["plating_margin"]["place"]
    series = read_table(folder / "results" / "timeseries.csv")
    assert found["plating_margin"]["minimum_V"] == pytest.approx(series["plating_margin_V"].min(), rel=1e-9)
    assert found["lithium_imbalance"] < 1e-10
    assert case.model.cell == "full"
    assert found["thickness_m"] == pytest.approx(16e-6, rel=1e-12)


def test_what_was_cropped_off_is_told(finished: tuple[FullCellCase, Path, dict[str, Any]]) -> None:
    warnings = "\n".join(finished[2]["warnings"])
    assert "the negative image is 6 x 7 voxels across; it was cropped to the 6 x 6 that both images have" in warnings
    assert "the positive image is 8 x 6 voxels across; it was cropped to the 6 x 6" in warnings


def test_each_electrode_has_fields_in_the_axes_of_its_image(
    finished: tuple[FullCellCase, Path, dict[str, Any]],
) -> None:
    case, folder, _ = finished
    images = electrode_images(case)
    for name, material in (("negative", GRAPHITE), ("positive", NMC)):
        series = folder / "results" / "fields" / name
        files = sorted(path.name for path in series.glob("t_*.vti"))
        assert files == [f"t_{t:013.3f}.vti" for t in (0.0, 20.0, 40.0)]
        fields = read_fields(series / files[-1])
        np.testing.assert_array_equal(
            fields.values["phase"], images[name].image.labels
        )  # the case's axes are the cell's
        x, c_s = fields.values["x"], fields.values["c_s"]
        assert (np.isfinite(x) <= (fields.values["phase"] == 1)).all()
        np.testing.assert_allclose(c_s, material.max_concentration * x, rtol=1e-6)
        # discharge: near the separator (low end) graphite gives more, and NMC takes more
        change = np.nanmean(x[:3]) - np.nanmean(x[-3:])
        assert change < 0.0 if name == "negative" else change > 0.0
    phi_s = [
        np.nanmean(read_fields(folder / "results" / "fields" / name / files[-1]).values["phi_s"]) for name in images
    ]
    assert abs(phi_s[0]) < 1e-3
    assert 3.5 < phi_s[1] < 4.3


def test_profiles_go_from_collector_to_collector(finished: tuple[FullCellCase, Path, dict[str, Any]]) -> None:
    profiles = read_table(finished[1] / "results" / "profiles.csv")
    last = profiles["time_s"] == profiles["time_s"].max()
    assert np.count_nonzero(last) == 9 + 4 + 7
    salt, reaction = profiles["c_e_mol_m3_mean"][last], profiles["reaction_A_m3"][last]
    assert salt[0] > 1000.0 > salt[-1]  # discharge drives salt to the negative electrode
    assert np.nanmin(reaction[:9]) > 0.0 > np.nanmax(reaction[-7:])


def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    data = tables()
    data["protocol"] = [
        {"step": "charge", "rate": 4.0, "until": {"time": 60.0}},
        {"step": "discharge", "rate": 1.0, "until": {"time": 40.0}},
    ]
    data["initial"] = {"stoichiometry": {"negative": 0.8, "positive": 0.4}}
    case = read(data, tmp_path)
    whole = run_case(case, results=tmp_path / "whole")
    assert whole["plating_margin"]["below_zero"] is not None

    class StopError(Exception):
        pass

    def interrupt(share: float, message: str) -> None:
        if share > 0.7 and message.startswith("discharge"):
            raise StopError

    with pytest.raises(StopError):
        run_case(case, results=tmp_path / "parts", progress=interrupt)
    checkpoint = find_checkpoint(case, tmp_path / "parts").checkpoint
    assert checkpoint is not None
    assert run_case(case, results=tmp_path / "parts", checkpoint=checkpoint) == whole
    for name in ("timeseries.csv", "profiles.csv", "fields/negative/fields.pvd", "fields/positive/fields.pvd"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_too_large_a_cell_is_refused_with_the_crop_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = read(tables(), tmp_path)
    available = memory_of(0) + 10**6
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": available}))
    with pytest.raises(ResourceError, match=r"on 9 x 6 x 6 and 7 x 6 x 6 voxels.*A crop of 16 x \d x \d fits"):
        run_case(case, results=tmp_path / "results")


def test_an_electrode_that_holds_less_than_the_other_is_a_warning(tmp_path: Path) -> None:
    data = tables(until={"time": 1.0})
    data["negative"]["image"]["generate"] |= {"shape": [5, 6, 7]}
    found = run_case(read(data, tmp_path), results=tmp_path / "results")
    assert found["capacity_ratio"] < 1.0
    assert any("lithium plates where a charge goes on" in warning for warning in found["warnings"])
