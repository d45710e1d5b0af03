"""The numbers that objectives and constraints are about: inputs of a case, and what its results say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from battsim.case import Case
from battsim.case.messages import shown, suggest
from battsim.errors import CaseError, ImpossibleError
from battsim.output.record import MICROSTRUCTURE_FILE, plain, read_json
from battsim.search.formula import Named
from battsim.search.plan import in_si
from battsim.sweep.collect import mean_power, numbers_of
from battsim.sweep.members import RESULTS, Member

MICROSTRUCTURE = "microstructure."
"""In front of the dotted paths of microstructure.json."""
MOST_NAMES = 40
"""Names that a message lists."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over the replicates of a design: their mean, standard deviation (n - 1; 0 for one), and count."""

    mean: float
    std: float
    count: int

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.std / float(np.sqrt(self.count))


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and deviation of at least one number."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, len(values))


def result_numbers(runs: Path, member: Member) -> dict[str, float]:
    """Every number in the results of a member that is done, by its path as in the table of a sweep; null is NaN."""
    results = runs / member.key / RESULTS
    summary = read_json(results / "summary.json") or {}
    measured = read_json(results / MICROSTRUCTURE_FILE) or {}
    found: dict[str, Any] = dict.fromkeys(_nulls(summary), float("nan")) | dict(numbers_of(summary))
    found |= {f"{MICROSTRUCTURE}{name}": value for name, value in numbers_of(measured)}
    return {name: float(value) for name, value in (found | mean_power(member.case, summary)).items()}


def _nulls(content: Any, path: str = "") -> Iterator[str]:
    """Dotted paths at which there is nothing, as of a number whose check failed."""
    if isinstance(content, Mapping):
        for name, inner in content.items():
            yield from _nulls(inner, f"{path}.{name}" if path else str(name))
    elif content is None:
        yield path


def input_number(case: Case, path: str) -> float | None:
    """The number at a dotted path of a case with all its defaults, SI; None where there is none."""
    place: Any = plain(case.resolved())
    for part in path.split("."):
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, Mapping) and part in place:
            place = place[part]
        else:
            return None
    return float(place) if isinstance(place, int | float) else None


def number_of(member: Member, path: str) -> float | None:
    """The number at a dotted path of a member's case, or as its design has it where the case keeps it otherwise."""
    value = input_number(member.case, path)
    if value is None and path in member.parameters:
        with suppress(ValueError):
            return in_si(member.parameters[path])
    return value


def value_of(formula: Named, member: Member, results: Mapping[str, float] | None) -> float | None:
    """A formula of a member that has run; before that, results None, only where it is about inputs alone, else None.

    Raises
    ------
    CaseError
        Where the results have no number of a name in it, with those that they have.
    ImpossibleError
        Where that number is null.
    """
    numbers: dict[str, float] = {}
    for name in formula.names:
        value = number_of(member, name)
        if value is None:
            if results is None:
                return None
            value = results.get(name)
        if value is None:
            assert results is not None
            raise CaseError(f"{shown(name)} is no number of the results; {known(name, results)}")
        if np.isnan(value):
            raise ImpossibleError(f"{name} is null in the results")
        numbers[name] = value
    return formula.at(numbers)


def known(name: str, names: Iterable[str]) -> str:
    """What was probably meant, and what there is."""
    there = sorted(names)
    near = get_close_matches(name, there, n=1, cutoff=0.5)
    rest = f", and {len(there) - MOST_NAMES} more" if len(there) > MOST_NAMES else ""
    listed = f"known: {', '.join(there[:MOST_NAMES])}{rest}; and numbers of the case by their dotted paths"
    return f"did you mean {near[0]!r}? {listed}" if near else listed


def refuse_wrong_inputs(formula: Named, member: Member, place: str) -> None:
    """Refuses a path that begins as a key of the case and is no number of it, before anything runs.

    Raises
    ------
    CaseError
        With the near name.
    """
    resolved = plain(member.case.resolved())
    for name in formula.names:
        table = name.split(".")[0]
        if "." in name and table in resolved and number_of(member, name) is None:
            inside = [path for path in _inputs(resolved) if path.startswith(f"{table}.")]
            raise CaseError(f"{place} has {shown(name)}, which is no number of the case; {suggest(name, inside)}")


def _inputs(content: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of all numbers in nested tables and lists."""
    inner = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    for name, each in inner:
        yield from _inputs(each, f"{path}.{name}" if path else str(name))
    if isinstance(content, int | float) and not isinstance(content, bool):
        yield path
