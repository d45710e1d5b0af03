"""What an electrode microstructure does to the cell, from a segmented image to a discharge curve.

`battsim.tortuosity(image, axis="x")` is the shortest way in; everything else is imported from its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from battsim.post.transport import tortuosity

__all__ = ["tortuosity"]


def __getattr__(name: str) -> Any:
    """The function on first use: importing battsim loads no solver."""
    if name == "tortuosity":
        from battsim.post.transport import tortuosity

        return tortuosity
    raise AttributeError(f"module 'battsim' has no attribute '{name}'")
