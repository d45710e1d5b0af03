"""A case at several rates and on several columns of its image, in one process; runs on one column share its mesh.

Each run is a folder of results of its own, `rates/<rate>` or `columns/<number>/rates/<rate>`, with everything that a
single run leaves. A study that was interrupted goes on with the run that was interrupted; one that is done takes more
rates or columns on resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from battsim.case import CASE_FILE, CellCase, FullCellCase, ResolvedCase
from battsim.errors import CaseError, ImpossibleError, NotConvergedError
from battsim.output.record import clear, recorded, write_json
from battsim.output.study import COLUMNS, RATES, STUDY_FILE
from battsim.output.study_pictures import draw_study
from battsim.output.tables import TableWriter
from battsim.post.spread import spread
from battsim.run import built_cell, find_checkpoint, finished_summary, input_files, run_case
from battsim.run.drawing import drawing
from battsim.run.place import named_after
from battsim.run.resolved import BuiltCell
from battsim.run.sinks import Report, part_of, silent
from battsim.sweep.columns import columns_of

OF_RUN = ("capacity_Ah_m2", "capacity_mAh_g", "energy_Wh_m2", "mean_voltage_V")
OF_GAP = ("mean_voltage_difference_V", "voltage_rms_V", "capacity_ratio")
Failed = (ImpossibleError, NotConvergedError)
"""What ends one run of a study, and not the study."""


@dataclass(frozen=True, slots=True)
class Study:
    """What is asked for beside the case itself.

    Attributes
    ----------
    rates
        C-rates, 1/h; empty: what the case says.
    columns
        How many; 1: the case's own alone.
    """

    rates: tuple[float, ...] = ()
    columns: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """One run of a study; `column` counts from 1, `rate` is None where the protocol stays as it is."""

    case: CellCase
    folder: Path
    column: int
    rate: float | None


def run_study(
    case: CellCase, study: Study, *, results: Path, progress: Callable[[float, str], None] | None = None
) -> dict[str, Any]:
    """Summary of a study: each run, and the spread over the columns; runs that are done already are not run again.

    A run without a physical solution, or that does not converge, is left out with its message; the others go on.

    Raises
    ------
    CaseError
        Where the protocol says no rate to replace, or the images have no room for the columns.
    CheckpointError
        Where there are results of other inputs.
    BattsimError, ImageError, MeshError
        Where the input cannot be read or meshed.
    """
    report = progress or silent
    members = _members(case, study, results)
    with recorded(results, inputs=input_files(case), seed=None, threads=case.solver.threads), named_after(case):
        write_json(results / STUDY_FILE, {"rates": study.rates, "columns": study.columns, "case": case.resolved()})
        runs = list(_runs(members, results, report))
        summary = _summary(runs)
        _write_table(results / "runs.csv", runs)
        write_json(results / "summary.json", summary)
        if sum(run["state"] == "done" for run in runs) > 1:
            with drawing(report):
                draw_study(results, summary, title=case.name)
    return summary


def _members(case: CellCase, study: Study, results: Path) -> list[_Member]:
    if study.columns > 1 and not isinstance(case, ResolvedCase | FullCellCase):
        raise CaseError(
            f'{case.directory / CASE_FILE}: model.kind = "{case.model.kind}" has no image to take columns from'
        )
    columns = columns_of(case, study.columns) if isinstance(case, ResolvedCase | FullCellCase) else [case]
    members = []
    for number, column in enumerate(columns, 1):
        folder = results / COLUMNS / str(number) if study.columns > 1 else results
        for rate in study.rates or (None,):
            if rate is None:
                members.append(_Member(column, folder, number, None))
            else:
                members.append(_Member(at_rate(column, rate), folder / RATES / f"{rate:g}C", number, rate))
    return members


def at_rate(case: CellCase, rate: float) -> CellCase:
    """The case with another rate in every step of its protocol that has one.

    Raises
    ------
    CaseError
        Where no step is held at a rate, or two are held at different ones.
    """
    rates = {step.rate for step in case.protocol if step.rate is not None}
    if len(rates) != 1:
        what = f"is held at several rates ({', '.join(f'{r:g} C' for r in sorted(rates))})" if rates else "has no rate"
        raise CaseError(
            f"{case.directory / CASE_FILE}: protocol: {what}, so that there is none that --rates could replace; write "
            'one protocol per case, or hold every discharge and charge at the same rate, such as rate = "1 C"'
        )
    protocol = tuple(step if step.rate is None else step.model_copy(update={"rate": rate}) for step in case.protocol)
    return case.model_copy(update={"protocol": protocol})


def _runs(members: Sequence[_Member], results: Path, report: Report) -> Iterator[dict[str, Any]]:
    """Every run of a study in turn; those on one column share what `built_cell` builds."""
    with ExitStack() as stack:
        built: BuiltCell | None = None
        of_column = 0
        for number, member in enumerate(members):
            told = _named(member, part_of(report, number / len(members), (number + 1) / len(members)))
            found = finished_summary(member.case, member.folder)
            if found is None:
                try:
                    if of_column != member.column:
                        stack.close()  # the column before is let go before the next takes its memory
                        built = None
                        built = _build(member, stack, told)
                        of_column = member.column
                    found = _run(member, told, built)
                except Failed as error:
                    told(1.0, f"failed: {error}")
                    yield _entry(member, results, error=str(error))
                    continue
            yield _entry(member, results, found)


def _named(member: _Member, report: Report) -> Report:
    """Progress that says which run it is of."""
    rate = "" if member.rate is None else f", {member.rate:g} C"
    return lambda share, message: report(share, f"column {member.column}{rate}: {message}")


def _build(member: _Member, stack: ExitStack, report: Report) -> BuiltCell | None:
    """What the runs of a column share; None for models whose runs build their own."""
    if not isinstance(member.case, ResolvedCase | FullCellCase):
        return None
    return stack.enter_context(built_cell(member.case, report))


def _run(member: _Member, report: Report, built: BuiltCell | None) -> dict[str, Any]:
    found = find_checkpoint(member.case, member.folder)
    for note in found.notes:
        report(0.0, f"warning: {note}")
    if found.checkpoint is None and member.folder.is_dir():
        clear(member.folder)
    return run_case(member.case, results=member.folder, progress=report, checkpoint=found.checkpoint, built=built)


def _entry(
    member: _Member, results: Path, found: dict[str, Any] | None = None, error: str | None = None
) -> dict[str, Any]:
    """One run as the summary of the study lists it."""
    found = found or {}
    return {
        "column": member.column,
        "rate_C": member.rate,
        "folder": member.folder.relative_to(results).as_posix(),
        "state": "done" if error is None else "failed",
        "error": error,
        "stop": found.get("stop", {}).get("reason"),
        **{key: found.get(key) for key in OF_RUN},
        "baselines": {
            name: {key: each.get(key) for key in OF_GAP} for name, each in found.get("baselines", {}).items()
        },
        "ladder": [{key: rung[key] for key in ("rung", "dV", "dQ_Ah_m2")} for rung in found.get("ladder", [])],
    }


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs, and per rate the spread over its columns: of the run itself, of its gaps, and of each rung."""
    rates = list(dict.fromkeys(run["rate_C"] for run in runs))
    return {
        "kind": "study",
        "runs": list(runs),
        "failed": sum(run["state"] == "failed" for run in runs),
        "spread": [_spread(rate, [run for run in runs if run["rate_C"] == rate]) for rate in rates],
    }


