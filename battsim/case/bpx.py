"""Which part of a BPX file a key of the case means.

A name that ends in .json is the path of a BPX file. Of its electrodes the one is meant that is called as the place in
the case, in a half cell the positive one or else the only one; `electrode` names another. Of a blend, `particle` names
the component.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from battsim.case.materials import OwnActive, is_bpx
from battsim.case.messages import shown, suggest
from battsim.errors import CaseError
from battsim.materials.bpx import BpxCell, BpxElectrode, BpxParticle, names, read_bpx
from battsim.materials.types import Electrolyte

SIDES = {"negative": names.NEGATIVE, "positive": names.POSITIVE_ELECTRODE}
"""Names of the electrodes in BPX, by those in a case."""


@dataclass(frozen=True, slots=True)
class BpxPart:
    """An electrode of a BPX file.

    Attributes
    ----------
    file
        Its path.
    cell
        All that the file holds.
    name
        Of the electrode in BPX.
    """

    file: Path
    cell: BpxCell
    name: str
    electrode: BpxElectrode


def bpx_name(chosen: str | OwnActive) -> str | None:
    """Name of the BPX file that is chosen as a material, or as its base; None where there is none."""
    name = chosen.base if isinstance(chosen, OwnActive) else chosen
    return name if is_bpx(name) else None


def bpx_part(file: Path, key: str, chosen: str | OwnActive) -> BpxPart:
    """The electrode of a BPX file that is meant by what stands at a key, such as "negative.material".

    Raises
    ------
    InputError
        Where the file is no JSON object.
    CaseError
        Where it is no BPX file of a known version, or lacks the electrode.
    """
    cell = read_bpx(file)
    both = {"negative": cell.negative, "positive": cell.positive}
    held: dict[str, BpxElectrode] = {side: each for side, each in both.items() if each is not None}
    place, wanted = key.split(".")[0], chosen.electrode if isinstance(chosen, OwnActive) else None
    side = wanted or (place if place in SIDES else "positive" if "positive" in held else "negative")
    electrode = held.get(side)
    if electrode is None:
        other = next(iter(held))
        raise CaseError(
            f"{file}: no {SIDES[side]!r} found, only {SIDES[other]!r}; name a file that has it, or take the other one: "
            f'{{ base = {shown(bpx_name(chosen))}, electrode = "{other}" }}'
        )
    return BpxPart(file, cell, SIDES[side], electrode)


def bpx_particle(part: BpxPart, chosen: str | OwnActive) -> BpxParticle:
    """The active material that is meant: the electrode's only one, or the component of a blend that `particle` names.

    Raises
    ------
    CaseError
        Where a blend has no such component, or none is named.
    """
    particles = {particle.name: particle for particle in part.electrode.particles}
    wanted = chosen.particle if isinstance(chosen, OwnActive) else None
    if wanted is None and len(particles) == 1:
        return part.electrode.particle
    if list(particles) == [""]:
        raise CaseError(f"{part.file}: {part.name!r} is no blend; delete particle = {shown(wanted)}")
    if wanted in particles:
        return particles[wanted]
    if wanted is not None:
        raise CaseError(f"{part.file}: {part.name!r} has no component {shown(wanted)}; {suggest(wanted, particles)}")
    first = next(iter(particles))
    raise CaseError(
        f"{part.file}: {part.name!r} is a blend of {', '.join(map(repr, particles))}, and one material is needed here; "
        f"choose one: {{ base = {shown(bpx_name(chosen))}, particle = {shown(first)} }}"
    )


def bpx_electrolyte(file: Path) -> Electrolyte:
    """The electrolyte of a BPX file; CaseError where it has none. Raises InputError as `bpx_part`."""
    found = read_bpx(file).electrolyte
    if found is None:
        raise CaseError(f"{file}: no {names.ELECTROLYTE!r} found; name a file that has one, or a published set")
    return found
