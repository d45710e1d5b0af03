"""A search from its plan to its table, pictures and page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from battsim.errors import BattsimError
from battsim.output.record import write_json
from battsim.run import run_case
from battsim.run.drawing import drawing
from battsim.run.sinks import Report, part_of, silent
from battsim.search.designs import Designer, designer_of
from battsim.search.loop import Loop, judged, once
from battsim.search.plan import SearchPlan
from battsim.search.results import SUMMARY_FILE, TABLE_FILE, Final, Outcome, design_of, rows_of, summary_of, write_rows
from battsim.search.screening import FOLDER, finalists, run_screening
from battsim.search.show import write_search_page
from battsim.search.study import DATABASE, Answer, Finished, State, finished, importance_of, open_storage, open_study
from battsim.sweep.engine import More, Workers, connected, prepare, run_on
from battsim.sweep.members import RUNS, is_done, locked, member_of, standing_of
from battsim.sweep.plan import Limits
from battsim.sweep.worker import RunCase

PAGE = "search.html"
Crew = Callable[[Path, RunCase, More], None]
"""Runs members in a folder as long as it is handed more."""
OpenCrew = Callable[[], AbstractContextManager[Crew]]


@contextmanager
def dask_crew(workers: Workers, limits: Limits) -> Iterator[Crew]:
    """Workers of dask, connected to once they are needed. Raises ResourceError as `battsim.sweep.engine.connected`."""
    with ExitStack() as stack:
        clients: list[Any] = []

        def run(runs: Path, run_one: RunCase, more: More) -> None:
            if not clients:
                clients.append(stack.enter_context(connected(workers, limits)))
            run_on(clients[0], [], runs, limits, silent, run_one, more)  # what is under way, the loop says

        yield run


def run_search(
    directory: Path,
    plan: SearchPlan,
    crew: OpenCrew,
    *,
    allow_outside: bool = False,
    progress: Report | None = None,
    run: RunCase = run_case,
    screen: RunCase = run_screening,
) -> dict[str, Any]:
    """Summary of a search; what is there of it already is kept, and gone on with.

    Whatever it has come to is in the table, search.csv, even where the search ends early.

    Parameters
    ----------
    crew
        What runs members.
    run, screen
        What runs a case, and what judges it in a screening.

    Raises
    ------
    CaseError
        Where an objective or a constraint is no number of the results.
    CheckpointError
        Where the database belongs to another search, or is damaged.
    ResourceError
        Where the scheduler cannot be reached or is lost, or no worker comes.
    BusyError
        Where another process runs a sweep or a search in the directory.
    """
    report, began = progress or silent, time.perf_counter()
    designer = designer_of(directory, plan, screened=plan.screening is not None, allow_outside=allow_outside)
    runs, screened = directory / RUNS, directory / FOLDER
    judge = runs if plan.screening is None else screened
    for folder in (runs, judge):
        folder.mkdir(exist_ok=True)
    how = screen if plan.screening is not None and plan.screening.model == "p2d" else run
    identity = plan.identity() | {"case": member_of(designer.base, {}, directory, allow_outside=allow_outside).key}
    with ExitStack() as stack:
        for folder in dict.fromkeys((runs, judge)):
            stack.enter_context(locked(folder))
        storage = stack.enter_context(open_storage(directory / DATABASE))
        study = open_study(storage, plan, "search", identity)
        beside = open_study(storage, plan, "random", identity)
        run_members = stack.enter_context(crew())
        shares = _shares(plan)
        finals: list[Final] = []
        loop = Loop(designer, study, "search", plan.trials, judge, part_of(report, 0.0, shares[0]))
        yardstick = Loop(designer, beside, "random", plan.random, judge, part_of(report, shares[0], shares[1]))
        try:
            for each in (loop, yardstick):
                if each.has_work:
                    run_members(judge, how, each.more)
            if plan.screening is not None and not loop.given_up:
                finals = _finals(
                    finished(study, "search"), designer, runs, run_members, part_of(report, shares[1], 1.0), run
                )
        finally:
            outcome = Outcome(
                tuple(finished(study, "search")), tuple(finished(beside, "random")), tuple(finals), loop.given_up
            )
            rows = rows_of(outcome, designer)
            write_rows(directory / TABLE_FILE, rows)
        importance = importance_of(study, plan)
    summary = summary_of(outcome, designer, time.perf_counter() - began) | {"importance": importance}
    write_json(directory / SUMMARY_FILE, summary)
    with drawing(report):
        write_search_page(directory / PAGE, outcome, designer, summary, rows)
    return summary


def _shares(plan: SearchPlan) -> tuple[float, float]:
    """At which share of the progress the search ends, and the designs at random beside it."""
    finals = 0 if plan.screening is None else plan.screening.finalists + plan.screening.checks
    total = plan.trials + plan.random + finals
    return plan.trials / total, (plan.trials + plan.random) / total


def _finals(
    trials: Sequence[Finished],
    designer: Designer,
    runs: Path,
    run_members: Crew,
    report: Report,
    run: RunCase,
) -> list[Final]:
    """The finalists of a screening, computed as the case says; those that are done already are not run again."""
    plan = designer.plan
    full = replace(designer, screened=False)
    best, checks = finalists(trials, plan)
    chosen = [(trial, full.members(design_of(trial, designer))) for trial in (*best, *checks)]
    distinct = {member.key: member for _, members in chosen for member in members}
    to_do = [member for member in distinct.values() if not is_done(runs / member.key)]
    if to_do:
        prepare(to_do, runs)
        run_members(runs, run, once(to_do, report))
    found = []
    for number, (trial, members) in enumerate(chosen):
        keys = tuple(member.key for member in members)
        errors = [standing.error for key in keys if (standing := standing_of(runs / key)).state != "done"]
        state: State = "failed"
        answer = Answer(keys, True, next(iter(errors), None))
        if not errors:
            try:
                own = judged(members, runs, plan)
                state, answer = "done" if own.feasible else "infeasible", own.answer(members)
            except BattsimError as error:
                answer = Answer(keys, True, str(error))
        final = Finished(trial.number, "final", state, trial.params, answer)
        found.append(Final(trial, number >= len(best), final))
    return found
