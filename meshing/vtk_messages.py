"""VTK reports errors on standard error only; here they are collected, so that the caller can raise them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_errors() -> Iterator[list[str]]:
    """A list that holds, once the block has ended, the messages of the errors that VTK met in it."""
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

    messages: list[str] = []
    window, previous = vtkStringOutputWindow(), vtkOutputWindow.GetInstance()
    cutoff = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtkOutputWindow.SetInstance(previous)
        vtkLogger.SetStderrVerbosity(cutoff)
        text = window.GetOutput() or ""
        blocks = text.split("ERROR: In ")[1:]
        # the first line of a message says where in VTK's source, the rest what
        messages += [" ".join(block.split("\n", 1)[-1].split()) for block in blocks]
