"""`battsim run`: a case, or a study of it, from what is on the disk to what is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from battsim.cli.guard import RESULTS, Terminated, UsageError
from battsim.cli.show import Progress, print_json, print_rows, print_summary, progress_of
from battsim.cli.stop import stoppable

if TYPE_CHECKING:
    from battsim.case import Case
    from battsim.output.checkpoint import Checkpoint


def run_directory(
    directory: Path, resume: bool, fresh: bool, allow_outside: bool, as_json: bool, kind: str | None = None
) -> None:
    """Loads, runs and reports a case; with `kind`, only of that kind."""
    from battsim.case import load_case

    case = load_case(directory, allow_outside=allow_outside)
    if kind is not None and case.kind != kind:
        raise UsageError(f'{directory} has model.kind = "{case.kind}", not "{kind}"; use battsim run {directory}')
    results = directory / RESULTS
    _refuse_study(results, fresh)
    summary = _finished(case, results) if resume else None
    if summary is None:
        checkpoint = _to_go_on_from(case, results) if resume else None
        if not resume:
            _make_room(results, fresh)
        summary = _watched(_whole(case, results, checkpoint), results, lambda: _stands_at(directory))
    if as_json:
        print_json(summary)
        return
    print_summary(summary)
    typer.echo(f"results in {results}")


def run_study_of(
    directory: Path,
    rates: str | None,
    columns: int,
    resume: bool,
    fresh: bool,
    allow_outside: bool,
    as_json: bool,
) -> None:
    """Loads a case, runs it at the rates and on the columns, and reports all; exit code 8 where some runs failed.

    Parameters
    ----------
    rates
        C-rates with commas between them; None: as the case says.
    columns
        How many.
    """
    from battsim.case import CellCase, load_case
    from battsim.errors import MembersFailedError
    from battsim.sweep import Study, run_study

    case = load_case(directory, allow_outside=allow_outside)
    if not isinstance(case, CellCase):
        raise UsageError(f'{directory} has model.kind = "{case.kind}", which has no rates; use battsim run {directory}')
    study = Study(_rates(rates), columns)
    results = directory / RESULTS
    _make_room_for_study(results, resume, fresh)

    def compute(progress: Progress) -> Mapping[str, Any]:
        return run_study(case, study, results=results, progress=progress)

    summary = _watched(compute, results, lambda: "what is done is kept; the same command with --resume")
    if as_json:
        print_json(summary)
    else:
        _print_study(summary)
        typer.echo(f"results in {results}")
    if summary["failed"]:
        failed = [run for run in summary["runs"] if run["state"] == "failed"]
        raise MembersFailedError(
            f"{len(failed)} of {len(summary['runs'])} runs failed; the first, {results / failed[0]['folder']}: "
            f"{failed[0]['error']}"
        )


def _rates(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    from battsim.quantity import parse_rate

    found = tuple(parse_rate(_as_written(part), "--rates") for part in text.split(","))
    if len({f"{rate:g}" for rate in found}) < len(found):
        raise UsageError(f"--rates {text} names a rate twice; name each once")
    return found


def _as_written(part: str) -> object:
    """A rate as it would stand in a case: a bare number is no text there."""
    try:
        return float(part)
    except ValueError:
        return part.strip()


def _print_study(summary: Mapping[str, Any]) -> None:
    """A line per run, and under it the spread over the columns."""
    names = list(dict.fromkeys(name for run in summary["runs"] for name in run["baselines"]))
    rows = [["column", "rate", "stop", "capacity, Ah/m2", *(f"{name} - resolved, mV" for name in names)]]
    for run in summary["runs"]:
        gaps = [run["baselines"].get(name, {}).get("mean_voltage_difference_V") for name in names]
        stop, capacity = run["stop"] if run["state"] == "done" else "failed", _number(run["capacity_Ah_m2"])
        rows.append([str(run["column"]), _rate(run), str(stop), capacity, *(_number(g, 1e3) for g in gaps)])
    for each in summary["spread"]:
        if each["capacity_Ah_m2"]["count"] > 1:
            gaps = [each["baselines"][name]["mean_voltage_difference_V"] for name in names]
            rows.append(["mean +- std", _rate(each), "", _mean(each["capacity_Ah_m2"]), *(_mean(g, 1e3) for g in gaps)])
    print_rows(rows)


def _rate(entry: Mapping[str, Any]) -> str:
    return "-" if entry["rate_C"] is None else f"{entry['rate_C']:g} C"


def _number(value: float | None, factor: float = 1.0) -> str:
    return "-" if value is None else f"{factor * value:.4g}"


def _mean(found: Mapping[str, Any], factor: float = 1.0) -> str:
    if found["mean"] is None:
        return "-"
    return f"{_number(found['mean'], factor)} +- {_number(found['std'], factor)}"


def _whole(case: Case, results: Path, checkpoint: Checkpoint | None) -> Callable[[Progress], Mapping[str, Any]]:
    """A run from its start or from a checkpoint."""
    from battsim.run import run_case

    return lambda progress: run_case(case, results=results, progress=progress, checkpoint=checkpoint)


def _stands_at(directory: Path) -> str:
    """What an interrupted run can go on from, and how; empty where there is nothing."""
    from battsim.run import stands_at

    place = stands_at(directory / RESULTS)
    return place and f"{place}; battsim run {directory} --resume"


def _watched(
    compute: Callable[[Progress], Mapping[str, Any]], results: Path, place: Callable[[], str]
) -> Mapping[str, Any]:
    """What is computed under a progress bar; an interruption says what can be gone on from, if anything."""
    try:
        with stoppable(progress_of(results)) as progress:
            return compute(progress)
    except (KeyboardInterrupt, Terminated):
        if found := place():
            typer.echo(f"{results}: {found} goes on from there", err=True)
        raise


def _refuse_study(results: Path, fresh: bool) -> None:
    """Keeps a single run from the results of a study; with `fresh` they are removed."""
    from battsim.output.study import clear_study, holds_study

    if not holds_study(results):
        return
    if not fresh:
        raise UsageError(
            f"{results} holds a study (--rates or --columns), which is left as it is; go on with it by the same "
            "options and --resume, or remove it by --fresh"
        )
    clear_study(results)


def _make_room_for_study(results: Path, resume: bool, fresh: bool) -> None:
    """A place for a study: empty, or with --resume one that it goes on with."""
    from battsim.output.record import runs_elsewhere, state_of
    from battsim.output.study import clear_study, holds_study

    if runs_elsewhere(results):
        raise UsageError(f"{results} belongs to a run that is under way; wait for it, or stop it")
    there = holds_study(results)
    if fresh:
        clear_study(results)
    elif there and not resume:
        raise UsageError(
            f"{results} holds a study already; --resume goes on with it, and runs what it lacks of the rates and "
            "columns; --fresh removes it and starts anew"
        )
    elif not there and state_of(results) is not None:
        raise UsageError(f"{results} holds a single run, which is left as it is; --fresh removes it and starts anew")


def _finished(case: Case, results: Path) -> Mapping[str, Any] | None:
    """Summary of a run of the case that has nothing left to do, which it says; None where it is not finished."""
    from battsim.run import finished_summary

    summary = finished_summary(case, results)
    if summary is not None:
        typer.echo(f"{results} holds a finished run of this case: there is nothing to resume", err=True)
    return summary


def _to_go_on_from(case: Case, results: Path) -> Checkpoint | None:
    """The checkpoint that a run which was interrupted left; None, and room for a new run, where it left none."""
    from battsim.output.record import clear, runs_elsewhere
    from battsim.run import find_checkpoint

    if runs_elsewhere(results):
        raise UsageError(f"{results} belongs to a run that is under way; wait for it, or stop it")
    found = find_checkpoint(case, results)
    for note in found.notes:
        typer.echo(f"warning: {note}", err=True)
    if found.checkpoint is None:
        typer.echo(f"{results} holds no checkpoint: there is nothing to resume, and the run starts anew", err=True)
        if results.is_dir():
            clear(results)
    return found.checkpoint


def _make_room(results: Path, fresh: bool) -> None:
    """An empty place for results; without --fresh refuses to replace a finished, a running or an unfinished run."""
    from battsim.output import checkpoint
    from battsim.output.record import clear, state_of

    state = state_of(results)
    if not fresh and state == "done":
        raise UsageError(f"{results} holds a finished run, which is left as it is; --fresh removes it and starts anew")
    if not fresh and state == "running":
        raise UsageError(
            f"{results} belongs to a run that is under way, or was killed; --resume goes on with one that was killed, "
            "--fresh removes it and starts anew"
        )
    if not fresh and checkpoint.any_in(results / checkpoint.FOLDER):
        raise UsageError(
            f"{results} holds checkpoints of a run that did not end; --resume goes on from them, --fresh removes them "
            "and starts anew"
        )
    if results.is_dir():
        clear(results)
