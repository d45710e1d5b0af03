"""What the parts of a BPX file have in common while it is read: reference state, user-defined block, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from battsim.materials.bpx import names
from battsim.materials.bpx.section import Section

OUR_PLACES = (names.NEGATIVE, names.POSITIVE_ELECTRODE, names.ELECTROLYTE)
"""Words with which the keys begin that are known here."""


@dataclass(slots=True)
class Setting:
    """Reference state and user-defined block of a file; gathers notes and the keys that were understood."""

    user: Section
    reference: float
    """T_ref, K."""
    salt: float
    """c_e0, mol/m3."""
    title: str
    source: str
    notes: list[str] = field(default_factory=list)
    places: dict[str, Sequence[str]] = field(default_factory=dict)

    def note(self, text: str | None) -> None:
        """Keep a sentence about something that was assumed."""
        if text is not None:
            self.notes.append(text)

    def known(self, place: str, known: Sequence[str]) -> Section:
        """User-defined block; from now on the keys of `place` with these names are known in it."""
        self.places[place] = known
        return self.user

    def rest(self) -> Mapping[str, Any]:
        """Keys of the user-defined block that are not ours; CaseError where one looks like ours and is not known."""
        keys = [names.named(place, name) for place, known in self.places.items() for name in known]
        ours = {key: value for key, value in self.user.data.items() if key.split(": ")[0].split(", ")[0] in OUR_PLACES}
        Section(self.user.where, {key: value for key, value in ours.items() if ": " in key}).check_keys(keys)
        return MappingProxyType({key: value for key, value in self.user.data.items() if key not in keys})
