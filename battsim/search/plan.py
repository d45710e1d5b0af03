"""`search.toml`: among which designs to search, for what, and within which limits; checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from battsim.case.fields import Count, NonEmpty, Number, Share, Table
from battsim.case.messages import join, shown
from battsim.errors import CaseError
from battsim.quantity import QuantityError, to_si
from battsim.search.formula import Named, read_formula
from battsim.search.space import Between, Choice, Space, Variable
from battsim.sweep.plan import Limits as SweepLimits
from battsim.sweep.plan import check_path, inner_table, parameters_of, read_tables, refuse_overlap, validated
from battsim.sweep.sampling import values_of

SEARCH_FILE = "search.toml"
LARGEST_FILE = 1_000_000
LEAST_ENDED = 10
"""Before so many trials have ended, no number of failures ends a search."""
UNITS = ("", "m", "m^2", "1/m", "s", "V", "A/m^2", "W/m^2", "mol/m^3", "m^2/s", "S/m", "ohm m^2", "kg/m^3", "K")
"""Units of inputs in which the limit of a constraint may be written."""

SamplerName = Literal["tpe", "random", "nsga2", "sobol"]
Direction = Literal["maximise", "minimise"]
Design = dict[str, Any]


def in_si(value: object) -> float:
    """A number in SI: as it is, or from a string with any unit that a key of a case has; ValueError for all else."""
    if not isinstance(value, str):
        return to_si(value, "")
    problem: QuantityError | None = None
    for unit in UNITS:
        try:
            return to_si(value, unit)
        except QuantityError as error:
            problem = error
    raise ValueError(f'is {shown(value)}, which is no number with a unit of SI, such as "120 um"') from problem


class Limits(SweepLimits):
    """`[limits]`: those of a sweep; and the share of trials that may fail before the search ends."""

    failed: Share = 0.75


class ObjectiveTable(Table):
    """One `[[objective]]`: a number of the results, or a formula of such numbers, to be made large or small."""

    value: StrictStr = Field(examples=['"energy_Wh_m2"'])
    direction: Direction = Field(examples=['"maximise"'])


class ConstraintTable(Table):
    """One `[[constraint]]`: a number of inputs or results, or a formula, and its limits, SI or with units."""

    value: StrictStr = Field(examples=['"electrode.thickness"'])
    min: StrictInt | StrictFloat | StrictStr | None = None
    max: StrictInt | StrictFloat | StrictStr | None = None

    @field_validator("min", "max")
    @classmethod
    def _number(cls, value: object) -> float | None:
        return None if value is None else in_si(value)

    @model_validator(mode="after")
    def _has_limits(self) -> ConstraintTable:
        if self.min is None and self.max is None:
            raise ValueError("has neither min nor max; give one, such as max = 90e-6")
        if self.min is not None and self.max is not None and not float(self.min) <= float(self.max):
            raise ValueError(f"has min = {self.min:g} and max = {self.max:g}; min must not exceed max")
        return self


class Screening(Table):
    """`[screening]`: trials are judged by something cheaper, and only the best by the case itself.

    `model`: "p2d", the homogenised cell with what the image gives; "same", the case's own, which `set` makes cheaper.
    `set`: keys of the case, by dotted path, that trials have other values of. `finalists`: how many of the best are
    computed as the case says; `checks`: how many others, from the best to the worst, beside them, to see how far the
    screening is right over the whole range.
    """

    model: Literal["p2d", "same"] = "p2d"
    set: dict[StrictStr, Any] = Field(default_factory=dict)
    finalists: Count = 4
    checks: Annotated[StrictInt, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _is_cheaper(self) -> Screening:
        if self.model == "same" and not self.set:
            raise ValueError(
                'with model = "same" needs set, such as set = { "image.coarsen" = 2 }: it would take as long otherwise'
            )
        return self


class SearchFile(Table):
    """`search.toml`, as it is written."""

    schema_: Literal[1] = Field(1, alias="schema")
    trials: Annotated[Count, Field(le=100_000)] = Field(examples=["60"])
    seed: Annotated[StrictInt, Field(ge=0, le=2**31)] = 1
    sampler: SamplerName = "tpe"
    startup: Count = 10
    population: Annotated[Count, Field(ge=4)] = 16
    random: Annotated[StrictInt, Field(ge=0, le=100_000)] = 0
    caution: Annotated[Number, Field(ge=0)] = 1.0
    parameters: Annotated[dict[StrictStr, Any], NonEmpty]
    derived: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    objective: Annotated[tuple[ObjectiveTable, ...], NonEmpty]
    constraint: tuple[ConstraintTable, ...] = ()
    replicates: dict[StrictStr, Any] = Field(default_factory=dict)
    screening: Screening | None = None
    limits: Limits = Limits()

    @field_validator("parameters", "derived", "replicates")
    @classmethod
    def _paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        for path in value:
            check_path(path)
        return value

    @model_validator(mode="after")
    def _each_key_once(self) -> SearchFile:
        cheaper = self.screening.set if self.screening else {}
        refuse_overlap([*self.parameters, *self.derived, *self.replicates, *cheaper])
        for table in (self.objective, self.constraint):
            names = [each.value for each in table]
            if len(set(names)) < len(names):
                raise ValueError("has two objectives, or two constraints, on the same value; keep one of them")
        return self


@dataclass(frozen=True, slots=True)
class Objective:
    """What is made large or small; `sign` is 1 where large is good, else -1."""

    formula: Named
    direction: Direction

    @property
    def name(self) -> str:
        """As it is written."""
        return self.formula.text

    @property
    def sign(self) -> float:
        """1.0 or -1.0."""
        return 1.0 if self.direction == "maximise" else -1.0


@dataclass(frozen=True, slots=True)
class Constraint:
    """What stays within limits, SI; either may be infinite."""

    formula: Named
    low: float
    high: float

    @property
    def name(self) -> str:
        """As it is written."""
        return self.formula.text

    def excess(self, value: float) -> float:
        """How far a value is outside, relative to the limit (absolute where that is 0); at most 0 inside."""
        return max(_relative(self.low - value, self.low), _relative(value - self.high, self.high))


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A search that is well formed.

    Attributes
    ----------
    trials
        Designs that are asked for.
    space
        What a design chooses.
    derived
        Keys that follow from it, by dotted path.
    replicates
        Values of further keys; a design is run with each combination of them.
    caution
        Standard errors of the mean over the replicates that are taken off an objective.
    random
        Designs at random that are run beside it, for comparison.
    """

    trials: int
    seed: int
    sampler: SamplerName
    startup: int
    population: int
    random: int
    caution: float
    space: Space
    derived: Mapping[str, Named]
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    replicates: tuple[Design, ...]
    screening: Screening | None
    limits: Limits
    written: Mapping[str, Any]

    @property
    def members(self) -> int:
        """Cases that are run at most."""
        of_case = 0 if self.screening is None else self.screening.finalists + self.screening.checks
        return (self.trials + self.random + of_case) * len(self.replicates)

    def identity(self) -> dict[str, Any]:
        """What a search can only be gone on with unchanged: all but how long it is, and what is done after it."""
        free = ("trials", "random", "limits")
        own = {key: value for key, value in self.written.items() if key not in free}
        if self.screening is not None:
            own["screening"] = {"model": self.screening.model, "set": dict(self.screening.set)}
        return own


