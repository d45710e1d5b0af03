"""Where in a cell an unknown lies, in words: for messages about what went wrong, and where the physics ends."""

from __future__ import annotations

from typing import Protocol

from battsim.models.cell.state import Layout

FIELDS = ("x", "c_e", "phi_s", "phi_e")


class Places(Protocol):
    """Words for the unknowns of a cell."""

    def of_unknown(self, index: int) -> str:
        """Field and place of an entry of the state."""
        ...

    def of(self, field: str, index: int) -> str:
        """Place of an unknown of a field (x, c_e, phi_s or phi_e), counted within it."""
        ...


class Numbered:
    """Places by number alone, and the base of those that know more.

    Parameters
    ----------
    layout
        Where the fields lie in the state.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def of_unknown(self, index: int) -> str:
        """Field and place of an entry of the state."""
        for field in FIELDS:
            part: slice = getattr(self._layout, field)
            if part.start <= index < part.stop:
                return f"{field} of {self.of(field, index - part.start)}"
        return "the terminal voltage"

    def of(self, field: str, index: int) -> str:  # noqa: ARG002 (places that know more ask for it)
        """Place of an unknown of a field, counted within it."""
        return f"cell {index}"
