"""Every case under cases/ runs through the command line and gives what its expected.toml says."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from scipy.interpolate import CubicSpline

import battsim
from battsim.case import load_case, read_case
from battsim.constants import FARADAY
from battsim.materials.library import active_material
from battsim.materials.types import open_circuit
from battsim.output.record import state_of
from battsim.output.tables import read_table
from battsim.post.transport import effective_transport
from battsim.run import build_image

CASES = {file.parent.name: file.parent for file in sorted((Path(__file__).parent.parent / "cases").glob("*/case.toml"))}
SLOW = (
    "binder-morphology",
    "full-cell",
    "graded-electrode",
    "model-generations",
    "search-screened",
    "sweep-porosity-thickness",
)
"""Run by `pytest -m slow tests/test_cases.py`."""
TEMPLATES = Path(battsim.__file__).parent / "templates"
ORIGINS = ("exact", "published", "own-run")

MARKS = {name: [pytest.mark.slow] if name in SLOW else [] for name in CASES}
EACH_CASE = pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS[name]) for name in CASES])

Tables = dict[str, np.ndarray]
Runner = Callable[[str], "Run"]


# expected.toml


@dataclass(frozen=True)
class Check:
    """One expected value: a key of a JSON file, or a column of a table at a place along another column."""

    file: str
    value: float | str | bool
    origin: str
    source: str
    key: str | None = None
    column: str | None = None
    at: dict[str, float] | None = None
    atol: float | None = None
    rtol: float | None = None

    def __post_init__(self) -> None:
        assert self.origin in ORIGINS, f"origin = {self.origin!r}; use one of {ORIGINS}"
        assert self.source, "source says where the value comes from"
        in_table = self.file.endswith(".csv")
        assert (self.key is None, self.column is None, self.at is None) == (in_table, not in_table, not in_table)
        assert self.at is None or len(self.at) == 1
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        tolerances = [given for given in (self.atol, self.rtol) if given is not None]
        assert len(tolerances) == int(is_number), "a number has one of atol and rtol, anything else has none"
        assert all(given >= 0.0 for given in tolerances)

    @property
    def tolerance(self) -> float:
        """Absolute."""
        assert not isinstance(self.value, str)
        return self.atol if self.atol is not None else (self.rtol or 0.0) * abs(self.value)

    def __str__(self) -> str:
        return self.key or f"{self.column} at {self.at}"


def read_checks(file: Path) -> list[Check]:
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    assert content.keys() == {"schema", "check"}
    assert content["schema"] == 1
    return [Check(**table) for table in content["check"]]


def found(results: Path, check: Check) -> Any:
    """The value in the results that a check is about."""
    if check.key is not None:
        place: Any = json.loads((results / check.file).read_text(encoding="utf-8"))
        for name in check.key.split("."):
            place = place[int(name)] if isinstance(place, list) else place[name]
        return place
    assert check.column is not None
    assert check.at is not None
    table = read_table(results / check.file)
    [(along, where)] = check.at.items()
    assert np.all(np.diff(table[along]) >= 0.0), f"{along} does not grow: nothing can be interpolated along it"
    assert table[along][0] <= where <= table[along][-1], f"{along} = {where} is outside the table"
    once = np.diff(table[along], append=np.inf) > 0.0  # where two steps of a protocol meet, the later row counts
    # rows are as far apart as the solution is smooth: straight lines between them would be off by a millivolt
    return float(CubicSpline(table[along][once], table[check.column][once])(where))


def holds(check: Check, value: Any) -> bool:
    if isinstance(check.value, str | bool):
        return type(value) is type(check.value) and value == check.value
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value - check.value) <= check.tolerance
    )


# runs


@dataclass(frozen=True)
class Run:
    directory: Path
    stdout: str
    stderr: str

    @property
    def results(self) -> Path:
        return self.directory / "results"

    def json(self, name: str) -> Any:
        return json.loads((self.results / name).read_text(encoding="utf-8"), parse_constant=pytest.fail)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs a case of the project on a copy, once, through the command line."""

    @cache
    def once(name: str) -> Run:
        directory = tmp_path_factory.mktemp(name)
        for file in CASES[name].iterdir():
            if file.is_file():
                (directory / file.name).write_bytes(file.read_bytes())
        arguments = [sys.executable, "-c", "from battsim.cli import main; main()", "run", str(directory), "--json"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return Run(directory, done.stdout, done.stderr)

    return once


@pytest.fixture(scope="session")
def half_cell(finished: Runner) -> Run:
    return finished("half-cell")


@pytest.fixture(scope="session")
def series(half_cell: Run) -> Tables:
    return read_table(half_cell.results / "timeseries.csv")


@pytest.fixture(scope="session")
def steps(half_cell: Run) -> Tables:
    return read_table(half_cell.results / "steps.csv")


# the checker


def test_the_checker_tells_right_from_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"list": [{"a|b": 2.0}], "word": "voltage", "yes": true, "none": null}')
    (tmp_path / "t.csv").write_text("time_s,v\n0,1\n10,2\n20,3\n")
    number = Check("a.json", 2.0, "exact", "s", key="list.0.a|b", atol=0.0)
    assert holds(number, found(tmp_path, number))
    assert not holds(replace(number, value=2.1, atol=0.09), found(tmp_path, number))
    assert holds(replace(number, value=2.1, atol=None, rtol=0.05), found(tmp_path, number))
    assert not holds(replace(number, value=2.1, atol=None, rtol=0.04), found(tmp_path, number))
    in_table = Check("t.csv", 2.5, "exact", "s", column="v", at={"time_s": 15.0}, atol=1e-12)
    assert holds(in_table, found(tmp_path, in_table))
    with pytest.raises(AssertionError, match="outside the table"):
        found(tmp_path, replace(in_table, at={"time_s": 20.1}))
    word = Check("a.json", "voltage", "exact", "s", key="word")
    assert holds(word, found(tmp_path, word))
    assert not holds(replace(word, value="time"), found(tmp_path, word))
    assert not holds(Check("a.json", 1.0, "exact", "s", key="yes", atol=0.0), True)
    assert not holds(number, None)
    assert not holds(number, float("nan"))
    with pytest.raises(KeyError):
        found(tmp_path, replace(number, key="list.0.ab"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "guess"},
        {"source": ""},
        {"atol": None},
        {"rtol": 0.1},
        {"atol": -1.0},
        {"value": "text"},
        {"column": "v", "at": {"time_s": 1.0}},
        {"file": "t.csv"},
        {"key": None},
    ],
)
def test_a_check_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    given = {"file": "a.json", "value": 2.0, "origin": "exact", "source": "s", "key": "a", "atol": 0.0}
    Check(**given)
    with pytest.raises(AssertionError):
        Check(**{**given, **wrong})


