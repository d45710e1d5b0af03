"""Settings that every question about transport takes."""

from __future__ import annotations

from math import isfinite

from battsim.errors import CaseError


def check_numbers(bulk: float, tolerance: float, threads: int) -> None:
    """Raise CaseError where one of them is not allowed."""
    if not (isfinite(bulk) and bulk > 0):
        raise CaseError(f"bulk = {bulk}; the reference conductivity must be a finite number above 0")
    if threads < 1:
        raise CaseError(f"threads = {threads}; at least 1 is needed")
    if not 1e-11 <= tolerance <= 0.1:
        raise CaseError(f"tolerance = {tolerance}; allowed is 1e-11 (what double precision can tell) to 0.1")
