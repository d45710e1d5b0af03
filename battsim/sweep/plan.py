"""`sweep.toml`: which keys of a case go through which values, checked; and the designs that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StrictInt, StrictStr, ValidationError, field_validator, model_validator

from battsim.case.fields import Count, Duration, NonEmpty, Table, si
from battsim.case.load import read_toml
from battsim.case.messages import explain, join, shown
from battsim.errors import CaseError, InputError
from battsim.sweep.sampling import Parameter, Range, sampled, values_of

SWEEP_FILE = "sweep.toml"
Method = Literal["grid", "zip", "list", "latin-hypercube", "sobol"]
SAMPLED = ("latin-hypercube", "sobol")
LARGEST_FILE = 10_000_000

T = TypeVar("T", bound=Table)
Design = dict[str, Any]
"""Values, as they would stand in a case, by the dotted paths of their keys."""
Memory = Annotated[float, si("byte"), Field(ge=2**26)]
"""Bytes, at least 64 MiB: a plain 4 that was meant in GiB is refused."""


class Limits(Table):
    """`[limits]`: how many members without being asked, and what each may take.

    `time` per try, s; `memory` of a worker's process, bytes; `tries` before a member whose process dies, or that
    exceeds its time, is given up.
    """

    members: Count = 1000
    time: Duration | None = None
    memory: Memory | None = None
    tries: Annotated[Count, Field(le=100)] = 3


class Report(Table):
    """`[report]`: numbers of summary.json that the pictures are about, by their dotted paths; none: by kind of case."""

    objectives: tuple[StrictStr, ...] = ()


class SweepFile(Table):
    """`sweep.toml`, as it is written."""

    schema_: Literal[1] = Field(1, alias="schema")
    method: Method = Field(examples=['"grid"'])
    samples: Annotated[Count, Field(le=1_000_000)] | None = None
    seed: Annotated[StrictInt, Field(ge=0)] = 1
    parameters: dict[StrictStr, Any] = Field(default_factory=dict)
    members: tuple[Annotated[dict[StrictStr, Any], NonEmpty], ...] = ()
    replicates: dict[StrictStr, Any] = Field(default_factory=dict)
    limits: Limits = Limits()
    report: Report = Report()

    @field_validator("parameters", "replicates")
    @classmethod
    def _paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        for path in value:
            check_path(path)
        return value

    @field_validator("members")
    @classmethod
    def _paths_of_members(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for path in (path for member in value for path in member):
            check_path(path)
        return value

    @model_validator(mode="after")
    def _suits_the_method(self) -> SweepFile:
        if self.method == "list" and (self.parameters or not self.members):
            raise ValueError('with method = "list" needs [[members]], tables of dotted paths, and no [parameters]')
        if self.method != "list" and (self.members or not self.parameters):
            raise ValueError(f'with method = "{self.method}" needs [parameters], and no [[members]]')
        if (self.samples is None) == (self.method in SAMPLED):
            verb = "needs samples, such as samples = 64" if self.samples is None else "has no samples; delete the key"
            raise ValueError(f'with method = "{self.method}" {verb}')
        paths = [*(self.parameters or dict.fromkeys(p for member in self.members for p in member)), *self.replicates]
        refuse_overlap(paths)
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep that is well formed.

    Attributes
    ----------
    parameters, replicates
        By dotted path; empty parameters for a list.
    listed
        The members of a list.
    objectives
        Dotted paths into summary.json; empty: by kind of case.
    notes
        What is worth knowing about it.
    """

    method: Method
    parameters: Mapping[str, Parameter]
    replicates: Mapping[str, Parameter]
    listed: tuple[Design, ...]
    samples: int
    seed: int
    limits: Limits
    objectives: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every key that differs between members, replicates last."""
        listed = dict.fromkeys(path for design in self.listed for path in design)
        return (*(self.parameters or listed), *self.replicates)

    @property
    def count(self) -> int:
        """Designs, those included that come out alike."""
        lengths = [len(values_of(p)) for p in self.parameters.values()] if self.method in ("grid", "zip") else []
        own = {"grid": math.prod(lengths), "zip": max(lengths, default=0), "list": len(self.listed)}
        return own.get(self.method, self.samples) * math.prod(len(values_of(p)) for p in self.replicates.values())

    def designs(self) -> Iterator[Design]:
        """Every design, the replicates of each one after the other."""
        for own in self._own():
            for repeated in product(*map(values_of, self.replicates.values())):
                yield own | dict(zip(self.replicates, repeated, strict=True))

    def _own(self) -> Iterator[Design]:
        """The designs without their replicates."""
        if self.method == "list":
            yield from self.listed
            return
        parameters = list(self.parameters.values())
        if self.method == "latin-hypercube" or self.method == "sobol":
            rows = iter(sampled(parameters, self.method, self.samples, self.seed))
        elif self.method == "zip":
            rows = zip(*map(values_of, parameters), strict=True)
        else:
            rows = product(*map(values_of, parameters))
        yield from (dict(zip(self.parameters, row, strict=True)) for row in rows)


def load_plan(directory: Path) -> Plan:
    """The plan in a case directory.

    Raises
    ------
    CaseError
        Where sweep.toml asks for something that is not allowed; all problems are listed.
    InputError
        Where there is no such file.
    """
    file = directory / SWEEP_FILE
    usual = (
        f"a sweep is a case directory with a {SWEEP_FILE}, which names the keys of case.toml that change, such as "
        '[parameters] "protocol.0.rate" = ["C/5", "1 C"]'
    )
    return read_plan(read_tables(file, LARGEST_FILE, usual), str(file))


def read_plan(data: Mapping[str, Any], file: str = SWEEP_FILE) -> Plan:
    """The plan in a table; `file` is what messages call it. Raises CaseError as `load_plan`."""
    written = validated(SweepFile, data, file)
    problems: list[str] = []
    on_grid = written.method not in SAMPLED
    parameters = parameters_of("parameters", written.parameters, problems, on_grid=on_grid)
    replicates = parameters_of("replicates", written.replicates, problems, on_grid=True)
    if written.method == "zip" and not problems:
        lengths = {path: len(values_of(parameter)) for path, parameter in parameters.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{path} has {n}" for path, n in lengths.items())
            problems.append(f'parameters: with method = "zip" need the same number of values; {told}')
    if problems:
        raise CaseError(join(file, problems))
    samples = written.samples or 0
    return Plan(
        written.method,
        parameters,
        replicates,
        written.members,
        samples,
        written.seed,
        written.limits,
        written.report.objectives,
        tuple(_notes(written.method, samples)),
    )


def _notes(method: Method, samples: int) -> Iterator[str]:
    if method == "sobol" and samples & (samples - 1):
        near = 2 ** round(math.log2(samples))
        yield f"samples = {samples} is no power of 2: a Sobol sequence is balanced where it is, such as {near}"


def parameters_of(
    table: str, written: Mapping[str, Any], problems: list[str], *, on_grid: bool
) -> dict[str, Parameter]:
    """Lists and ranges by dotted path; what is wrong with any goes to the problems."""
    found: dict[str, Parameter] = {}
    for path, value in written.items():
        place = f"{table}.{path}"
        if isinstance(value, list | tuple):
            if not value:
                problems.append(f"{place}: is empty; it needs at least one value")
            found[path] = tuple(value)
        elif isinstance(value, Mapping):
            inner = inner_table(Range, value, place, problems)
            if inner is None:
                continue
            found[path] = inner
            try:
                if on_grid:
                    values_of(inner)
            except ValueError as error:
                problems.append(f"{place} {error}")
        else:
            problems.append(
                f"{place} = {shown(value)}: must be a list of values, or a range such as "
                "{ low = 0.45, high = 0.65, steps = 5 }"
            )
    return found


def check_path(path: str) -> None:
    """Refuses what is no dotted path of a key with a ValueError."""
    if not path or any(not part for part in path.split(".")):
        raise ValueError(f'has {shown(path)}, which is no dotted path of a key, such as "protocol.0.rate"')


def refuse_overlap(paths: Sequence[str]) -> None:
    """Refuses a dotted path that is there twice, or leads into another, with a ValueError."""
    for one, other in product(enumerate(paths), enumerate(paths)):
        if one[0] != other[0] and f"{other[1]}.".startswith(f"{one[1]}."):
            raise ValueError(f"sets {shown(other[1])}, and {shown(one[1])} as well; keep one of them")


# reading a file of dotted paths, here and in a search


def read_tables(file: Path, largest: int, usual: str) -> dict[str, Any]:
    """Content of a file of at most so many bytes; InputError with what is usual in it where there is none."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; {usual}")
    return read_toml(file, largest, 'Strings and dotted paths need quotes ("1 C", "protocol.0.rate")')


def validated(table: type[T], data: Mapping[str, Any], file: str) -> T:
    """The data as such a table; CaseError with all that is wrong with it."""
    try:
        return table.model_validate(data)
    except ValidationError as error:
        raise CaseError(join(file, [line.strip() for line in explain(error, table)])) from None


def inner_table(table: type[T], data: Mapping[str, Any], place: str, problems: list[str]) -> T | None:
    """The data at a place in a file as such a table; what is wrong with it goes to the problems, and None comes."""
    try:
        return table.model_validate(data)
    except ValidationError as error:  # what is about the table as a whole begins with a blank
        problems += [place + line if line.startswith(" ") else f"{place}.{line}" for line in explain(error, table)]
        return None