# all cases


def test_there_are_cases_and_each_says_what_it_must_give() -> None:
    assert {"half-cell", "tortuosity"} <= CASES.keys()
    assert all(len(read_checks(case / "expected.toml")) >= 9 for case in CASES.values())


def test_the_templates_are_the_cases() -> None:
    templates = {file.parent.name: file.read_bytes() for file in TEMPLATES.glob("*/case.toml")}
    of_case = {"half-cell": "half-cell", "p2d": "p2d-chen2020", "tortuosity": "tortuosity"}
    assert templates == {name: (CASES[case] / "case.toml").read_bytes() for name, case in of_case.items()}


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}: {check}", marks=MARKS[name])
        for name, case in CASES.items()
        for check in read_checks(case / "expected.toml")
    ],
)
def test_expected(finished: Runner, name: str, check: Check) -> None:
    value = found(finished(name).results, check)
    assert holds(check, value), f"{check} = {value}, expected {check.value} within {check.tolerance:g} ({check.source})"
    if not isinstance(check.value, str | bool):
        # no tolerance is so loose that it would let 1 % pass, or any other number in place of zero
        wrong = 1.01 * check.value if check.value else 1e-7
        assert not holds(replace(check, value=wrong, atol=check.tolerance, rtol=None), value)


SEEDS = {"p2d-chen2020": None, "full-cell": {"negative.image": 1, "positive.image": 2}}
"""Of cases without a recipe, or with more than one."""