def load_search(directory: Path) -> SearchPlan:
    """The plan in a case directory.

    Raises
    ------
    CaseError
        Where search.toml asks for something that is not allowed; all problems are listed.
    InputError
        Where there is no such file.
    """
    file = directory / SEARCH_FILE
    usual = (
        f"a search is a case directory with a {SEARCH_FILE}, which names keys of case.toml with their ranges, such as "
        '[parameters] "electrode.thickness" = { low = "40 um", high = "120 um" }, and an objective, such as '
        '[[objective]] value = "energy_Wh_m2", direction = "maximise"'
    )
    return read_search(read_tables(file, LARGEST_FILE, usual), str(file))


def read_search(data: Mapping[str, Any], file: str = SEARCH_FILE) -> SearchPlan:
    """The plan in a table; `file` is what messages call it. Raises CaseError as `load_search`."""
    written = validated(SearchFile, data, file)
    problems: list[str] = []
    space = _space(written.parameters, problems)
    replicates = parameters_of("replicates", written.replicates, problems, on_grid=True)
    objectives = [(_formula(f"objective.{k}.value", o.value, problems), o) for k, o in enumerate(written.objective)]
    constraints = [(_formula(f"constraint.{k}.value", c.value, problems), c) for k, c in enumerate(written.constraint)]
    derived = {path: _formula(f"derived.{path}", text, problems) for path, text in written.derived.items()}
    if len(written.objective) > 1 and written.sampler == "sobol":
        problems.append('sampler = "sobol" only spreads designs; several objectives need "tpe", "nsga2" or "random"')
    if problems:
        raise CaseError(join(file, problems))
    repeated = product(*map(values_of, replicates.values()))
    return SearchPlan(
        trials=written.trials,
        seed=written.seed,
        sampler=written.sampler,
        startup=written.startup,
        population=written.population,
        random=written.random,
        caution=written.caution,
        space=space,
        derived={path: formula for path, formula in derived.items() if formula is not None},
        objectives=tuple(Objective(f, o.direction) for f, o in objectives if f is not None),
        constraints=tuple(Constraint(f, *_limits_of(c)) for f, c in constraints if f is not None),
        replicates=tuple(dict(zip(replicates, values, strict=True)) for values in repeated),
        screening=written.screening,
        limits=written.limits,
        written=written.model_dump(mode="json"),
    )


def _limits_of(table: ConstraintTable) -> tuple[float, float]:
    low = float("-inf") if table.min is None else float(table.min)
    return low, float("inf") if table.max is None else float(table.max)


def _relative(beyond: float, limit: float) -> float:
    if beyond == float("-inf"):
        return beyond
    return beyond / (abs(limit) or 1.0)


def _formula(place: str, text: str, problems: list[str]) -> Named | None:
    try:
        found = read_formula(text)
    except CaseError as error:
        problems.append(f"{place} = {error}")
        return None
    if not found.names:
        problems.append(f"{place} = {shown(text)} names no number, so that every design would have the same")
    return found


def _space(written: Mapping[str, Any], problems: list[str]) -> dict[str, Variable]:
    """Ranges and choices by dotted path; what is wrong with any goes to the problems."""
    found: dict[str, Variable] = {}
    for path, value in written.items():
        place = f"parameters.{path}"
        if isinstance(value, list | tuple):
            if len(value) < 2:
                problems.append(
                    f"{place} has {len(value)} values; a choice needs at least two, or write it in case.toml"
                )
            elif any(one == other for k, one in enumerate(value) for other in value[:k]):
                problems.append(f"{place} = {shown(value)}: has a value twice; name each once")
            found[path] = Choice(tuple(value))
        elif isinstance(value, Mapping):
            inner = inner_table(Between, value, place, problems)
            if inner is not None:
                found[path] = inner
        else:
            problems.append(
                f"{place} = {shown(value)}: must be a range such as {{ low = 0.25, high = 0.5 }}, or a list of choices"
            )
    return found
