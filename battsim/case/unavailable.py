"""What the case file may say one day, but this version cannot run: refused by name, with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HALF = 'a half cell (cell = "half") with [image] and [materials], or a full cell without an image (kind = "p2d")'


def not_available(data: Mapping[str, Any]) -> list[str]:
    """One line per request that is understood and not available; the tables are as read, not yet validated."""
    return [f"{key} is not available in this version; use {instead}" for key, instead in _requests(data)]


def _requests(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model = _table(data, "model")
    if model.get("kind") == "resolved":
        if model.get("cell") == "full":
            yield 'model.cell = "full" on images', _HALF
        for table in ("negative", "positive"):
            if table in data:
                yield f"[{table}]", _HALF
    places = [("materials", key) for key in ("active", "electrolyte", "counter")]
    places += [(table, "material") for table in ("electrode", "negative", "positive")]
    for table, key in places:
        name = _table(data, table).get(key)
        if isinstance(name, str) and name.lower().endswith(".json"):
            yield f'{table}.{key} = "{name}" (a BPX file)', "the name of a set, such as nmc811-chen2020"


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = data.get(key)
    return inner if isinstance(inner, dict) else {}