@EACH_CASE
def test_the_answer_and_the_record(finished: Runner, name: str) -> None:
    run = finished(name)
    assert run.stdout.count("\n") == 1
    assert json.loads(run.stdout, parse_constant=pytest.fail) == run.json("summary.json")
    assert run.stderr == ""
    record = run.json("run.json")
    assert state_of(run.results) == record["state"] == "done"
    assert record["error"] is None
    assert record["seed"] == SEEDS.get(name, 1)
    assert record["inputs"] == {"case.toml": hashlib.sha256((CASES[name] / "case.toml").read_bytes()).hexdigest()}
    assert 0.0 < record["wall_s"] < 600.0
    assert record["peak_memory_bytes"] > 2**20
    shares = [float(line.split("%")[0]) for line in (run.results / "run.log").read_text().splitlines()]
    assert shares == sorted(shares)
    assert len(shares) >= 4


@EACH_CASE
def test_the_resolved_case_is_the_same_case(finished: Runner, name: str) -> None:
    run = finished(name)
    written = run.json("case.resolved.json")
    again = read_case(written, run.directory)
    assert again.resolved() == load_case(run.directory).resolved() == written


COMMON = {"run.json", "case.resolved.json", "summary.json", "run.log"}
CURVES = {"timeseries.csv", "steps.csv", "profiles.csv", "voltage.png"}
RESOLVED = CURVES | {"microstructure.json", "fields/fields.pvd", "sections.png"}
BASELINES = {
    *(
        f"{table}_{name}.csv"
        for table in ("timeseries", "steps", "profiles")
        for name in ("p2d_bruggeman", "p2d_image")
    ),
    *(
        f"ladder/{table}_{rung}.csv"
        for table in ("timeseries", "steps", "profiles")
        for rung in ("b", "sigma", "radius_distribution")
    ),
    *("gap.csv", "p2d_image.bpx.json", "p2d_image_pybamm.py"),
    *("gap.png", "ladder.png", "profiles.png"),
}
STACK = CURVES | {
    *("microstructure.json", "fields/negative/fields.pvd", "fields/positive/fields.pvd"),
    *("sections_negative.png", "sections_positive.png"),
}
OWN_FILES = {
    "full-cell": STACK,
    "half-cell": RESOLVED,
    "baseline-gap": RESOLVED | BASELINES,
    "binder-morphology": RESOLVED | BASELINES,
    "graded-electrode": RESOLVED,
    "model-generations": RESOLVED | BASELINES,
    "search-screened": RESOLVED,
    "sweep-porosity-thickness": RESOLVED,
    "p2d-chen2020": CURVES,
    "tortuosity": {"microstructure.json"},
}


@EACH_CASE
def test_only_what_the_contract_names_is_left(finished: Runner, name: str) -> None:
    results = finished(name).results
    left = {file.relative_to(results).as_posix() for file in results.rglob("*") if file.is_file()}
    files = {file for file in left if not file.startswith("checkpoints/") and not file.endswith(".vti")}
    assert files == COMMON | OWN_FILES[name]
    assert len([file for file in left if file.startswith("checkpoints/")]) == (0 if name == "tortuosity" else 4)


# tortuosity


def test_tortuosity_against_another_preconditioner(finished: Runner) -> None:
    run = finished("tortuosity")
    case = load_case(run.directory)
    image = build_image(case)
    directions = run.json("summary.json")["directions"]
    assert list(directions) == ["x", "y", "z"]
    for axis, own in directions.items():
        peer = effective_transport(
            image,
            {"pore": 1.0, "binder": 0.125},
            axis=axis,
            porosity={"binder": 0.5},
            tolerance=1e-7,
            solver="amg",
        )
        # D_eff comes from above, and no further away than it says; the peer's own error is below 1e-7
        assert -1e-7 <= own["D_eff"] / peer.D_eff - 1.0 <= own["error_estimate"] + 1e-7
        assert own["error_estimate"] <= 1e-4
        assert own["tau"] == pytest.approx(0.45 / own["D_eff"], rel=1e-12)
        assert own["tau_percolating"] < own["tau"]
        # first order in the potential's error, where D_eff is second order: at most sqrt(1e-4), twice for round-off
        assert own["flux_imbalance"] <= 2e-2
        assert own["residual"] <= 2e-2


# half cell: tables

COLUMNS = """time_s, step, current_A_m2, voltage_V, capacity_Ah_m2, energy_Wh_m2, soc, c_e_min_mol_m3, c_e_max_mol_m3,
x_surf_min, x_surf_max, x_mean, x_outside_fit_share, temperature_K, loss_electrolyte_ohmic_V,
loss_electrolyte_concentration_V, loss_kinetics_V, loss_solid_diffusion_V, loss_electronic_V, loss_counter_V"""


