"""What the case file may say one day, but this version cannot run: refused by name, with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HALF = 'a half cell (cell = "half") with [image] and [materials]'


def not_available(data: Mapping[str, Any]) -> list[str]:
    """One line per request that is understood and not available; the tables are as read, not yet validated."""
    return [f"{key} is not available in this version; use {instead}" for key, instead in _requests(data)]


def _requests(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model = _table(data, "model")
    if model.get("kind") == "p2d":
        yield 'model.kind = "p2d"', 'kind = "resolved" or kind = "tortuosity", which start from an image'
        return
    if model.get("cell") == "full":
        yield 'model.cell = "full"', _HALF
    for table in ("negative", "positive", "electrode"):
        if table in data:
            yield f"[{table}]", _HALF
    if model.get("baseline") is True:
        yield "model.baseline = true", "baseline = false"
    if "p2d" in _table(data, "solver"):
        yield "[solver.p2d]", "[solver] with time_rtol and threads"
    yield from _materials(_table(data, "materials"))
    yield from _steps(data.get("protocol"))


def _materials(materials: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("active", "electrolyte", "counter"):
        name = materials.get(key)
        if isinstance(name, str) and name.lower().endswith(".json"):
            yield f'materials.{key} = "{name}" (a BPX file)', "the name of a set, such as nmc811-chen2020"


def _steps(protocol: Any) -> Iterator[tuple[str, str]]:
    for number, step in enumerate(protocol if isinstance(protocol, list) else ()):
        path = f"protocol.{number}"
        if not isinstance(step, dict):
            continue
        if step.get("step") == "hold":
            yield f'{path}.step = "hold"', "charge, discharge or rest"
        elif "voltage" in step:
            yield f"{path}.voltage (a hold)", 'rate or current; an end at a voltage is until = { voltage = "3.5 V" }'
        if "power" in step:
            yield f"{path}.power", "rate or current"
        for key in ("current", "rate"):
            if key in _table(step, "until"):
                yield f"{path}.until.{key}", "until with voltage, time or capacity"


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = data.get(key)
    return inner if isinstance(inner, dict) else {}
