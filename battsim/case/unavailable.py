"""What the case file may say one day, but this version cannot run: refused by name, with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_OF_HALF_CELLS = 'false, or a half cell (cell = "half") on the image of each electrode'


def not_available(data: Mapping[str, Any]) -> list[str]:
    """One line per request that is understood and not available; the tables are as read, not yet validated."""
    return [f"{key} is not available in this version; use {instead}" for key, instead in _requests(data)]


def _requests(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model = _table(data, "model")
    if model.get("kind") == "resolved" and model.get("cell") == "full":
        if model.get("baseline") is True:
            yield "model.baseline = true of a full cell", _OF_HALF_CELLS
        if model.get("engine") == "fipy":
            yield 'model.engine = "fipy" for a full cell', '"newton"'
    places = [("materials", key) for key in ("active", "electrolyte", "counter")]
    places += [(table, "material") for table in ("electrode", "negative", "positive")]
    places += [(f"{table}.materials", "active") for table in ("negative", "positive")]
    for table, key in places:
        name = _table(data, *table.split(".")).get(key)
        if isinstance(name, str) and name.lower().endswith(".json"):
            yield f'{table}.{key} = "{name}" (a BPX file)', "the name of a set, such as nmc811-chen2020"


def _table(data: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The table at a path; an empty one where there is none."""
    for key in keys:
        inner = data.get(key)
        data = inner if isinstance(inner, dict) else {}
    return data
