"""From a design that a search chose to the members that judge it; and what holds for all designs, before any is run."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from battsim.case import CASE_FILE, Case, FullCellCase, ResolvedCase, load_case
from battsim.case.messages import join, shown
from battsim.errors import BattsimError, CaseError
from battsim.output.record import sha256
from battsim.search.numbers import input_number, refuse_wrong_inputs
from battsim.search.plan import SEARCH_FILE, Design, SearchPlan, in_si
from battsim.search.space import DIGITS, middle, sampled_designs
from battsim.sweep.members import Digest, Member, member_of

LOOKED_AT = 32
"""Designs at random that are read before a search, to see whether any is a case."""


@dataclass(frozen=True, slots=True, eq=False)
class Designer:
    """Makes members of designs.

    Attributes
    ----------
    base
        Content of the case file in the directory.
    case
        Read from it.
    screened
        Whether members are those of the screening.
    digest
        Hash of a file, once for each.
    """

    plan: SearchPlan
    directory: Path
    base: Mapping[str, Any]
    case: Case
    allow_outside: bool
    screened: bool
    digest: Digest = field(default_factory=lambda: cache(sha256))

    def design(self, params: Mapping[str, Any]) -> Design:
        """What stands in a case for what optuna chose, with the keys that follow from it. Raises CaseError."""
        own = {path: variable.written(params[path]) for path, variable in self.plan.space.items()}
        return own | self.derived(own)

    def derived(self, own: Design) -> Design:
        """The keys that follow from those of a design. Raises CaseError where a formula has no value."""
        found: Design = {}
        for path, formula in self.plan.derived.items():
            value = formula.at({name: self._number(name, own, path) for name in formula.names})
            found[path] = round(value) if _is_whole(value) else float(f"{value:.{DIGITS}g}")
        return found

    def members(self, design: Design) -> tuple[Member, ...]:
        """A member for each replicate. Raises as `member_of`."""
        cheaper = self.plan.screening.set if self.screened and self.plan.screening else {}
        return tuple(
            member_of(
                self.base,
                {**design, **cheaper, **repeated},
                self.directory,
                self.digest,
                allow_outside=self.allow_outside,
            )
            for repeated in self.plan.replicates
        )

    def _number(self, name: str, own: Design, path: str) -> float:
        """A number of a design, SI, or of the case where the design leaves it."""
        if name in own:
            try:
                return in_si(own[name])
            except ValueError:
                raise CaseError(f"derived.{path}: {name} = {shown(own[name])} is no number") from None
        value = input_number(self.case, name)
        if value is None:
            raise CaseError(f"derived.{path}: {shown(name)} is neither one of [parameters] nor a number of the case")
        return value


def designer_of(directory: Path, plan: SearchPlan, *, screened: bool, allow_outside: bool = False) -> Designer:
    """Makes members of designs on the case in a directory. Raises as `load_case`."""
    case = load_case(directory, allow_outside=allow_outside)
    base = tomllib.loads((directory / CASE_FILE).read_text(encoding="utf-8"))
    return Designer(plan, directory, base, case, allow_outside, screened)


def check_designs(designer: Designer) -> list[str]:
    """Refuses a search whose designs cannot be cases; returns what there is to note.

    Raises
    ------
    CaseError
        Where a dotted path is no key, the end of a range or a choice is not allowed, or no design at random is a case.
    """
    plan, file = designer.plan, f"{designer.directory / SEARCH_FILE}, applied to {CASE_FILE}"
    screening = plan.screening
    if screening and screening.model == "p2d" and not isinstance(designer.case, ResolvedCase | FullCellCase):
        raise CaseError(
            f'{file}: screening.model = "p2d" is for cases with model.kind = "resolved", and this one has '
            f'"{designer.case.kind}"; use model = "same" with set, or leave [screening] out'
        )
    problems = list(dict.fromkeys(_of_keys(designer)))
    if problems:
        raise CaseError(join(file, problems))
    refused, member = list[str](), None
    designs = [middle(plan.space), *sampled_designs(plan.space, LOOKED_AT, plan.seed)]
    for design in designs:
        try:
            member = designer.members(design | designer.derived(design))[0]
        except BattsimError as error:
            refused.append(_short(error, designer))
    if member is None:
        raise CaseError(f"{file}: none of {len(designs)} designs is a case; the first: {refused[0]}")
    for k, objective in enumerate(plan.objectives):
        refuse_wrong_inputs(objective.formula, member, f"{file}: objective.{k}.value")
    for k, constraint in enumerate(plan.constraints):
        refuse_wrong_inputs(constraint.formula, member, f"{file}: constraint.{k}.value")
    if not refused:
        return []
    return [f"{len(refused)} of {len(designs)} designs at random are no case, and would fail; the first: {refused[0]}"]


def _of_keys(designer: Designer) -> Iterator[str]:
    """What is wrong with a key by itself, at each end of its range, all others as in the case."""
    plan = designer.plan
    alone = {path: variable.ends() for path, variable in plan.space.items()}
    alone |= {path: (value,) for path, value in (plan.screening.set if plan.screening else {}).items()}
    for repeated in plan.replicates[:1]:
        alone |= {path: (value,) for path, value in repeated.items()}
    for path, values in alone.items():
        for value in values:
            try:
                member_of(designer.base, {path: value}, designer.directory, allow_outside=designer.allow_outside)
            except BattsimError as error:
                yield from (line for line in _lines(error, designer) if _is_about(line, path))


def _is_about(line: str, path: str) -> bool:
    """Whether a problem is that of one key: its value, or that there is none of its name or of a table's around it."""
    parts = path.split(".")
    places = [".".join(parts[: k + 1]) for k in range(len(parts))]
    return line.startswith((f"{path} ", f"{path}:", f"{path}=")) or (
        any(line.startswith(f"{place}: ") for place in places) and ("unknown key" in line or "is a list" in line)
    )


def _lines(error: BattsimError, designer: Designer) -> list[str]:
    """The problems that a message lists, without the file."""
    text = str(error).removeprefix(str(designer.directory / CASE_FILE)).removeprefix(": ")
    return [line.strip() for line in text.splitlines()]


def _short(error: BattsimError, designer: Designer) -> str:
    return " ".join(_lines(error, designer))


def _is_whole(value: float) -> bool:
    return abs(value) >= 1.0 and math.isclose(value, round(value), rel_tol=1e-12)
