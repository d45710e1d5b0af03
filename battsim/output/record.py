"""The record of a run, `run.json`: what ran, on which inputs, how it ended, and what it took."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from battsim.errors import BattsimError
from meshing.errors import ImageError, MeshError

State = Literal["running", "done", "stopped", "failed"]
RECORD_FILE = "run.json"
MICROSTRUCTURE_FILE = "microstructure.json"
LIBRARIES = ("numpy", "scipy", "numba", "pyamg", "pydantic", "pint", "tifffile", "scikit-image")
"""Packages whose version can change a result."""
OWNED = (
    "run.json",
    "case.resolved.json",
    "summary.json",
    "microstructure.json",
    "timeseries*.csv",
    "steps*.csv",
    "profiles*.csv",
    "gap.csv",
    "study.json",
    "runs.csv",
    "ladder/*.csv",
    "slices.csv",
    "fields/fields.pvd",
    "fields/*.vti",
    "fields/*.vtu",
    "p2d_image.bpx.json",
    "p2d_image_pybamm.py",
    "checkpoints/*",
    "*.png",
    "report.html",
    "run.log",
)
"""What the engine writes under results/, and so what a fresh run may remove."""


@dataclass(frozen=True, slots=True)
class Record:
    """The content of run.json.

    Attributes
    ----------
    inputs
        sha256 of each input file, by the key of the case file that names it.
    resumed_from_s
        Time in the run, s, from which this process went on; None where it began.
    wall_s, cpu_s
        Since this process began or went on; None while it is running.
    peak_memory_bytes
        Of the whole process so far.
    error
        Message of what ended a run that is failed or stopped.
    """

    state: State
    version: str
    git_commit: str | None
    inputs: Mapping[str, str]
    seed: int | Mapping[str, int] | None
    libraries: Mapping[str, str]
    threads: int
    pid: int
    started: str
    resumed_from_s: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    error: str | None = None


@contextmanager
def recorded(
    results: Path,
    *,
    inputs: Mapping[str, Path],
    seed: int | Mapping[str, int] | None,
    threads: int,
    resumed_from_s: float | None = None,
) -> Iterator[None]:
    """Writes run.json before and after the block: done, stopped (interrupted) or failed, whatever it raises.

    Parameters
    ----------
    results
        Directory for run.json; made where it is missing.
    inputs
        Files that the run reads, by the key of the case file that names them; case.toml itself too.
    seed
        Of the recipe, or of each by the path of its table; None where nothing is random.
    threads
        That the solvers may use.
    resumed_from_s
        Time in the run, s, of the checkpoint that it goes on from; None where it begins.
    """
    results.mkdir(parents=True, exist_ok=True)
    for part in results.glob(".*.part"):  # what a process that was killed left half written
        part.unlink(missing_ok=True)
    began, cpu_began = time.perf_counter(), time.process_time()
    record = replace(_begin(inputs, seed, threads), resumed_from_s=resumed_from_s)
    write_json(results / RECORD_FILE, asdict(record))

    def finish(state: State, error: str | None = None) -> None:
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        ended = replace(record, state=state, wall_s=wall, cpu_s=cpu, peak_memory_bytes=peak_memory_bytes(), error=error)
        write_json(results / RECORD_FILE, asdict(ended))

    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        finish("stopped", "interrupted")
        raise
    except BaseException as error:
        expected = isinstance(error, BattsimError | ImageError | MeshError)
        finish("failed", str(error) if expected else f"{type(error).__name__}: {error}")
        raise
    finish("done")


def state_of(results: Path) -> State | None:
    """State of the run in a results directory; None where there is none that can be read."""
    state = (read_json(results / RECORD_FILE) or {}).get("state")
    return state if state in ("running", "done", "stopped", "failed") else None


def runs_elsewhere(results: Path) -> bool:
    """Whether another process of this machine, the one that the record names, still works on the results."""
    record = read_json(results / RECORD_FILE)
    if record is None or record.get("state") != "running":
        return False
    try:
        pid, started = int(record["pid"]), datetime.fromisoformat(record["started"]).timestamp()
        if pid == os.getpid():
            return False
        process = psutil.Process(pid)
        # a process that was there before the run began is the run; the record's time is cut to seconds
        return bool(process.create_time() < started + 2.0 and process.status() != psutil.STATUS_ZOMBIE)
    except (KeyError, TypeError, ValueError, psutil.NoSuchProcess):
        return False


def clear(results: Path) -> None:
    """Removes what the engine wrote, and nothing else; links are removed, never followed."""
    for pattern in OWNED:
        folder, _, name = pattern.rpartition("/")
        place = results / folder
        if folder and place.is_symlink():
            continue
        for file in place.glob(name):
            if file.is_symlink() or file.is_file():
                file.unlink()
    for folder in ("fields", "checkpoints", "ladder"):
        with suppress(OSError):
            (results / folder).rmdir()


def read_json(path: Path) -> dict[str, Any] | None:
    """The table in a JSON file; None where the file is missing, cannot be read or holds something else."""
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else None
    return None


def write_json(path: Path, content: object) -> None:
    """Writes JSON as `write_text` does; NaN and infinity become null."""
    write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old one or the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def plain(content: Any) -> Any:
    """The same content in the types of JSON: numpy and paths turned, what is not finite as None."""
    if isinstance(content, np.generic | np.ndarray):
        return plain(content.tolist())
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, Path):
        return content.as_posix()
    return content


def sha256(file: Path) -> str:
    """Digest of a file's bytes, in hexadecimal; of a folder: of the names and digests of its files."""
    if file.is_dir():
        inside = sorted(inner for inner in file.iterdir() if inner.is_file())
        return hashlib.sha256("".join(f"{inner.name} {sha256(inner)}\n" for inner in inside).encode()).hexdigest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def peak_memory_bytes() -> int:
    """The most memory that this process held so far, bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # unlike getrusage, whose peak a process inherits from the one that started it
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if line is not None:
            return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def git_commit(root: Path) -> str | None:
    """The commit that a checkout is at; None where `root` is no checkout. Read from its files, as git may be absent."""
    place = root / ".git"
    try:
        if place.is_file():
            place = (root / place.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (place / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        name = head.removeprefix("ref:").strip()
        common = place / "commondir"
        shared = (place / common.read_text().strip()).resolve() if common.is_file() else place
        loose = shared / name
        if loose.is_file():
            return loose.read_text().strip()
        packed = (line.split() for line in (shared / "packed-refs").read_text().splitlines())
        return next((words[0] for words in packed if words[1:] == [name]), None)
    except OSError:
        return None


def _begin(inputs: Mapping[str, Path], seed: int | Mapping[str, int] | None, threads: int) -> Record:
    return Record(
        state="running",
        version=battsim_version(),
        git_commit=git_commit(Path(__file__).resolve().parents[2]),
        inputs={key: sha256(file) for key, file in inputs.items()},
        seed=seed,
        libraries=library_versions(),
        threads=threads,
        pid=os.getpid(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def battsim_version() -> str:
    """Version of this package, "unknown" where it is not installed."""
    return _version("battsim") or "unknown"


def library_versions() -> dict[str, str]:
    """Versions of Python and of LIBRARIES."""
    return {"python": platform.python_version()} | {name: v for name in LIBRARIES if (v := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
