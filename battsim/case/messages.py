"""Validation errors in the words of the case file: key, value, what is allowed, what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from battsim.errors import CaseError, InputError
from battsim.quantity import QuantityError

_AT_MOST = 12
_LONGEST = 100
_RULES = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "int_type": "must be a whole number, without quotes or decimals",
    "string_type": "must be a string in quotes",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}
_IN_SI = {
    "temperature": 'in kelvin, or a string such as "25 degC"',
    "capacity": 'in C/m2, or a string such as "48.7 Ah/m^2"',
    "thickness": 'in m, or a string such as "75.6 um"',
    "radius": 'in m, or a string such as "5.22 um"',
}
"""Keys whose bounds catch a number that was meant in another unit."""


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per problem, each with the dotted path of its key."""
    return [_explain(problem, model) for problem in error.errors(include_url=False)]


def join(file: str, problems: Iterable[str]) -> str:
    """One message for all problems of a file."""
    listed = list(problems)
    if len(listed) == 1:
        return f"{file}: {listed[0]}"
    shown = [f"  {line}" for line in listed[:_AT_MOST]]
    rest = [f"  ... and {len(listed) - _AT_MOST} more"] if len(listed) > _AT_MOST else []
    return "\n".join([f"{file} has {len(listed)} problems:", *shown, *rest])


def suggest(name: object, allowed: Iterable[str]) -> str:
    """What was probably meant, and what there is."""
    names = list(allowed)
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? Known: {', '.join(names)}" if near else f"known: {', '.join(names)}"


def shown(value: object) -> str:
    """The value about as the user wrote it, cut where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


@contextmanager
def named(place: str) -> Iterator[None]:
    """Puts a file or a key in front of the message of an error about the case or about a file that it names."""
    try:
        yield
    except (CaseError, InputError) as error:
        raise type(error)(f"{place}: {error}") from None


def _explain(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """One problem, with what its key may hold instead."""
    keys = [key for key in problem["loc"] if not (isinstance(key, str) and key.startswith("<"))]
    path, kind, value = ".".join(map(str, keys)), problem["type"], problem["input"]
    context = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{path}: unknown key; {suggest(keys[-1], _keys_of(model, list(problem['loc'][:-1])))}"
    if kind == "missing":
        return _explain_missing(path, keys[-1], _field_at(model, keys))
    if kind == "literal_error":
        allowed = [name.strip("'") for name in re.split(r", | or ", context["expected"])]
        return f"{path} = {shown(value)} is not allowed; {suggest(value, allowed)}"
    if kind == "value_error":
        return _explain_rule(path, context["error"], value)
    rule = _RULES.get(kind, problem["msg"][:1].lower() + problem["msg"][1:])
    unit = f" ({_IN_SI[str(keys[-1])]})" if keys and keys[-1] in _IN_SI and not isinstance(value, dict) else ""
    return f"{path} = {shown(value)}: {rule.format(**context) if kind in _RULES else rule}{unit}"


def _explain_missing(path: str, key: int | str, field: FieldInfo | None) -> str:
    if isinstance(key, int):
        return f"{path}: is missing; the list needs one entry per axis"
    example = field.examples[0] if field is not None and field.examples else None
    hint = f", such as {key} = {example}" if example else ""
    return f"{path}: is required and missing; add it{hint}"


def _explain_rule(path: str, rule: Exception, value: object) -> str:
    """A message of our own: one on a quantity quotes the value already, one on a table needs none."""
    if isinstance(rule, QuantityError):
        return f"{path} = {rule}"
    return f"{path} {rule}" if isinstance(value, dict) else f"{path} = {shown(value)} {rule}"


def _keys_of(model: type[BaseModel], keys: list[Any]) -> list[str]:
    """What the table at that path may contain."""
    names = (field.alias or name for table in _tables_at(model, keys) for name, field in table.model_fields.items())
    return list(dict.fromkeys(names))


def _field_at(model: type[BaseModel], keys: list[Any]) -> FieldInfo | None:
    """The declaration of the key at that path."""
    for table in _tables_at(model, keys[:-1]):
        if keys[-1] in table.model_fields:
            return table.model_fields[keys[-1]]
    return None


def _tables_at(model: type[BaseModel], keys: list[Any]) -> list[type[BaseModel]]:
    """The tables that may stand at a path: more than one where a key takes several forms.

    A tag of a kind, such as "<spheres>", leaves the tables that are for this kind.
    """
    tables = [model]
    for key in keys:
        if isinstance(key, str) and key.startswith("<"):
            tables = [table for table in tables if key[1:-1] in kinds_of(table)] or tables
        elif isinstance(key, str):
            tables = [
                inner for t in tables if key in t.model_fields for inner in _tables_in(t.model_fields[key].annotation)
            ]
    return tables


def kinds_of(table: type[BaseModel]) -> tuple[str, ...]:
    """The values of `kind` that a table is for; none where it has no such key."""
    field = table.model_fields.get("kind")
    return get_args(field.annotation) if field is not None else ()


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Tables anywhere inside a type, such as in `tuple[Step, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables_in(argument)
