"""What the table of a sweep says: effects and sensitivity of its parameters, the best compromises, curves over rate.

A design is what the parameters make of a case; members that differ in replicates or random seeds alone are of one
design, and their scatter is told beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.output.labels import label_of, labels_of, shown
from battsim.output.sweep_pictures import Curve
from battsim.sweep.collect import MEAN_POWER, Cell, Row, columns_of
from battsim.sweep.sensitivity import (
    LEAST_R2,
    MainEffect,
    Scatter,
    Sensitivity,
    least_designs,
    main_effect,
    pareto_front,
    scatter,
    sensitivity,
)

Floats = NDArray[np.float64]
Setting = tuple[Cell, ...]

OF_CELLS = ("energy_Wh_m2", MEAN_POWER, "capacity_Ah_m2")
OF_TRANSPORT = ("directions.x.D_eff", "directions.y.D_eff", "directions.z.D_eff")
"""What the pictures are about where sweep.toml has no objectives, as far as it changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Members by two objectives, and which no other beats in both.

    Attributes
    ----------
    names
        Of the objectives; one that is to be small begins with "-".
    x, y
        As they are, shape (n,).
    best
        Shape (n,).
    members, designs
        Their hashes, and what they are in words.
    """

    names: tuple[str, str]
    x: Floats
    y: Floats
    best: NDArray[np.bool_]
    members: tuple[str, ...]
    designs: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """All of it, as far as there is data.

    Attributes
    ----------
    effects
        By objective and parameter; replicates are none.
    levels
        Names of the values of parameters that are no numbers, which effects have as 0, 1, ...
    sensitivities
        By objective; None where there are too few designs, or a parameter that varies is no number.
    scatters
        Between replicates, by objective; None where there are none.
    ragone, rated
        Energy (Wh/m2) over mean power (W/m2), and capacity (Ah/m2) over C-rate: one curve for each design, the mean of
        its replicates with their standard deviation.
    notes
        What is not given, and why, and what the replicates scatter by, a sentence each.
    """

    effects: Mapping[str, Mapping[str, MainEffect]]
    levels: Mapping[str, tuple[str, ...]]
    sensitivities: Mapping[str, Sensitivity | None]
    scatters: Mapping[str, Scatter | None]
    front: Front | None
    ragone: tuple[Curve, ...]
    rated: tuple[Curve, ...]
    notes: tuple[str, ...]

    def numbers(self) -> dict[str, Any]:
        """Sensitivities, scatter of replicates and front, for sweep.json."""
        return {
            "sensitivity": {
                name: None if found is None else asdict(found) for name, found in self.sensitivities.items()
            },
            "replicates": {name: None if found is None else asdict(found) for name, found in self.scatters.items()},
            "pareto": None
            if self.front is None
            else {
                "objectives": list(self.front.names),
                "members": [member for member, best in zip(self.front.members, self.front.best, strict=True) if best],
            },
        }


def findings_of(
    rows: Sequence[Row], paths: Sequence[str], objectives: Sequence[str], seed: int, replicates: Collection[str] = ()
) -> Findings:
    """What the members that are done say.

    Parameters
    ----------
    rows
        Of the table of a sweep.
    paths
        Of the parameters and replicates.
    objectives
        Columns that the pictures are about, with "-" in front of those that are to be small; empty: by kind of case.
    seed
        Of the samples of the surrogate.
    replicates
        Those of the paths that are no parameters but tell replicates apart; random seeds always are.
    """
    done = [row for row in rows if row["state"] == "done"]
    own = [path for path in paths if path not in replicates and path.split(".")[-1] != "seed"]
    wanted = _objectives(done, objectives)
    parameters, levels = _parameters(done, own)
    effects: dict[str, dict[str, MainEffect]] = {}
    sensitivities: dict[str, Sensitivity | None] = {}
    scatters: dict[str, Scatter | None] = {}
    for name in wanted:
        result = _column(done, name.removeprefix("-"))
        known = np.isfinite(result)
        at = {path: values[known] for path, values in parameters.items()}
        effects[name] = {path: main_effect(at[path], result[known], binned=path not in levels) for path in at}
        sensitivities[name] = None if not at or levels else sensitivity(at, result[known], np.random.default_rng(seed))
        scatters[name] = scatter(result[known], _designs([row for row, k in zip(done, known, strict=True) if k], own))
    return Findings(
        effects,
        levels,
        sensitivities,
        scatters,
        _front(done, wanted, paths),
        _curves(done, own, [path for path in own if path.startswith("protocol.")], MEAN_POWER, "energy_Wh_m2"),
        _rated(done, own),
        (*_unexplained(sensitivities, parameters, levels), *_scattered(scatters)),
    )


def _unexplained(
    sensitivities: Mapping[str, Sensitivity | None],
    parameters: Mapping[str, Floats],
    levels: Mapping[str, Collection[str]],
) -> Iterator[str]:
    """Why there are no Sobol indices, where there are none."""
    missing = [name for name, found in sensitivities.items() if found is None]
    names = labels_of(list(parameters))
    if missing and parameters:
        needed = least_designs(len(parameters))
        why = (
            f"{', '.join(names[path] for path in levels)} is no number, over which a surrogate could be fitted"
            if levels
            else f"a surrogate needs at least {needed} designs, whose parameters change independently of each other"
        )
        yield f"Sobol indices are not given for {', '.join(map(_named, missing))}: {why}; see the main effects instead."
    for name, found in sensitivities.items():
        if found is not None and found.first_order is None:
            yield (
                f"Sobol indices are not given for {_named(name)}: the surrogate predicts only "
                f"{100.0 * max(found.r2, 0.0):.0f} % of the variance of designs that it has not seen (at least "
                f"{100.0 * LEAST_R2:.0f} % are asked for)."
            )


def _scattered(scatters: Mapping[str, Scatter | None]) -> Iterator[str]:
    """What replicates scatter by."""
    for name, found in scatters.items():
        if found is not None:
            share = (
                ""
                if found.share is None
                else f", {_percent(found.share)} % of the variance; the rest is between the {found.designs} designs"
            )
            yield (
                f"Replicates of one design scatter in {_named(name)} with a standard deviation of "
                f"{found.deviation:.3g}{share} ({found.members} members)."
            )


def _percent(share: float) -> str:
    """With a decimal where it is small."""
    return f"{100.0 * share:.{0 if share >= 0.1 else 1}f}"


def _named(objective: str) -> str:
    return label_of(objective.removeprefix("-"))


def _designs(rows: Sequence[Row], paths: Sequence[str]) -> NDArray[np.int64]:
    """Which design each row is of, 0, 1, ... in the order of their first, shape (n_rows,)."""
    number: dict[Setting, int] = {}
    found = [number.setdefault(_setting(row, paths), len(number)) for row in rows]
    return np.array(found, dtype=np.int64)


def _grouped(rows: Sequence[Row], paths: Sequence[str]) -> dict[Setting, list[Row]]:
    """Rows by their values at the paths, in the order of their first."""
    groups: dict[Setting, list[Row]] = {}
    for row in rows:
        groups.setdefault(_setting(row, paths), []).append(row)
    return groups


def _setting(row: Row, paths: Sequence[str]) -> Setting:
    return tuple(row.get(path) for path in paths)


def _objectives(rows: Sequence[Row], wanted: Sequence[str]) -> list[str]:
    """Those that change between members."""
    known = columns_of(rows)
    asked = wanted or [name for name in (*OF_CELLS, *OF_TRANSPORT) if name in known]
    found = []
    for name in asked:
        values = _column(rows, name.removeprefix("-"))
        values = values[np.isfinite(values)]
        if values.size > 1 and np.ptp(values) > 0.0:
            found.append(name)
    return found


def _parameters(rows: Sequence[Row], paths: Sequence[str]) -> tuple[dict[str, Floats], dict[str, tuple[str, ...]]]:
    """Parameters that change, as numbers, and the names of the values of those that are none."""
    columns = {path: [row.get(path) for row in rows] for path in paths}
    return coded({path: cells for path, cells in columns.items() if len(set(cells)) > 1})


def coded(columns: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Floats], dict[str, tuple[str, ...]]]:
    """Columns as numbers, each shape (n_rows,), and the names of the values of those that are none.

    A column with a cell that is no number has 0, 1, ... in the order of their first for what its cells say.
    """
    found, levels = dict[str, Floats](), dict[str, tuple[str, ...]]()
    for path, cells in columns.items():
        if all(isinstance(cell, int | float) for cell in cells):
            found[path] = np.array(cells, dtype=np.float64)
        else:
            names = list(dict.fromkeys(map(str, cells)))
            levels[path] = tuple(names)
            found[path] = np.array([names.index(str(cell)) for cell in cells], dtype=np.float64)
    return found, levels


def _column(rows: Sequence[Row], name: str) -> Floats:
    """A column, shape (n_rows,); NaN where there is no number."""
    cells = (row.get(name) for row in rows)
    return np.array([cell if isinstance(cell, int | float) else np.nan for cell in cells], dtype=np.float64)


def _front(rows: Sequence[Row], objectives: Sequence[str], paths: Sequence[str]) -> Front | None:
    """By the first two objectives."""
    if len(objectives) < 2 or all(name.startswith("directions.") for name in objectives):
        return None
    names = (objectives[0], objectives[1])
    x, y = (_column(rows, name.removeprefix("-")) for name in names)
    known = np.isfinite(x) & np.isfinite(y)
    signed = [-v[known] if name.startswith("-") else v[known] for name, v in zip(names, (x, y), strict=True)]
    told = [row for row, has in zip(rows, known, strict=True) if has]
    if len(told) < 2:
        return None
    words = labels_of(paths)
    return Front(
        names,
        x[known],
        y[known],
        pareto_front(signed),
        tuple(str(row["member"]) for row in told),
        tuple(_in_words({words[path]: row.get(path) for path in paths}) for row in told),
    )


def _in_words(design: Mapping[str, Cell]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in design.items())


def _rated(rows: Sequence[Row], paths: Sequence[str]) -> tuple[Curve, ...]:
    """Capacity over C-rate, where one step has a rate that changes."""
    rates = [path for path in paths if path.startswith("protocol.") and path.endswith(".rate")]
    return _curves(rows, paths, rates, rates[0], "capacity_Ah_m2") if len(rates) == 1 else ()


def _curves(rows: Sequence[Row], paths: Sequence[str], fast: Collection[str], x: str, y: str) -> tuple[Curve, ...]:
    """A curve for each design, of members that differ only in how fast they are discharged; replicates by their mean.

    Parameters
    ----------
    fast
        The paths that do not make a design, but move along its curve.
    """
    rows = [row for row in rows if all(isinstance(row.get(name), int | float) for name in (x, y))]
    slow = _by_weight(rows, [path for path in paths if path not in fast], _column(rows, y))
    names = labels_of(slow)
    return tuple(
        _curve(group, {names[path]: cell for path, cell in zip(slow, setting, strict=True)}, list(fast), x, y)
        for setting, group in _grouped(rows, slow).items()
    )


def _curve(rows: Sequence[Row], design: Mapping[str, Cell], fast: Sequence[str], x: str, y: str) -> Curve:
    """Mean and standard deviation of the replicates at each speed, in the order of x."""
    groups = [(_column(group, x), _column(group, y)) for group in _grouped(rows, fast).values()]
    points = np.array(
        [[along.mean(), values.mean(), _deviation(along), _deviation(values)] for along, values in groups]
    )
    points = points[np.argsort(points[:, 0], kind="stable")].T
    return Curve(_in_words(design), points[0], points[1], points[2], points[3], design)


def _deviation(values: Floats) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else 0.0


def _by_weight(rows: Sequence[Row], paths: Sequence[str], result: Floats) -> list[str]:
    """Parameters that change, the one first whose main effect varies most."""
    parameters, levels = _parameters(rows, paths)

    def weight(path: str) -> float:
        effect = main_effect(parameters[path], result, binned=path not in levels)
        return -float(np.cov(effect.mean, fweights=effect.count, ddof=0)) if effect.mean.size > 1 else 0.0

    return sorted(parameters, key=weight)
