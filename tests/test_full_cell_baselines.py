"""The homogenised cells beside a full cell on two images: numbers, files, pictures, and where there is none."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from battsim.case import read_case
from battsim.errors import ImpossibleError
from battsim.homogenise import BASELINES
from battsim.materials.bpx import read_bpx
from battsim.materials.library import active_material
from battsim.materials.types import open_circuit
from battsim.output.tables import read_table
from battsim.run import baselines, run_case

CASE = Path(__file__).parent.parent / "cases" / "full-cell" / "case.toml"
RUNGS = ["bruggeman", "+b", "+sigma", "+a", "+radius distribution"]
SETS = {"negative": "graphite-chen2020", "positive": "nmc811-chen2020"}


def tables() -> dict[str, Any]:
    """The project's case on small images: a short charge that plates lithium."""
    data = tomllib.loads(CASE.read_text(encoding="utf-8"))
    for name, shape in (("negative", [10, 9, 9]), ("positive", [8, 9, 9])):
        data[name]["image"]["generate"] |= {"shape": shape, "diameter": {"median": "4 um"}}
    data["materials"]["separator"]["layers"] = 4
    data["initial"] = {"soc": 0.6}
    data["protocol"] = [
        {"step": "rest", "until": {"time": 5.0}},
        {"step": "charge", "rate": 5.0, "until": {"time": 60.0}},
    ]
    data["model"]["baseline"] = True
    data["output"] = {"fields": [], "every": 20.0}
    return data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("full")
    results = folder / "results"
    return results, run_case(read_case(tables(), folder), results=results)


def test_both_baselines_and_the_ladder_are_compared(finished: tuple[Path, dict[str, Any]]) -> None:
    results, found = finished
    assert json.loads((results / "summary.json").read_text()) == found
    assert list(found["baselines"]) == list(BASELINES)
    assert [rung["rung"] for rung in found["ladder"]] == [*RUNGS, "resolved"]
    assert found["compared_step"] == 1
    rows = read_table(results / "timeseries.csv")
    charged = rows["capacity_Ah_m2"][rows["step"] == 1]
    for name, gap in found["baselines"].items():
        assert gap["capacity_Ah_m2"] == pytest.approx(np.ptp(charged), rel=1e-9)
        assert 0.0 < gap["voltage_rms_V"] < 0.1
        step = {
            key: found["ladder"][k]["mean_voltage_V"]
            for k, key in ((RUNGS.index(BASELINES[name]), "ours"), (-1, "all"))
        }
        assert gap["mean_voltage_difference_V"] == pytest.approx(step["ours"] - step["all"], abs=1e-9)
    assert found["ladder"][1]["dV"] != 0.0


def test_the_plating_margin_is_that_of_each_model(finished: tuple[Path, dict[str, Any]]) -> None:
    results, found = finished
    assert found["plating_margin"]["below_zero"] is not None
    for name, gap in found["baselines"].items():
        series = read_table(results / f"timeseries_{name}.csv")
        margin = gap["plating_margin"]
        assert margin["minimum_V"] == pytest.approx(series["plating_margin_V"].min(), rel=1e-9)
        assert margin["minimum_V"] == pytest.approx(found["plating_margin"]["minimum_V"], abs=0.05)
        assert margin["below_zero"]["time_s"] >= 5.0
        assert margin["place"].startswith("the negative electrode ")


