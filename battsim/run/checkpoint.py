"""Where a run in time stands, as a checkpoint, and what a checkpoint must match to be gone on from.

A checkpoint is made at a synchronisation point: an accepted step after which every run, interrupted or not, drops what
the linear solver and the model keep from one solve to the next. What is stored then determines the rest of the run bit
for bit, at the same versions on the same kind of processor.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from battsim.case import CASE_FILE, Case, files_of
from battsim.errors import CheckpointError
from battsim.output import checkpoint as store
from battsim.output.checkpoint import Checkpoint
from battsim.output.record import (
    RECORD_FILE,
    battsim_version,
    git_commit,
    library_versions,
    plain,
    read_json,
    sha256,
    state_of,
)
from battsim.output.tables import end_of_row
from battsim.post.heat import Heat
from battsim.post.losses import Losses
from battsim.post.profiles import PROFILE_COLUMNS
from battsim.post.rows import STEPS_COLUMNS, timeseries_columns
from battsim.post.tally import ElectrodeState, Plating, Snapshot, Tally
from battsim.solvers.stepping import Standing

FREE = ("solver.threads",)
"""Keys of a case that change nothing but how fast a run is."""


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """Where a run stands at a synchronisation point within a step of its protocol.

    Attributes
    ----------
    number
        Of the protocol step.
    begun, charge, inventory, current
        When the protocol step began (s), and at that time the charge passed (C), the lithium in the terminal's
        electrode (C) and the current (A).
    target
        Charge that the step aims at, C; 0: it aims at a time.
    standing
        Of the integrator.
    tally
        Sums so far.
    rows
        Of each table, by file name.
    fields
        Times (s) and names of the saved fields.
    """

    number: int
    begun: float
    charge: float
    inventory: float
    current: float
    target: float
    standing: Standing
    tally: Tally
    rows: Mapping[str, int]
    fields: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that decides about the numbers of a run: version, every key of the case, sha256 of each file it names."""

    version: str
    case: Mapping[str, Any]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to go on from: the newest checkpoint that is whole, if any, and what there is to say about it."""

    checkpoint: Checkpoint | None
    notes: tuple[str, ...]


def tables_of(n_electrodes: int) -> dict[str, tuple[str, ...]]:
    """Columns of each table that a run grows, by file name."""
    return {
        "timeseries.csv": timeseries_columns(n_electrodes),
        "steps.csv": STEPS_COLUMNS,
        "profiles.csv": PROFILE_COLUMNS,
    }


def input_files(case: Case) -> dict[str, Path]:
    """Every file that a run reads, by the key of the case file that names it; the case file itself too."""
    files = {key: case.locate(name) for key, name in files_of(case).items()}
    return files | ({CASE_FILE: case.directory / CASE_FILE} if (case.directory / CASE_FILE).is_file() else {})


def inputs_of(case: Case) -> Inputs:
    """The inputs as they are now."""
    files = {key: sha256(case.locate(name)) for key, name in files_of(case).items()}
    return Inputs(battsim_version(), plain(case.resolved()), files)


def save_progress(folder: Path, progress: Progress, inputs: Inputs) -> Path:
    """Write a checkpoint; its number is the number of rows of timeseries.csv, which each one has more of."""
    standing, tally = progress.standing, asdict(progress.tally)
    content = {
        "time_s": standing.times[-1],
        "inputs": asdict(inputs),
        "made_with": _made_with(),
        "number": progress.number,
        "begun": progress.begun,
        "charge": progress.charge,
        "inventory": progress.inventory,
        "current": progress.current,
        "target": progress.target,
        "standing": {
            "times": standing.times,
            "voltages": standing.voltages,
            "reference": standing.reference,
            "dt": standing.dt,
            "steps": standing.steps,
            "longest": standing.longest,
            "recent": standing.recent,
        },
        "tally": tally,
        "rows": dict(progress.rows),
        "fields": progress.fields,
    }
    arrays = {f"state_{k}": state for k, state in enumerate(standing.states)}
    return store.save(folder, progress.rows["timeseries.csv"], content, arrays)


def progress_of(checkpoint: Checkpoint) -> Progress:
    """What a checkpoint holds, bit for bit as it was saved."""
    content, arrays = checkpoint.content, checkpoint.arrays()
    standing = content["standing"]
    return Progress(
        number=content["number"],
        begun=content["begun"],
        charge=content["charge"],
        inventory=content["inventory"],
        current=content["current"],
        target=content["target"],
        standing=Standing(
            times=tuple(standing["times"]),
            states=tuple(arrays[f"state_{k}"] for k in range(len(standing["times"]))),
            voltages=tuple(standing["voltages"]),
            reference=standing["reference"],
            dt=standing["dt"],
            steps=standing["steps"],
            longest=standing["longest"],
            recent=tuple((dt, failed) for dt, failed in standing["recent"]),
        ),
        tally=_tally(content["tally"]),
        rows=content["rows"],
        fields=tuple((time, name) for time, name in content["fields"]),
    )


def find_checkpoint(case: Case, results: Path) -> Found:
    """The newest checkpoint in `results` that a run of the case can go on from.

    Raises
    ------
    CheckpointError
        Where the inputs are not those of the checkpoint, and where there are checkpoints but none that can be used.
    """
    checkpoints, wrong = store.whole(results / store.FOLDER)
    for checkpoint in checkpoints:
        _check_inputs(checkpoint.content["inputs"], inputs_of(case), f"{checkpoint.path}")
        try:
            for name, columns in tables_of(len(checkpoint.content["tally"]["outside_share"])).items():
                end_of_row(results / name, columns, checkpoint.content["rows"][name])
        except CheckpointError as error:
            wrong.append(f"{checkpoint.path} cannot be used: {error}")
            continue
        return Found(checkpoint, (*wrong, *_changes(checkpoint.content["made_with"])))
    if wrong:
        raise CheckpointError(
            f"{results}: no checkpoint can be gone on from: {'; '.join(wrong)}. Start anew with --fresh"
        )
    return Found(None, ())


def finished_summary(case: Case, results: Path) -> dict[str, Any] | None:
    """Summary of a run of the case that has nothing left to do; None where it is not finished.

    Raises
    ------
    CheckpointError
        Where the finished results are those of other inputs, or their summary cannot be read.
    """
    if state_of(results) != "done":
        return None
    check_finished(case, results)
    summary = read_json(results / "summary.json")
    if summary is None:
        raise CheckpointError(f"{results / 'summary.json'} is gone or cannot be read; start anew with --fresh")
    return summary


def check_finished(case: Case, results: Path) -> None:
    """Whether finished results are those of the case; CheckpointError with the difference where they are not."""
    try:
        old = json.loads((results / "case.resolved.json").read_text(encoding="utf-8"))
        record = json.loads((results / RECORD_FILE).read_text(encoding="utf-8"))
        was = {"version": record["version"], "case": old, "files": record["inputs"]}
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{results} lacks what tells its inputs ({error}); start anew with --fresh") from None
    was["files"] = {key: digest for key, digest in was["files"].items() if key != CASE_FILE}
    _check_inputs(was, inputs_of(case), f"{results}")


def stands_at(results: Path) -> str:
    """What a run that was stopped can go on from, in words; empty where there is nothing."""
    checkpoints, _ = store.whole(results / store.FOLDER)
    if not checkpoints or state_of(results) == "done":
        return ""
    return f"its last checkpoint is at t = {checkpoints[0].content['time_s']:.6g} s"


def _check_inputs(was: Mapping[str, Any], now: Inputs, owner: str) -> None:
    """Raises CheckpointError that names the first difference."""
    found = [("battsim", was["version"], now.version)] if was["version"] != now.version else []
    found += _differences(was["case"], now.case, CASE_FILE)
    found += _differences(was["files"], now.files, "sha256 of the file named by")
    if found:
        name, before, after = found[0]
        raise CheckpointError(
            f"{owner} belongs to other inputs: {name} was {before}, and is {after}"
            f"{f' ({len(found) - 1} more differ)' if len(found) > 1 else ''}; restore what it was, or start anew with "
            "--fresh"
        )


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], where: str) -> list[tuple[str, str, str]]:
    """Keys whose values differ, with both values as JSON; "absent" where there is none."""
    before, after = _flat(was), _flat(now)
    return [
        (f"{where} {key}", before.get(key, "absent"), after.get(key, "absent"))
        for key in sorted(before.keys() | after.keys())
        if key not in FREE and before.get(key) != after.get(key)
    ]


def _flat(content: Any, key: str = "") -> dict[str, str]:
    """Every value of nested tables and lists as JSON, by its dotted path."""
    if isinstance(content, Mapping) and content:
        inside = content.items()
    elif isinstance(content, list | tuple) and content:
        inside = dict(enumerate(content)).items()
    else:
        return {key: json.dumps(content)}
    return {
        path: value
        for name, inner in inside
        for path, value in _flat(inner, f"{key}.{name}" if key else f"{name}").items()
    }


def _made_with() -> dict[str, str]:
    """What round-off depends on, versions of this program apart."""
    from llvmlite.binding import get_host_cpu_name  # type: ignore[import-untyped]  # what kernels are compiled for

    commit = git_commit(Path(__file__).resolve().parents[2]) or "-"
    processor = f"{platform.machine()} {get_host_cpu_name()}"
    return {**library_versions(), "processor": processor, "system": platform.system(), "commit": commit}


def _changes(was: Mapping[str, str]) -> tuple[str, ...]:
    """One line on what round-off depends on and that is no longer as it was."""
    now = _made_with()
    found = [f"{name} {was.get(name, '-')}, now {now.get(name, '-')}" for name in now if was.get(name) != now[name]]
    if not found:
        return ()
    return (f"the checkpoint was made with {'; '.join(found)}: it continues to within the tolerances, not to the bit",)


def _tally(content: Mapping[str, Any]) -> Tally:
    fields: dict[str, Any] = dict(content)
    fields |= {"start": _snapshot(content["start"]), "now": _snapshot(content["now"])}
    fields |= {"c_e": _pair(content["c_e"]), "recent": tuple(_pair(entry) for entry in content["recent"])}
    fields |= {"plating": _plating(content.get("plating"))}
    return Tally(**fields | {"outside_share": tuple(content["outside_share"])})


def _plating(content: Mapping[str, Any] | None) -> Plating | None:
    if content is None:
        return None
    fields: dict[str, Any] = dict(content)
    if content["below_zero"] is not None:
        time, face = content["below_zero"]
        fields["below_zero"] = (time, face)
    return Plating(**fields)


def _snapshot(content: Mapping[str, Any]) -> Snapshot:
    fields: dict[str, Any] = dict(content)
    electrodes = tuple(ElectrodeState(**e | {"x_surface": _pair(e["x_surface"])}) for e in content["electrodes"])
    fields |= {"electrodes": electrodes, "c_e": _pair(content["c_e"])}
    fields |= {"losses": None if content["losses"] is None else Losses(**content["losses"])}
    return Snapshot(**fields | {"heat": Heat(**content["heat"])})


def _pair(content: Any) -> tuple[float, float]:
    low, high = content
    return low, high
