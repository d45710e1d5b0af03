"""What the pages of sweeps and searches share: their base with pictures in it, and cells of sortable tables."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 520
"""Of a picture on the page, pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with what it shows."""

    png: bytes
    title: str
    text: str


def render(template: str, title: str, pictures: Sequence[Picture], **values: Any) -> str:
    """A page of the package's templates that extends `page/base.html`, with the values that its own part asks for."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("battsim", "templates")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    embedded = [_embedded(picture) for picture in pictures]
    return templates.get_template(template).render(title=title, pictures=embedded, **values)


def _embedded(picture: Picture) -> dict[str, Any]:
    """A picture as a template has it."""
    data = base64.b64encode(picture.png).decode("ascii")
    return {"title": picture.title, "text": picture.text, "data": data, "width": WIDTH}


def cell_of(value: Any) -> dict[str, Any]:
    """A cell as it is shown, and the number that it is sorted by."""
    if isinstance(value, int | float):
        return {"text": f"{value:.5g}", "value": repr(value)}
    return {"text": "" if value is None else str(value), "value": None}