def test_each_electrode_is_homogenised_from_its_own_image(finished: tuple[Path, dict[str, Any]]) -> None:
    results, found = finished
    measured = json.loads((results / "microstructure.json").read_text())
    homogenised = found["homogenised"]
    assert set(homogenised) == {"negative", "positive", "stops", "salt_limited"}
    limits = homogenised["salt_limited"]
    # what the textbook takes for the transport of ions is more than there is
    assert limits["p2d_bruggeman"]["current_A_m2"] > limits["p2d_image"]["current_A_m2"] > 0.0
    assert limits["p2d_image"]["rate_C"] == limits["p2d_image"]["current_A_m2"] / found["current_1C_A_m2"]
    assert homogenised["stops"] == dict.fromkeys(RUNGS, "time")
    for name, depth in (("negative", 10e-6), ("positive", 8e-6)):
        told, transport = homogenised[name], measured[name]["transport"]
        assert told["thickness_m"] == pytest.approx(depth, rel=1e-12)
        assert told["b"] == transport["ionic"]["b"]
        assert told["sigma_eff_S_m"] == transport["electronic"]["sigma_eff_S_m"]
        assert told["eps_s"] == pytest.approx(measured[name]["phases"]["active"]["volume_fraction"], rel=0.1)
        material = active_material(SETS[name])
        window = abs(material.stoichiometry_soc100 - material.stoichiometry_soc0)
        capacity = told["eps_s"] * depth * window * material.max_concentration * 96485.33212 / 3600.0
        assert found["electrodes"][name]["capacity_Ah_m2"] == pytest.approx(capacity, rel=1e-6)


