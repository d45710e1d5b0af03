"""Access to one object of a BPX file by key, with errors that name file, place, key, value and range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from battsim.errors import CaseError


@dataclass(frozen=True, slots=True)
class Range:
    """Interval of allowed numbers; an open end is not allowed itself."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in it."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return math.isfinite(value) and above and below

    @property
    def text(self) -> str:
        """Interval in words."""
        if math.isinf(self.low) and math.isinf(self.high):
            return "a finite number"
        if math.isinf(self.high):
            return f"a number {'above' if self.low_open else 'of at least'} {self.low:g}"
        ends = {
            (False, False): "both included",
            (True, False): "the first excluded",
            (False, True): "the last excluded",
        }
        how = ends.get((self.low_open, self.high_open), "both excluded")
        return f"a number from {self.low:g} to {self.high:g}, {how},"


FINITE = Range()
POSITIVE = Range(0.0, low_open=True)
NOT_NEGATIVE = Range(0.0)
SHARE = Range(0.0, 1.0, low_open=True)
INSIDE = Range(0.0, 1.0, low_open=True, high_open=True)


@dataclass(frozen=True, slots=True)
class Section:
    """One JSON object, with the words that say where it is."""

    where: str
    """File and path, such as "cell.json, Positive electrode"."""
    data: Mapping[str, Any]

    def refuse(self, key: str, found: str, allowed: str) -> CaseError:
        """Error about the value of a key."""
        return CaseError(f"{self.where}, {key}: {found} found; {allowed} is needed.")

    def check_keys(self, known: Sequence[str], moved: Mapping[str, str] | None = None) -> None:
        """CaseError on a key that is not among `known`; `moved` says where some of them belong."""
        for key in self.data:
            if key in known:
                continue
            if moved is not None and key in moved:
                raise CaseError(f"{self.where}, {key}: this key belongs in {moved[key]}; move it there.")
            near = get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise CaseError(f"{self.where}: unknown key {key!r}; {hint}Known keys: {', '.join(known)}.")

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.data.get(key) is not None

    def required(self, key: str, what: str) -> Any:
        """Value of the key; CaseError where it is missing."""
        if not self.has(key):
            raise CaseError(f"{self.where}: the key {key!r} is missing; give {what}.")
        return self.data[key]

    def number(self, key: str, allowed: Range) -> float:
        """Number of the key; CaseError where it is missing, no number or outside the range."""
        value = self.required(key, allowed.text)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, repr(value), allowed.text)
        if not allowed.holds(float(value)):
            raise self.refuse(key, f"{value:g}", allowed.text)
        return float(value)

    def optional(self, key: str, allowed: Range) -> float | None:
        """Number of the key, or None where it is not there."""
        return self.number(key, allowed) if self.has(key) else None

    def default(self, key: str, allowed: Range, otherwise: float) -> float:
        """Number of the key, or `otherwise` where it is not there."""
        return self.number(key, allowed) if self.has(key) else otherwise

    def text(self, key: str) -> str:
        """Text of the key; empty where it is not there, CaseError where it is something else."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, str):
            raise self.refuse(key, repr(value), "a text")
        return value or ""

    def section(self, key: str) -> Section:
        """Object of the key; CaseError where it is missing or something else."""
        value = self.required(key, "an object { ... }")
        if not isinstance(value, dict):
            raise self.refuse(key, repr(value), "an object { ... }")
        return Section(f"{self.where}, {key}", value)

    def optional_section(self, key: str) -> Section:
        """Object of the key, or an empty one where it is not there."""
        return self.section(key) if self.has(key) else Section(f"{self.where}, {key}", {})