def test_columns_and_cells_of_the_tables(half_cell: Run, series: Tables, steps: Tables) -> None:
    with (half_cell.results / "timeseries.csv").open(newline="") as stream:
        columns = next(csv.reader(stream))
    contract = COLUMNS.replace("\n", " ").split(", ")
    assert columns[: len(contract)] == contract
    assert all(name.startswith("heat_") for name in columns[len(contract) :])
    named = {"dt_s", "newton_iterations", "linear_iterations", "residual", "lithium_imbalance", "charge_imbalance"}
    assert named <= steps.keys()
    assert all(np.isfinite(column).all() for column in series.values())
    assert np.all(series["step"] == 0.0)
    assert np.all(series["temperature_K"] == 298.15)
    assert np.all(np.diff(series["time_s"]) > 0.0)
    # one row for the start, and one per step
    np.testing.assert_allclose(series["time_s"], np.concatenate([[0.0], np.cumsum(steps["dt_s"])]), rtol=1e-8)
    assert np.all(series["x_surf_min"] <= series["x_surf_max"])
    assert np.all(series["c_e_min_mol_m3"] <= series["c_e_max_mol_m3"])


def test_every_step_conserves(steps: Tables) -> None:
    assert steps["lithium_imbalance"].max() <= 1e-10
    assert steps["charge_imbalance"].max() <= 1e-8
    assert steps["failed"].sum() <= 2.0  # a step that grew by two once too often is cut
    assert steps["rejected"].sum() <= 2.0
    # local error over its tolerance; up to 1.5 a step is kept
    assert steps["local_error"].max() <= 1.5
    assert steps["newton_iterations"].max() <= 6.0


def test_capacity_and_energy_are_integrals(series: Tables, half_cell: Run) -> None:
    t, current, voltage = series["time_s"], series["current_A_m2"], series["voltage_V"]

    def integral(y: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(t))]) / 3600.0

    # ten digits in the file; the last step meets the current to 1e-7 only, and is a twentieth of the whole
    assert series["capacity_Ah_m2"] == pytest.approx(integral(current), rel=1e-7, abs=1e-9)
    assert series["energy_Wh_m2"] == pytest.approx(integral(voltage * current), rel=1e-7, abs=1e-9)
    summary = half_cell.json("summary.json")
    assert summary["capacity_Ah_m2"] == pytest.approx(series["capacity_Ah_m2"][-1], rel=1e-9)
    assert summary["energy_Wh_m2"] == pytest.approx(series["energy_Wh_m2"][-1], rel=1e-9)
    assert summary["mean_voltage_V"] == pytest.approx(summary["energy_Wh_m2"] / summary["capacity_Ah_m2"], rel=1e-12)
    assert pytest.approx(summary["current_1C_A_m2"], rel=1e-7) == current


def test_lithium_in_the_solid_is_the_charge_that_passed(series: Tables) -> None:
    active = active_material("nmc811-chen2020")
    # all of the active material is in the model: half of 60 um, per area of the cell
    charge = np.diff(series["x_mean"]) * 0.5 * 60e-6 * active.max_concentration * FARADAY
    # ten digits of x_mean: 1e-10 of 57 Ah/m2
    assert charge / 3600.0 == pytest.approx(np.diff(series["capacity_Ah_m2"]), abs=2e-8)
    window = active.stoichiometry_soc0 - active.stoichiometry_soc100
    assert series["soc"] == pytest.approx(1.0 - (series["x_mean"] - 0.27) / window, abs=1e-8)


def test_losses_sum_to_the_distance_from_open_circuit(series: Tables) -> None:
    names = [name for name in series if name.startswith("loss_")]
    assert len(names) == 6
    U, _ = open_circuit(active_material("nmc811-chen2020"), series["x_mean"], 298.15)
    # Newton's residual of the potentials, and ten digits of x_mean
    assert sum(series[name] for name in names) == pytest.approx(U - series["voltage_V"], abs=1e-7)
    assert all(np.all(series[name] > 0.0) for name in names)


def test_the_run_ends_on_the_voltage(series: Tables, half_cell: Run) -> None:
    assert series["voltage_V"][-1] == pytest.approx(3.5, abs=1e-9)
    assert np.all(series["voltage_V"][:-1] > 3.5)
    stop = half_cell.json("summary.json")["stop"]
    assert stop["time_s"] == pytest.approx(series["time_s"][-1], rel=1e-9)


