"""What a case leaves out and its BPX files hold, filled in before the case is checked.

- the binder of an electrode on an image: from the user-defined block of the file of its active material;
- thickness, porosity, transport, conductivity and particles of a homogenised electrode: from the file of its material;
- the separator: from the file that stands in its place, or from its `base`;
- the salt concentration: from the file of the electrolyte.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from battsim.case.bpx import bpx_name, bpx_part
from battsim.case.files import outside, require_file
from battsim.case.materials import OwnActive, is_bpx
from battsim.case.messages import named
from battsim.errors import CaseError
from battsim.materials.bpx import BpxElectrode, BpxSeparator, read_bpx
from battsim.materials.bpx.names import SEPARATOR

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Opener:
    """Where the files of a case lie, and what messages call the case."""

    directory: Path
    file: str
    allow_outside: bool

    def __call__(self, key: str, name: str) -> Path:
        """Path of a file that a key names; CaseError where it is outside the case, InputError where it is not there."""
        wrong = outside(self.directory, key, name)
        if wrong is not None and not self.allow_outside:
            raise CaseError(f"{self.file}: {wrong}")
        return require_file(self.directory, self.file, key, name)


def with_bpx(data: Mapping[str, Any], directory: Path, file: str, *, allow_outside: bool) -> dict[str, Any]:
    """The tables of a case, as read, with all that its BPX files fill in; what is given is kept.

    Tables that make no sense are left as they are, for the check that follows.

    Raises
    ------
    CaseError, InputError
        Where a BPX file lies outside the case, cannot be read, or lacks the part that is meant; names the key.
    """
    filled = copy.deepcopy(dict(data))
    opened = _Opener(directory, file, allow_outside)
    for path, key in _materials_in(filled):
        _fill_electrode(filled, path, key, opened)
    materials = _table(filled, "materials")
    if is_bpx(materials.get("electrolyte")):
        _fill_salt(filled, materials["electrolyte"], opened)
    _fill_separator(materials, opened)
    return filled


def _materials_in(data: Table) -> Iterator[tuple[str, str]]:
    """Dotted paths of the tables that name an active material, and the keys that do."""
    model = _table(data, "model")
    if model.get("kind") == "p2d":
        yield from ((table, "material") for table in ("electrode", "negative", "positive"))
    elif model.get("cell") == "full":
        yield from ((f"{table}.materials", "active") for table in ("negative", "positive"))
    else:
        yield "materials", "active"


def _fill_electrode(data: Table, path: str, key: str, opened: _Opener) -> None:
    """Fill the table of an electrode whose material comes from a BPX file."""
    table = _table(data, *path.split("."))
    chosen = _as_choice(table.get(key))
    name = None if chosen is None else bpx_name(chosen)
    if chosen is None or name is None:
        return
    at = f"{path}.{key}" if isinstance(chosen, str) else f"{path}.{key}.base"
    file = opened(at, name)
    with named(opened.file), named(f"{path}.{key}"):
        part = bpx_part(file, f"{path}.{key}", chosen)
    if key == "material":
        _fill(table, _layer(part.electrode, table) | _particles(part.electrode) | _conductivity(part.electrode, table))
    elif isinstance(table.setdefault("binder", {}), dict):
        _fill(table["binder"], asdict(part.electrode.binder))


def _as_choice(value: Any) -> str | OwnActive | None:
    """A material as the case names it; None of what is refused later."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) and "\0" not in value else None
    try:
        return OwnActive.model_validate(value)
    except ValidationError:
        return None


def _fill_salt(data: Table, name: str, opened: _Opener) -> None:
    file = opened("materials.electrolyte", name)
    with named(opened.file), named("materials.electrolyte"):
        salt = read_bpx(file).initial_salt
    if isinstance(data.setdefault("conditions", {}), dict):
        _fill(data["conditions"], {"salt": salt})


def _fill_separator(materials: Table, opened: _Opener) -> None:
    """Fill `[materials.separator]`; the path of a file in its place becomes its `base`."""
    key, given = "materials.separator", materials.get("separator")
    if is_bpx(given):
        materials["separator"] = {"base": given}
    table = _table(materials, "separator")
    if not is_bpx(table.get("base")):
        return
    file = opened(key if isinstance(given, str) else f"{key}.base", table["base"])
    with named(opened.file), named(key):
        layer = read_bpx(file).separator
        if layer is None:
            raise CaseError(f"{file}: no {SEPARATOR!r} found; name a file that has one, or give thickness and porosity")
    _fill(table, _layer(layer, table))


def _layer(layer: BpxElectrode | BpxSeparator, given: Table) -> Table:
    """Thickness, porosity and, where the case has no transport, the tortuosity factor of a layer."""
    values = {"thickness": layer.thickness, "porosity": layer.porosity}
    if given.get("bruggeman") is None:
        values["tortuosity"] = layer.porosity / layer.transport_efficiency
    return values


def _conductivity(electrode: BpxElectrode, given: Table) -> Table:
    """The effective one, unless the case has one of its own."""
    own = any(given.get(key) is not None for key in ("bulk_conductivity", "solid_bruggeman"))
    return {} if own else {"conductivity": electrode.conductivity}


def _particles(electrode: BpxElectrode) -> Table:
    """Of one size; the homogenised cell knows no blend, so that the case has to say what its particles are."""
    if len(electrode.particles) != 1:
        return {}
    (particle,) = electrode.particles
    return {"active_volume_fraction": particle.active_volume_fraction, "particle_radius": particle.radius}


def _fill(table: Table, values: Mapping[str, Any]) -> None:
    """Put values where the table has none."""
    for key, value in values.items():
        if value is not None and table.get(key) is None:
            table[key] = value


def _table(data: Table, *keys: str) -> Table:
    """The table at a path; an empty one, of no effect, where there is none."""
    for key in keys:
        inner = data.get(key)
        data = inner if isinstance(inner, dict) else {}
    return data