def _spread(rate: float | None, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    baselines = list(dict.fromkeys(name for run in runs for name in run["baselines"]))
    rungs = list(dict.fromkeys(rung["rung"] for run in runs for rung in run["ladder"]))
    by_rung = [{rung["rung"]: rung["dV"] for rung in run["ladder"]} for run in runs]
    return {
        "rate_C": rate,
        **{key: spread([run[key] for run in runs]) for key in OF_RUN},
        "baselines": {
            name: {key: spread([run["baselines"].get(name, {}).get(key) for run in runs]) for key in OF_GAP}
            for name in baselines
        },
        "ladder": {rung: spread([each.get(rung) for each in by_rung]) for rung in rungs[1:]},
    }


def _write_table(path: Path, runs: Sequence[dict[str, Any]]) -> None:
    """runs.csv: a line per run."""
    names = list(dict.fromkeys(name for run in runs for name in run["baselines"]))
    gaps = {f"{name}_{key}": (name, key) for name in names for key in OF_GAP}
    with TableWriter(path, ("column", "rate_C", *OF_RUN, *gaps)) as table:
        for run in runs:
            row = {key: run[key] for key in ("column", "rate_C", *OF_RUN)}
            table.append(row | {to: run["baselines"].get(name, {}).get(key) for to, (name, key) in gaps.items()})