def test_warnings_name_what_was_met(half_cell: Run, series: Tables) -> None:
    warnings = half_cell.json("summary.json")["warnings"]
    share = max(series["x_outside_fit_share"])
    assert 0.0 < share < 0.05
    assert any(f"{share:.1%} of the reacting surface" in warning for warning in warnings)
    assert len(warnings) == 2


# half cell: fields


@pytest.fixture(scope="session")
def saved(half_cell: Run) -> pyvista.BaseReader:
    return pyvista.get_reader(half_cell.results / "fields" / "fields.pvd")


def fields_at(saved: pyvista.BaseReader, number: int) -> dict[str, np.ndarray]:
    """Arrays of one saved time by name without unit, shape (60, 20, 20)."""
    saved.set_active_time_point(number)
    image = saved.read()[0]
    assert image.dimensions == (61, 21, 21)
    assert image.spacing == pytest.approx((1e-6, 1e-6, 1e-6))
    return {name.split(" [")[0]: image.cell_data[name].reshape((60, 20, 20), order="F") for name in image.cell_data}


def test_fields_are_saved_when_asked(saved: pyvista.BaseReader, half_cell: Run) -> None:
    end = half_cell.json("summary.json")["stop"]["time_s"]
    assert saved.time_values == pytest.approx([*np.arange(0.0, 3001.0, 300.0), end], abs=1e-3)
    assert len(list((half_cell.results / "fields").glob("*.vti"))) == len(saved.time_values)


def test_fields_are_defined_where_their_phase_is(saved: pyvista.BaseReader, half_cell: Run) -> None:
    image = build_image(load_case(half_cell.directory))
    pore, active, binder = (image.mask(name) for name in image.phases)
    assert half_cell.json("microstructure.json")["removed"] == []
    for number in (0, len(saved.time_values) - 1):
        fields = fields_at(saved, number)
        assert np.array_equal(fields["phase"], image.labels)
        defined = {name: np.isfinite(values) for name, values in fields.items()}
        for name, where in (("c_e", pore | binder), ("phi_e", pore | binder), ("phi_s", active | binder)):
            assert np.array_equal(defined[name], where)
        assert np.array_equal(defined["c_s"], active)
        # a current has a direction only at a surface, which voxels inside a particle have not
        assert defined["j"].any()
        assert not (defined["j"] & ~active).any()


def test_fields_are_the_state_of_the_table(saved: pyvista.BaseReader, series: Tables) -> None:
    c_max = active_material("nmc811-chen2020").max_concentration
    for number, time in enumerate(saved.time_values):
        fields = fields_at(saved, number)
        x_mean = np.interp(time, series["time_s"], series["x_mean"])  # it grows evenly
        # single precision, 12000 values; the name of the last file cuts its time to milliseconds
        assert np.nanmean(fields["c_s"], dtype=np.float64) / c_max == pytest.approx(x_mean, rel=1e-6)
        assert np.nanmax(fields["phi_s"]) < 5.0
        row = int(np.searchsorted(series["time_s"], time * (1.0 - 1e-9)))
        rows = slice(max(row - 1, 0), row + 1)
        # the separator's layers are in the table's range, and not in the files; a parabola passes its ends by little
        assert np.nanmin(fields["c_e"]) >= series["c_e_min_mol_m3"][rows].min() * (1.0 - 1e-4)
        assert np.nanmax(fields["c_e"]) <= series["c_e_max_mol_m3"][rows].max() * (1.0 + 1e-4)
    assert np.nanmax(fields["phi_s"][-1]) > 3.5 > np.nanmin(fields["phi_e"])


def test_salt_is_poor_in_the_depth_of_the_electrode(saved: pyvista.BaseReader) -> None:
    fields = fields_at(saved, 5)
    # means of slabs of 12 um: single layers near the collector differ by less than their dead ends do
    along = [np.nanmean(slab) for slab in np.split(fields["c_e"], 5)]
    # discharge: lithium enters from the separator, and its salt falls towards the collector
    assert np.all(np.diff(along) < 0.0)
    assert fields["j"][np.isfinite(fields["j"])].mean() < 0.0
