"""What the case file may say one day, but this version cannot run: refused by name, with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from battsim.case.materials import is_bpx


def not_available(data: Mapping[str, Any]) -> list[str]:
    """One line per request that is understood and not available; the tables are as read, not yet validated."""
    return [f"{key} is not available in this version; use {instead}" for key, instead in _requests(data)]


def _requests(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model = _table(data, "model")
    if (model.get("kind"), model.get("cell"), model.get("engine")) == ("resolved", "full", "fipy"):
        yield 'model.engine = "fipy" for a full cell', '"newton"'
    counter = _table(data, "materials").get("counter")
    if is_bpx(counter):
        yield (
            f'materials.counter = "{counter}" (a BPX file, which describes no counter electrode)',
            "the name of a set, such as lithium-xu2019",
        )


def _table(data: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The table at a path; an empty one where there is none."""
    for key in keys:
        inner = data.get(key)
        data = inner if isinstance(inner, dict) else {}
    return data
