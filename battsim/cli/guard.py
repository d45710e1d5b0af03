"""Every error as a message and an exit code; a traceback never reaches the user."""

from __future__ import annotations

import errno
import functools
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec

import typer

from battsim.cli.show import print_json
from battsim.errors import BattsimError, ImpossibleError, MembersFailedError
from meshing.errors import ImageError, LabelError, MeshError

P = ParamSpec("P")

USAGE, INVALID, UNREADABLE, IMPOSSIBLE, RESOURCES, BUG = 2, 3, 4, 5, 7, 70
INTERRUPTED, TERMINATED = 130, 143
RESULTS = "results"


class UsageError(Exception):
    """Arguments that do not fit together, or do not fit what is on the disk."""


class AnsweredError(ImpossibleError):
    """No physical solution, where standard output has the full answer already."""


class Terminated(SystemExit):
    """SIGTERM as an exception, so that a run writes its record before the process ends."""


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with every error as a message and an exit code, never a traceback."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (Exception, KeyboardInterrupt, Terminated) as error:
            if isinstance(error, typer.Exit):
                raise
            message, code = _explain(error, kwargs)
            if kwargs.get("as_json") and not isinstance(error, AnsweredError | MembersFailedError):
                print_json({"error": message, "exit_code": code})
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(code) from None

    return call


def _explain(error: BaseException, arguments: Mapping[str, Any]) -> tuple[str, int]:
    """Message and exit code of an error."""
    match error:
        case BattsimError():
            return str(error), error.exit_code
        case LabelError():
            return str(error), INVALID
        case ImageError():
            return str(error), UNREADABLE
        case MeshError():
            return str(error), IMPOSSIBLE
        case UsageError():
            return str(error), USAGE
        case KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case Terminated():
            return "terminated", TERMINATED
        case MemoryError():
            return f"out of memory ({error or 'the system gave no more'}); crop or coarsen the image", RESOURCES
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"no space left on the disk for {error.filename}; free some, or run elsewhere", RESOURCES
        case OSError(filename=str() | Path()):
            return f"{error.filename}: {error.strerror}; check that it exists and that you may use it", UNREADABLE
        case OSError():
            return str(error), RESOURCES
        case _:
            place = _write_traceback(error, arguments.get("directory"))
            return f"a bug of ours: {type(error).__name__}: {error}; please report it with {place}", BUG


def _write_traceback(error: BaseException, directory: Path | None) -> Path:
    """Puts the traceback into the run's log where there is one, otherwise into a file of its own."""
    text = "".join(traceback.format_exception(error))
    if directory is not None and (directory / RESULTS).is_dir():
        log = directory / RESULTS / "run.log"
        with log.open("a", encoding="utf-8") as stream:
            stream.write(text)
        return log
    handle, name = tempfile.mkstemp(prefix="battsim-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