def test_tables_and_pictures_are_there(finished: tuple[Path, dict[str, Any]]) -> None:
    results, _ = finished
    for name in BASELINES:
        for table in ("timeseries", "steps", "profiles"):
            assert (results / f"{table}_{name}.csv").is_file()
    assert {file.name for file in (results / "ladder").glob("timeseries_*.csv")} == {
        f"timeseries_{rung}.csv" for rung in ("b", "sigma", "radius_distribution")
    }
    for picture in ("voltage", "gap", "ladder", "profiles"):
        assert (results / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    gap = read_table(results / "gap.csv")
    assert np.abs(gap["p2d_image_difference_V"] - (gap["p2d_image_voltage_V"] - gap["voltage_V"])).max() < 1e-8


def test_the_bpx_file_is_the_same_cell(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A case without an image, of everything that the file says, runs to the voltage of the image-based cell."""
    results, found = finished
    cell = read_bpx(results / "p2d_image.bpx.json")
    assert cell.initial_soc == pytest.approx(0.6, abs=1e-12)
    assert cell.negative is not None
    assert cell.negative.transport_efficiency == found["homogenised"]["negative"]["b"]
    (tmp_path / "cell.json").write_bytes((results / "p2d_image.bpx.json").read_bytes())
    data = tables()
    case = {
        **{key: data[key] for key in ("schema", "initial", "protocol", "output")},
        "model": {"kind": "p2d", "cell": "full"},
        "negative": {"material": "cell.json"},
        "positive": {"material": "cell.json"},
        "materials": {"electrolyte": "cell.json", "separator": "cell.json"},
        "cell": {"capacity": f"{found['current_1C_A_m2']!r} Ah/m^2"},
        "solver": {"time_rtol": data["solver"]["time_rtol"]},
    }
    run_case(read_case(case, tmp_path), results=tmp_path / "results")
    ours, theirs = (
        read_table(file) for file in (results / "timeseries_p2d_image.csv", tmp_path / "results" / "timeseries.csv")
    )
    ends = [float(table["voltage_V"][-1]) for table in (ours, theirs)]
    # both potentials are sampled to 0.02 mV, the exchange current to 1e-4 of an overpotential of 50 mV
    assert ends[1] == pytest.approx(ends[0], abs=5e-5)
    assert ends[0] - ours["voltage_V"][0] > 0.1


def module_of(file: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if importlib.util.find_spec("pybamm") is None:  # its tables are looked at, no function of it is called
        monkeypatch.setitem(sys.modules, "pybamm", SimpleNamespace(Interpolant=None))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pybamm_module_has_both_electrodes(
    finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, found = finished
    module = module_of(results / "p2d_image_pybamm.py", monkeypatch)
    values, x = module.get_parameter_values(), np.linspace(0.3, 0.85, 50)
    assert not any("lithium" in key.lower() for key in values)
    assert "DFN()" in module.__doc__
    for name, material in ((name, active_material(each)) for name, each in SETS.items()):
        side, told = name.capitalize(), found["homogenised"][name]
        assert values[f"{side} particle radius [m]"] == told["radius_m"]
        exponent = values[f"{side} electrode Bruggeman coefficient (electrolyte)"]
        assert values[f"{side} electrode porosity"] ** exponent == pytest.approx(told["b"], rel=1e-12)
        U = np.interp(x, *module.TABLES[f"{name}_U"])
        assert open_circuit(material, x, 298.15)[0] == pytest.approx(U, abs=3e-4)  # straight lines between entries
        start = found["electrodes"][name]["x_start"]
        initial = values[f"Initial concentration in {name} electrode [mol.m-3]"]
        assert initial == pytest.approx(start * material.max_concentration, rel=1e-9)
        assert values[f"{side} electrode OCP [V]"].__name__ == f"{name}_open_circuit_potential"


def test_what_cannot_be_homogenised_or_compared_costs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rungs that are no baseline cannot pass the current, and the step is over before a comparison would begin."""
    data, labels = tables(), np.ones((6, 4, 4), np.uint8)
    labels[:, 0] = 0
    np.save(tmp_path / "plates.npy", labels)
    for name in SETS:
        image = {"voxel_size": 1e-6, "through_plane": "x", "labels": {"pore": 0, "active": 1}}
        data[name]["image"] = {"file": "plates.npy", **image}
    data["protocol"] = [{"step": "discharge", "rate": 1.0, "until": {"time": 10.0}}]
    run_cell = baselines.run_cell

    def refuse(*arguments: Any, suffix: str, **named: Any) -> Any:
        if suffix not in ("_p2d_bruggeman", "_p2d_image"):
            raise ImpossibleError("the surface is full")
        return run_cell(*arguments, suffix=suffix, **named)

    monkeypatch.setattr(baselines, "run_cell", refuse)
    found = run_case(read_case(data, tmp_path), results=tmp_path / "results")
    assert found["stop"]["reason"] == "time"
    assert list(found["homogenised"]["stops"]) == list(BASELINES.values())
    assert "the homogenised cell '+b' was left out: the surface is full" in found["warnings"]
    (short,) = [line for line in found["warnings"] if "were not compared" in line]
    assert "the window starts 60 s after the step began" in short
    data["protocol"][0]["until"] = {"time": 100.0}
    found = run_case(read_case(data, tmp_path), results=tmp_path / "longer")
    assert list(found["baselines"]) == list(BASELINES)
    assert found["ladder"] == []
    assert (tmp_path / "longer" / "gap.csv").is_file()
    assert (tmp_path / "longer" / "profiles.png").is_file()


def test_an_electrode_without_a_path_has_no_homogenised_cell(tmp_path: Path) -> None:
    data, labels = tables(), np.ones((6, 4, 4), np.uint8)
    labels[:, 0] = 0
    np.save(tmp_path / "open.npy", labels)
    labels[-1] = 1  # no pore at the collector
    np.save(tmp_path / "closed.npy", labels)
    for name, file in (("negative", "open.npy"), ("positive", "closed.npy")):
        image = {"voxel_size": 1e-6, "through_plane": "x", "labels": {"pore": 0, "active": 1}}
        data[name]["image"] = {"file": file, **image}
    data["protocol"] = [{"step": "discharge", "rate": 1.0, "until": {"time": 10.0}}]
    data["initial"] = {"soc": 0.9}
    found = run_case(read_case(data, tmp_path), results=tmp_path / "results")
    assert found["stop"]["reason"] == "time"
    assert found["baselines"] == {}
    assert found["ladder"] == []
    assert found["homogenised"]["stops"] == {}
    assert found["homogenised"]["positive"]["b"] == 0.0
    (told,) = [line for line in found["warnings"] if line.startswith("no homogenised cell was run")]
    assert "no path of electrolyte leads through the positive electrode" in told
    assert (tmp_path / "results" / "voltage.png").is_file()
