"""Pictures at the end of a run: the numbers are on disk already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from battsim.run.sinks import Report


@contextmanager
def drawing(report: Report) -> Iterator[None]:
    """Around what draws: a picture that cannot be drawn is a line in the log, not a failed run."""
    report(1.0, "pictures")
    try:
        yield
    except Exception as error:  # whatever a drawing library raises on a machine without fonts or a display
        report(1.0, f"pictures were not drawn: {type(error).__name__}: {error}")
