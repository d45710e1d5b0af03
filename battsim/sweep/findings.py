"""What the table of a sweep says: effects and sensitivity of its parameters, the best compromises, curves over rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.output.sweep_pictures import Curve
from battsim.sweep.collect import MEAN_POWER, Row, columns_of
from battsim.sweep.sensitivity import MainEffect, Sensitivity, main_effect, pareto_front, sensitivity

Floats = NDArray[np.float64]

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
    members
        Their hashes.
    """

    names: tuple[str, str]
    x: Floats
    y: Floats
    best: NDArray[np.bool_]
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """All of it, as far as there is data.

    Attributes
    ----------
    effects
        By objective and parameter.
    levels
        Names of the values of parameters that are no numbers, which effects have as 0, 1, ...
    sensitivities
        By objective; None where there are too few members.
    ragone, rated
        Energy (Wh/m2) over mean power (W/m2), and capacity (Ah/m2) over C-rate: one curve for each design.
    """

    effects: Mapping[str, Mapping[str, MainEffect]]
    levels: Mapping[str, tuple[str, ...]]
    sensitivities: Mapping[str, Sensitivity | None]
    front: Front | None
    ragone: tuple[Curve, ...]
    rated: tuple[Curve, ...]

    def numbers(self) -> dict[str, Any]:
        """Sensitivities and front, for sweep.json."""
        return {
            "sensitivity": {
                name: None if found is None else asdict(found) for name, found in self.sensitivities.items()
            },
            "pareto": None
            if self.front is None
            else {
                "objectives": list(self.front.names),
                "members": [member for member, best in zip(self.front.members, self.front.best, strict=True) if best],
            },
        }


def findings_of(rows: Sequence[Row], paths: Sequence[str], objectives: Sequence[str], seed: int) -> Findings:
    """What the members that are done say.

    Parameters
    ----------
    rows
        Of the table of a sweep.
    paths
        Of the parameters.
    objectives
        Columns that the pictures are about, with "-" in front of those that are to be small; empty: by kind of case.
    seed
        Of the samples of the surrogate.
    """
    done = [row for row in rows if row["state"] == "done"]
    wanted = _objectives(done, objectives)
    parameters, levels = _parameters(done, paths)
    effects: dict[str, dict[str, MainEffect]] = {}
    sensitivities: dict[str, Sensitivity | None] = {}
    for name in wanted:
        result = _column(done, name.removeprefix("-"))
        known = np.isfinite(result)
        effects[name] = {path: main_effect(values[known], result[known]) for path, values in parameters.items()}
        numeric = {path: values[known] for path, values in parameters.items() if path not in levels}
        sensitivities[name] = sensitivity(numeric, result[known], np.random.default_rng(seed)) if numeric else None
    return Findings(
        effects,
        levels,
        sensitivities,
        _front(done, wanted),
        tuple(_curves(done, paths, MEAN_POWER, "energy_Wh_m2")),
        tuple(_rated(done, paths)),
    )


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
    found, levels = dict[str, Floats](), dict[str, tuple[str, ...]]()
    for path in paths:
        cells = [row.get(path) for row in rows]
        if len(set(cells)) < 2:
            continue
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


def _front(rows: Sequence[Row], objectives: Sequence[str]) -> Front | None:
    """By the first two objectives."""
    if len(objectives) < 2 or all(name.startswith("directions.") for name in objectives):
        return None
    names = (objectives[0], objectives[1])
    x, y = (_column(rows, name.removeprefix("-")) for name in names)
    known = np.isfinite(x) & np.isfinite(y)
    signed = [-v[known] if name.startswith("-") else v[known] for name, v in zip(names, (x, y), strict=True)]
    members = tuple(str(row["member"]) for row, has in zip(rows, known, strict=True) if has)
    return Front(names, x[known], y[known], pareto_front(signed), members) if len(members) > 1 else None


def _rated(rows: Sequence[Row], paths: Sequence[str]) -> Iterator[Curve]:
    """Capacity over C-rate, where one step has a rate that changes."""
    rates = [path for path in paths if path.startswith("protocol.") and path.endswith(".rate")]
    if len(rates) == 1:
        yield from _curves(rows, paths, rates[0], "capacity_Ah_m2")


def _curves(rows: Sequence[Row], paths: Sequence[str], x: str, y: str) -> Iterator[Curve]:
    """A curve for each design: members that differ only in how fast they are discharged."""
    fast = [path for path in paths if path.startswith("protocol.")]
    groups: dict[tuple[tuple[str, Any], ...], list[Row]] = {}
    for row in rows:
        if all(isinstance(row.get(name), int | float) for name in (x, y)):
            groups.setdefault(tuple((path, row.get(path)) for path in paths if path not in fast), []).append(row)
    for design, group in groups.items():
        along, values = _column(group, x), _column(group, y)
        order = np.argsort(along, kind="stable")
        yield Curve(
            ", ".join(f"{last_key(path)} {shown(value)}" for path, value in design), along[order], values[order]
        )


def last_key(path: str) -> str:
    """The part of a dotted path that says what it is."""
    parts = [part for part in path.split(".") if not part.isdigit()]
    return ".".join(parts[-2:]) if parts[-1] in ("median", "sigma", "seed") else parts[-1]


def shown(value: object) -> str:
    """A value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
