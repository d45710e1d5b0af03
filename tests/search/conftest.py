"""A small P2D case whose runs are replaced by formulas, and workers in this process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from battsim.errors import BattsimError
from battsim.output.record import write_json
from battsim.search.plan import SearchPlan, read_search
from battsim.search.search import Crew, OpenCrew, run_search
from battsim.search.study import open_storage
from battsim.sweep.members import RESULTS, Member, begun, ended, put_standing, standing_of
from battsim.sweep.worker import Outcome, RunCase

CASE = """
schema = 1
name = "half"
[model]
kind = "p2d"
cell = "half"
[electrode]
material = "nmc811-chen2020"
thickness = "75.6 um"
porosity = 0.3
active_volume_fraction = 0.6
particle_radius = "5.22 um"
bruggeman = 1.5
conductivity = "0.18 S/m"
[materials]
electrolyte = "lipf6-nyman2008"
counter = "lithium-xu2019"
[materials.separator]
thickness = "12 um"
porosity = 0.47
bruggeman = 1.5
[[protocol]]
step = "discharge"
rate = "1 C"
until = { voltage = "3 V" }
[solver]
time_rtol = 1e-2
[solver.p2d]
points = [4, 6]
radial = 6
"""
THICKNESS, POROSITY = "electrode.thickness", "electrode.porosity"
SPACE = {THICKNESS: {"low": "50 um", "high": "150 um"}, POROSITY: {"low": 0.1, "high": 0.4}}
Function = Callable[[float, float], dict[str, Any]]


def plan_of(**tables: Any) -> SearchPlan:
    """A plan for two parameters and the objective f, with other tables."""
    written = {"trials": 20, "parameters": SPACE, "objective": [{"value": "f", "direction": "maximise"}]}
    return read_search(written | tables)


def case_in(directory: Path, text: str = CASE) -> Path:
    """A directory with the case."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "case.toml").write_text(text, encoding="utf-8")
    return directory


def standing_for(function: Function, log: list[tuple[float, float]] | None = None) -> RunCase:
    """A run that writes numbers of u and v, which go from 0 to 1 over the ranges of both parameters."""

    def run(case: Any, *, results: Path, **_: Any) -> dict[str, Any]:
        u, v = (case.electrode.thickness - 50e-6) / 100e-6, (case.electrode.porosity - 0.1) / 0.3
        if log is not None:
            log.append((u, v))
        found = function(u, v)
        write_json(results / "summary.json", {"kind": "stub"} | found)
        write_json(results / "run.json", {"state": "done", "wall_s": 0.0})
        return found

    return run


def run_here(directory: Path, member: Member, run_one: RunCase) -> Outcome:
    """As a worker does, without reading the case again."""
    now = begun(standing_of(directory), None)
    put_standing(directory, now)
    (directory / RESULTS).mkdir(exist_ok=True)
    try:
        run_one(member.case, results=directory / RESULTS)
    except BattsimError as error:
        put_standing(directory, ended(now, str(error)))
        return Outcome(member.key, "failed", str(error))
    put_standing(directory, ended(now))
    return Outcome(member.key, "done")


def crew(workers: int = 1) -> OpenCrew:
    """Members one after the other in this process, handed out as to so many workers; the last one handed out first."""

    @contextmanager
    def opened() -> Iterator[Crew]:
        def run(runs: Path, run_one: RunCase, more: Any) -> None:
            outcomes: dict[str, Outcome] = {}
            left = list(more(outcomes, workers))
            while left:
                member = left.pop()
                outcomes[member.key] = run_here(runs / member.key, member, run_one)
                left += more(outcomes, workers)

        yield run

    return opened


def search(directory: Path, plan: SearchPlan, function: Function, workers: int = 1, **options: Any) -> dict[str, Any]:
    """Summary of a search for a function."""
    log = options.pop("log", None)
    return run_search(directory, plan, crew(workers), run=standing_for(function, log), **options)


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """All of it, for tests: studies in memory, and no page; tables in SQLite and pictures take longer than the rest."""
    monkeypatch.setattr("battsim.search.search.write_search_page", lambda *_: None)
    storages: dict[Path, Any] = {}

    @contextmanager
    def in_memory(path: Path) -> Iterator[Any]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield storages.setdefault(path, optuna.storages.InMemoryStorage())

    monkeypatch.setattr("battsim.search.search.open_storage", in_memory)
    return SimpleNamespace(
        CASE=CASE,
        THICKNESS=THICKNESS,
        POROSITY=POROSITY,
        SPACE=SPACE,
        plan_of=plan_of,
        case_in=case_in,
        crew=crew,
        search=search,
        standing_for=standing_for,
    )


@pytest.fixture
def on_disk(kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 (which patches first)
    """Studies in SQLite, as they are outside of tests."""
    monkeypatch.setattr("battsim.search.search.open_storage", open_storage)
