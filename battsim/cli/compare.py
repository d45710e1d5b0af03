"""`battsim compare A B`: how far one voltage curve is from another, and what of it the models are not to blame for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from battsim.cli.guard import UsageError
from battsim.cli.show import print_rows
from battsim.cli.sources import Source, read_source
from battsim.errors import InputError
from battsim.output.record import RECORD_FILE
from battsim.output.tables import TableWriter
from battsim.post.gap import Curve, common_capacities, curve_of, gap, gap_rows
from battsim.post.profile_gap import COMPARED, profile_gap
from battsim.post.rows import LOSSES

Floats = NDArray[np.float64]

OTHER_CURRENT = 0.01
"""Relative difference of the mean currents that is told."""
OTHER_START = {"x_mean": 1e-3, "x_mean_negative": 1e-3, "soc": 1e-3, "temperature_K": 0.1}
"""Differences at the start that are told, by column."""
OTHER_SALT = 1.0
"""mol/m3, told at the start of a run."""
FALLS = 0.01
"""Change of voltage over a step that shows its direction, V."""
ROWS = 400
"""Of gap.csv, about."""
TIMES = 12
"""Of profiles, printed at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One step of one source.

    Attributes
    ----------
    letter
        A or B.
    rows
        Of the step in the source's columns.
    direction
        1 in discharge, -1 in charge.
    current
        Mean magnitude, A/m2; None where the source has no time.
    """

    letter: str
    source: Source
    step: int
    rows: NDArray[np.intp]
    curve: Curve
    direction: int
    current: float | None

    def column(self, name: str) -> Floats | None:
        """A column over the step; None where the source lacks it."""
        values = self.source.columns.get(name)
        return None if values is None else values[self.rows]

    @property
    def span(self) -> tuple[float, float]:
        """Begin and end of the step, s; of a source with time."""
        time = self.source.columns["time_s"][self.rows]
        return float(time[0]), float(time[-1])

    def described(self) -> dict[str, Any]:
        """What the answer says of it."""
        return {
            "table": self.source.table,
            "name": self.source.name,
            "step": self.step if self.source.has_steps else None,
            "direction": "discharge" if self.direction > 0 else "charge",
            "mean_current_A_m2": self.current,
            "capacity_Ah_m2": float(self.curve.capacity[-1]),
        }


def compare(a: Path, b: Path, step: int | None, out: Path | None) -> dict[str, Any]:
    """How far B is from A: voltage at equal capacity, capacity, losses, profiles; every difference is B minus A.

    Parameters
    ----------
    a, b
        Case or results directories, tables inside them, or measured CSVs.
    step
        Number of the step in both; None: in each the first that passes charge.
    out
        Folder for gap.csv and gap.png; None for neither.

    Raises
    ------
    InputError
        Where a side cannot be read, or nothing can be compared.
    UsageError
        Where a step is not there, the two pass charge in opposite directions, or `out` is no place to write to.
    """
    if out is not None:
        _refuse_place(out)
    first, second = (_side(letter, read_source(place), step) for letter, place in (("A", a), ("B", b)))
    if first.direction != second.direction:
        words = [f"{side.letter} is a {side.described()['direction']}" for side in (first, second)]
        raise UsageError(f"{' and '.join(words)}: they share no capacity; choose their steps with --step")
    one_c, origin = _one_c(first, second)
    capacities = _window(first, second, one_c)
    found: dict[str, Any] = {
        "kind": "comparison",
        "A": first.described(),
        "B": second.described(),
        "differences": "B minus A",
        "window": {
            "start_Ah_m2": float(capacities[0]),
            "end_Ah_m2": float(capacities[-1]),
            "current_1C_A_m2": one_c,
            "current_1C_from": origin,
        },
        **_gap(first.curve, second.curve, capacities),
    }
    found["profiles"], warnings = _profiles(first, second)
    found["warnings"] = [*_warnings(first, second), *warnings]
    if out is not None:
        found["files"] = _write(out, first, second, capacities)
    return found


def _refuse_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a directory")
    if (out / RECORD_FILE).exists():
        raise UsageError(f"--out {out} holds the results of a run, with a gap.csv of their own; name another directory")


def _side(letter: str, source: Source, step: int | None) -> Side:
    """The step of a source that is compared."""
    steps = [int(number) for number in np.unique(source.columns["step"])]
    if step is not None and source.has_steps and step not in steps:
        raise UsageError(f"--step {step} is no step of {source.table}, which has {', '.join(map(str, steps))}")
    wanted = steps if step is None or not source.has_steps else [step]
    curves = ((number, curve_of(_with_time(source), number)) for number in wanted)
    number, curve = next(((number, curve) for number, curve in curves if curve is not None), (0, None))
    if curve is None:
        which = "no step passes" if len(wanted) > 1 else f"step {wanted[0]} does not pass"
        raise InputError(
            f"{source.table}: {which if source.has_steps else 'it does not pass'} charge in one direction over three "
            "rows or more; cut a measured file to one discharge or charge, or number its parts in a column step"
        )
    rows = np.flatnonzero(source.columns["step"] == number)
    current = None
    if "time_s" in source.columns:
        current = curve.mean_current
    return Side(letter, source, number, rows, curve, _direction(source, rows), current)


def _with_time(source: Source) -> Mapping[str, Floats]:
    """The columns; where a file has no time, with one that is undefined."""
    none = np.full(source.columns["step"].size, np.nan)
    return {"time_s": none, **source.columns}


def _direction(source: Source, rows: NDArray[np.intp]) -> int:
    """1 in discharge, -1 in charge: by the current, else by the voltage."""
    columns = source.columns
    change = float(columns["voltage_V"][rows[-1]] - columns["voltage_V"][rows[0]])
    if "current_A_m2" not in columns:
        return 1 if change < 0.0 else -1
    mean = float(np.mean(columns["current_A_m2"][rows]))
    if source.state is None and abs(change) > FALLS and mean * change > 0.0:
        raise InputError(
            f"{source.table}: current_A_m2 is {mean:.4g} in the mean while voltage_V "
            f"{'rises' if change > 0.0 else 'falls'} by {1e3 * abs(change):.0f} mV; currents are positive in "
            "discharge: change their sign"
        )
    return 1 if mean > 0.0 else -1


def _one_c(first: Side, second: Side) -> tuple[float, str]:
    """What 1 C means, A/m2, and who says so; where nobody does, it empties A in one hour."""
    for side in (first, second):
        if side.source.one_c is not None:
            return side.source.one_c, side.letter
    return float(first.curve.capacity[-1]), "capacity of A in one hour"


def _window(first: Side, second: Side, one_c: float) -> Floats:
    """Capacities at which both are compared, Ah/m2."""
    if first.current is None:
        # 60 s at 1 C and inversely more at other rates are one charge at every rate
        timed = replace(first.curve, time=first.curve.capacity * 3600.0 / one_c)
        return common_capacities([timed, second.curve], 1.0)
    return common_capacities([first.curve, second.curve], first.current / one_c)


def _gap(first: Curve, second: Curve, capacities: Floats) -> dict[str, Any]:
    """The numbers of `gap`, where the largest difference is, and the losses that both have."""
    found = gap(first, second, capacities)
    difference = second.at(capacities) - first.at(capacities)
    known = {name: loss for name, loss in found.pop("losses").items() if loss["difference_V"] is not None}
    del found["capacity_Ah_m2"]
    return found | {
        "largest_at_Ah_m2": float(capacities[np.abs(difference).argmax()]),
        "losses": {
            name: {
                "A_mean_V": loss["mean_V"] - loss["difference_V"],
                "B_mean_V": loss["mean_V"],
                "difference_V": loss["difference_V"],
            }
            for name, loss in known.items()
        },
    }


def _profiles(first: Side, second: Side) -> tuple[list[dict[str, Any]], list[str]]:
    """Differences of the profiles where both sides have them, and why there are none where there could be."""
    if first.source.profiles is None or second.source.profiles is None:
        return [], []
    needed = ["time_s", "depth_m", *(f"{field}_mean" for field in COMPARED)]
    for side in (first, second):
        assert side.source.profiles is not None
        if missing := [name for name in needed if name not in side.source.profiles]:
            return [], [f"profiles of {side.letter} lack {', '.join(missing)}: they are not compared"]
    try:
        found = profile_gap(first.source.profiles, second.source.profiles, (first.span, second.span))
    except InputError as error:
        return [], [f"profiles are not compared: {error}"]
    return found, [] if found else ["profiles are not compared: they were saved at no common time of the step"]


def _warnings(first: Side, second: Side) -> list[str]:
    """What else differs, so that the gap is not that between two models."""
    found = [
        f"{side.letter}: its run is {side.source.state}, so its curve may end too early"
        for side in (first, second)
        if side.source.state not in (None, "done")
    ]
    return [*found, *_other_currents(first, second), *_other_starts(first, second)]


def _other_currents(first: Side, second: Side) -> list[str]:
    if first.current is None or second.current is None:
        unknown = " and ".join(side.letter for side in (first, second) if side.current is None)
        return [f"{unknown}: without time_s its current is not known; the gap is one of models only at equal currents"]
    off = second.current / first.current - 1.0
    if abs(off) <= OTHER_CURRENT:
        return []
    return [
        f"the mean currents differ: {first.current:.4g} A/m2 in A, {second.current:.4g} A/m2 in B ({off:+.1%}); the "
        "gap is not that of the models alone"
    ]


def _other_starts(first: Side, second: Side) -> list[str]:
    """Where states at the beginning of the step differ, or cannot be compared."""
    found = []
    compared = 0
    for name, allowed in OTHER_START.items():
        ours, theirs = first.column(name), second.column(name)
        if ours is None or theirs is None:
            continue
        compared += name != "temperature_K"
        if abs(theirs[0] - ours[0]) > allowed:
            found.append(f"they start differently: {name} is {ours[0]:.4g} in A and {theirs[0]:.4g} in B")
    if not compared:
        found.append("that both start from one state of charge could not be checked: not both have x_mean or soc")
    salts = [side.column("c_e_max_mol_m3") for side in (first, second) if side.rows[0] == 0]
    if (
        len(salts) == 2
        and salts[0] is not None
        and salts[1] is not None
        and abs(salts[1][0] - salts[0][0]) > OTHER_SALT
    ):
        found.append(f"they start with {salts[0][0]:.4g} mol/m3 of salt in A and {salts[1][0]:.4g} mol/m3 in B")
    return found


def _write(out: Path, first: Side, second: Side, capacities: Floats) -> list[Path]:
    """gap.csv, with A as voltage_V, and gap.png."""
    from battsim.output.gap_pictures import BASELINES, Line, voltage_gap
    from battsim.output.pictures import VOLTAGE

    out.mkdir(parents=True, exist_ok=True)
    columns, rows = gap_rows(first.curve, {"B": second.curve}, capacities)
    with TableWriter(out / "gap.csv", columns) as table:
        for row in rows[:: max(1, len(rows) // ROWS)]:
            table.append(dict(zip(columns, map(float, row), strict=True)))
    _, colour, dashes = BASELINES["p2d_image"]
    names = [f"{side.letter}: {side.source.name}" for side in (first, second)]
    ours = Line(names[0], first.curve.capacity, first.curve.voltage, VOLTAGE)
    theirs = Line(names[1], second.curve.capacity, second.curve.voltage, colour, dashes)
    between = Line(names[1], capacities, second.curve.at(capacities) - first.curve.at(capacities), colour, dashes)
    voltage_gap(out / "gap.png", [ours, theirs], [between], label="voltage, B − A (mV)")
    return [out / "gap.csv", out / "gap.png"]


def print_comparison(found: Mapping[str, Any]) -> None:
    """The comparison, for reading; warnings go to standard error."""
    for letter in "AB":
        side = found[letter]
        step = "" if side["step"] is None else f", step {side['step']}"
        current = "" if side["mean_current_A_m2"] is None else f" at {side['mean_current_A_m2']:.4g} A/m2"
        typer.echo(f"{letter}: {side['table']}{step}: {side['direction']}{current}, {side['capacity_Ah_m2']:.5g} Ah/m2")
    window = found["window"]
    typer.echo(f"B minus A, at equal capacity from {window['start_Ah_m2']:.4g} to {window['end_Ah_m2']:.5g} Ah/m2:")
    print_rows(
        [
            ["  voltage, rms", f"{1e3 * found['voltage_rms_V']:.2f} mV"],
            ["  voltage, mean", f"{1e3 * found['mean_voltage_difference_V']:+.2f} mV"],
            [
                "  voltage, largest",
                f"{1e3 * found['largest_voltage_difference_V']:+.2f} mV at {found['largest_at_Ah_m2']:.4g} Ah/m2",
            ],
            ["  capacity, B over A", f"{found['capacity_ratio']:.5f}"],
        ]
    )
    _print_losses(found["losses"])
    _print_profiles(found["profiles"])
    for file in found.get("files", ()):
        typer.echo(f"{file} written")
    for warning in found["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _print_losses(losses: Mapping[str, Mapping[str, float]]) -> None:
    if not losses:
        return
    rows = [["loss, mean in mV", "A", "B", "B - A"]]
    for name in (name for name in LOSSES if name in losses):
        loss = losses[name]
        shown = [f"{1e3 * loss[key]:.2f}" for key in ("A_mean_V", "B_mean_V")]
        rows.append([f"  {name}", *shown, f"{1e3 * loss['difference_V']:+.2f}"])
    print_rows(rows)


def _print_profiles(profiles: list[dict[str, Any]]) -> None:
    """A line per time: mean and largest difference over the thickness of each field."""
    if not profiles:
        return
    labels = {"c_e_mol_m3": ("c_e, mol/m3", 1.0), "phi_e_V": ("phi_e, mV", 1e3), "x": ("x", 1.0)}
    rows = [["profiles, B - A: time", *(f"{label}: mean (largest)" for label, _ in labels.values())]]
    chosen = np.unique(np.linspace(0, len(profiles) - 1, min(TIMES, len(profiles))).round().astype(int))
    for k in chosen:
        cells = [f"  {profiles[k]['time_s']:.6g} s"]
        for field, (_, factor) in labels.items():
            found = profiles[k][field]
            ends = [] if found is None else [factor * found[key] for key in ("mean_difference", "largest_difference")]
            cells.append(f"{ends[0]:+.3g} ({ends[1]:+.3g})" if ends else "-")
        rows.append(cells)
    print_rows(rows)
