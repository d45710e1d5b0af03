"""A case that asks for the FiPy engine is run by it, and ends where the Newton engine's ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from battsim.case import read_case
from battsim.models.fipy_cell.sweeps import Sweeps
from battsim.output.tables import read_table
from battsim.run import run_case

CASE: dict[str, Any] = {
    "schema": 1,
    "image": {
        "generate": {
            "kind": "spheres",
            "shape": [8, 8, 8],
            "voxel_size": "1 um",
            "active_volume_fraction": 0.5,
            "binder_volume_fraction": 0.1,
            "diameter": {"median": "4 um"},
            "seed": 1,
        }
    },
    "materials": {
        "active": "nmc532-mohtat2020",
        "electrolyte": "lipf6-nyman2008",
        "separator": {"thickness": "6 um", "porosity": 0.47, "bruggeman": 1.5, "layers": 3},
    },
    "solver": {"threads": 1, "time_rtol": 1e-2},
}


TIME = [{"step": "discharge", "rate": "1 C", "until": {"time": "3 s"}}]
VOLTAGE = [
    {"step": "discharge", "rate": "1 C", "until": {"voltage": "4.22 V"}},
    {"step": "rest", "until": {"time": "20 s"}},
]


def ran(directory: Path, engine: str, protocol: list[dict[str, Any]]) -> tuple[dict[str, Any], Any]:
    tables = {"model": {"kind": "resolved", "engine": engine}, "protocol": protocol}
    summary = run_case(read_case(CASE | tables, directory), results=directory / "results")
    return summary, read_table(directory / "results" / "timeseries.csv")


@pytest.mark.parametrize(
    ("protocol", "lowest"),
    [(TIME, 4.24), pytest.param(VOLTAGE, 4.22, marks=pytest.mark.slow)],
    ids=["time", "voltage"],
)
def test_run_by_either_engine_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: list[dict[str, Any]], lowest: float
) -> None:
    for engine in ("newton", "fipy"):
        (tmp_path / engine).mkdir()
    wanted, series = ran(tmp_path / "newton", "newton", protocol)
    steps, plain = [], Sweeps.step

    def counted(self: Sweeps, *args: Any) -> Any:
        steps.append(args[0])
        return plain(self, *args)

    monkeypatch.setattr(Sweeps, "step", counted)
    found, same = ran(tmp_path / "fipy", "fipy", protocol)
    assert len(steps) >= 5
    assert found["stop"]["reason"] == wanted["stop"]["reason"] == "time"
    # neither engine leaves more than 1e-6 of the current in any equation
    assert found["stop"]["time_s"] == pytest.approx(wanted["stop"]["time_s"], rel=1e-4)
    assert found["capacity_Ah_m2"] == pytest.approx(wanted["capacity_Ah_m2"], rel=1e-4)
    assert same["voltage_V"][-1] == pytest.approx(series["voltage_V"][-1], abs=1e-5)
    assert min(same["voltage_V"]) == pytest.approx(min(series["voltage_V"]), abs=1e-5)
    assert lowest - 1e-6 < min(same["voltage_V"]) < 4.2525
    assert max(found["lithium_imbalance"], found["charge_imbalance"], found["salt_drift"]) < 1e-8
    assert not any("null" in warning for warning in found["warnings"])
