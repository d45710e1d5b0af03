"""Checkpoints on disk: numbers in full precision, written whole or not at all, with a sha256 beside each.

A checkpoint is one .npz file of arrays, one of which is a text of JSON; Python writes floats so that reading them gives
the same bits. The last two stay, so that one which a failing disk has spoiled leaves the one before it. What they mean
is their writer's business.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CheckpointError
from battsim.output.record import sha256

Arrays = Mapping[str, NDArray[np.float64]]

FOLDER = "checkpoints"
KEPT = 2
CONTENT = "content.json"
"""Name of the array that holds the text."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose file is what was written.

    Attributes
    ----------
    path, number
        File, and its number, which grows from one checkpoint of a run to the next.
    content
        What was saved beside the arrays.
    """

    path: Path
    number: int
    content: Mapping[str, Any]

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The arrays by name, read now: they are as large as the model."""
        with np.load(self.path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name != CONTENT}


def save(folder: Path, number: int, content: Mapping[str, Any], arrays: Arrays) -> Path:
    """Write a checkpoint and remove all but the newest KEPT; returns its file.

    Parameters
    ----------
    folder
        Made where it is missing.
    number
        Larger than those of the run's earlier checkpoints.
    content
        What JSON can hold; floats keep all their bits, tuples become lists.
    arrays
        By name.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"checkpoint_{number:08d}.npz"
    part, digest = path.with_name(f".{path.name}.part"), _digest_of(path)
    try:
        with part.open("wb") as stream:
            text = np.frombuffer(json.dumps(content).encode(), np.uint8)
            entries: dict[str, Any] = {CONTENT: text, **arrays}
            np.savez(stream, **entries)  # allow_pickle only since numpy 2.2: before that it is saved as an array
            _to_disk(stream)
        # the digest first: a checkpoint is there from the moment on at which its own file has its name
        with digest.open("w", encoding="utf-8") as stream:
            stream.write(f"{sha256(part)}  {path.name}\n")
            _to_disk(stream)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _folder_to_disk(folder)
    for old in _files(folder)[KEPT:]:
        _remove(old)
    return path


def whole(folder: Path) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints in a folder that are as they were written, newest first, and what is wrong with the others."""
    found, wrong = [], []
    for path in _files(folder):
        try:
            found.append(_verified(path))
        except CheckpointError as error:
            wrong.append(str(error))
    return found, wrong


def any_in(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, good or bad."""
    return bool(_files(folder))


def remove_after(checkpoint: Checkpoint) -> None:
    """Remove what is newer than a checkpoint, and what a process that was killed left half written.

    A run that goes on from the checkpoint writes all that again.
    """
    folder = checkpoint.path.parent
    for path in _files(folder):
        if path.name > checkpoint.path.name:
            _remove(path)
    for path in folder.glob("*checkpoint_*"):
        if path.suffix == ".part" or (path.suffix == ".sha256" and not path.with_suffix("").is_file()):
            path.unlink(missing_ok=True)


def _verified(path: Path) -> Checkpoint:
    """The checkpoint in a file; CheckpointError where the file is not what was written."""
    try:
        wanted = _digest_of(path).read_text(encoding="utf-8").split()[:1]
    except OSError:
        raise CheckpointError(f"{path} has no {_digest_of(path).name} beside it that could be read") from None
    try:
        if [sha256(path)] != wanted:
            raise CheckpointError(f"{path} is damaged: its sha256 is not the one in {_digest_of(path).name}")
        with np.load(path, allow_pickle=False) as file:
            content = json.loads(file[CONTENT].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from None
    return Checkpoint(path, int(path.stem.removeprefix("checkpoint_")), content)


def _files(folder: Path) -> Sequence[Path]:
    """Files of checkpoints, newest first."""
    named = (path for path in folder.glob("checkpoint_*.npz") if re.fullmatch(r"checkpoint_\d{8}", path.stem))
    return sorted(named, reverse=True)


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _digest_of(path).unlink(missing_ok=True)


def _to_disk(stream: io.IOBase) -> None:
    """What was written reaches the disk before anything that comes after."""
    stream.flush()
    os.fsync(stream.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Names in a folder reach the disk; Windows does that by itself and opens no folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
