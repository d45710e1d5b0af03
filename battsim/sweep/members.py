"""Members of a sweep: the case with other values, each a case directory named by the hash of what it computes."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from battsim.case import CASE_FILE, Case, FullCellCase, ResolvedCase, files_of, load_case, read_case
from battsim.case.messages import join, shown
from battsim.errors import BattsimError, CaseError
from battsim.output.record import plain, read_json, sha256, state_of, write_json, write_text
from battsim.run.checkpoint import FREE
from battsim.sweep.plan import SWEEP_FILE, Design, Plan

RUNS, RESULTS, MEMBER_FILE, LATE_FILE, LOCK_FILE = "runs", "results", "member.json", "late.json", "member.lock"
DIGITS = 16
"""Of the hash that names a member."""
OF_ONE_RUN = ("name", "protocol", "initial", "output", "model.baseline", "solver.threads", "solver.time_rtol")
"""Keys of a resolved cell that its images, mesh and measured transport do not depend on."""

State = Literal["pending", "running", "done", "failed"]
Digest = Callable[[Path], str]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One case of a sweep.

    Attributes
    ----------
    key
        Hash of its resolved inputs, and the name of its directory.
    parameters
        What differs, as it is written, by dotted path.
    values
        The same as it is resolved: SI, by dotted path; text where it is no number.
    shares
        Hash of what members share whose mesh and transport are the same; None where nothing is shared.
    table
        Content of its case.toml.
    case
        Read from that, in the directory of the sweep.
    """

    key: str
    parameters: Design
    values: Mapping[str, Any]
    shares: str | None
    table: Mapping[str, Any]
    case: Case


@dataclass(frozen=True, slots=True)
class Standing:
    """What member.json and the results say of a member.

    Attributes
    ----------
    tries
        Begun so far.
    worker, started
        Of the last try: its address, and when it began, seconds since 1970.
    """

    state: State
    tries: int = 0
    error: str | None = None
    worker: str | None = None
    started: float | None = None


# from the plan to the members


def members_of(
    directory: Path,
    plan: Plan,
    *,
    allow_outside: bool = False,
    report: Callable[[float, str], None] = lambda _share, _message: None,
) -> list[Member]:
    """Every distinct member of a plan on the case in a directory; those that share an image are neighbours.

    Raises
    ------
    CaseError, InputError, ImpossibleError
        Where the case cannot be read, a dotted path is no key of it, or a value is not allowed.
    """
    load_case(directory, allow_outside=allow_outside)
    base = tomllib.loads((directory / CASE_FILE).read_text(encoding="utf-8"))
    digest, members, problems = _remembered(sha256), dict[str, Member](), list[str]()
    for number, design in enumerate(plan.designs()):
        report(number / plan.count, f"checks member {number + 1} of {plan.count}")
        try:
            member = member_of(base, design, directory, digest, allow_outside=allow_outside)
        except CaseError as error:
            problems.append(str(error).removeprefix(f"{directory / CASE_FILE}: "))
            problems = list(dict.fromkeys(problems))  # an unknown key is the same problem in every member
            continue
        members.setdefault(member.key, member)
    if problems:
        raise CaseError(join(f"{directory / SWEEP_FILE}, applied to {CASE_FILE}", problems))
    groups: dict[str, list[Member]] = {}
    for member in members.values():
        groups.setdefault(member.shares or member.key, []).append(member)
    return [member for group in groups.values() for member in group]


def member_of(
    base: Mapping[str, Any], design: Design, directory: Path, digest: Digest = sha256, *, allow_outside: bool = False
) -> Member:
    """A member; `base` is the content of the case file in the directory, `digest` gives the hash of a file.

    Raises
    ------
    CaseError, InputError, ImpossibleError
        As `members_of`; the message has the values of the member.
    """
    table = copy.deepcopy(dict(base))
    for path, value in design.items():
        override(table, path, value)
    table["name"] = named(str(base.get("name", "")), design)
    try:
        case = read_case(table, directory, allow_outside=allow_outside, file=str(directory / CASE_FILE))
    except BattsimError as error:
        if _about_a_key(error):
            raise
        raise type(error)(f"{error} (with {told(design)})") from None
    resolved = plain(case.resolved())
    files = {key: digest(case.locate(name)) for key, name in files_of(case).items()}
    key = hash_of(resolved, files, ("name", *FREE))[:DIGITS]
    shares = hash_of(resolved, files, OF_ONE_RUN)[:DIGITS] if isinstance(case, ResolvedCase | FullCellCase) else None
    values = {path: _value_at(resolved, path, written) for path, written in design.items()}
    return Member(key, design, values, shares, table, case)


def override(table: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path: tables by key, lists by index; tables that are missing are made.

    Raises
    ------
    CaseError
        Where the path leads through what is neither table nor list, or to an entry that a list does not have.
    """
    place: Any = table
    parts = path.split(".")
    for number, part in enumerate(parts):
        so_far, last = ".".join(parts[:number]), number == len(parts) - 1
        if isinstance(place, list):
            if not (part.isascii() and part.isdigit() and int(part) < len(place)):
                entries = f"0 to {len(place) - 1}" if place else "none"
                raise CaseError(f"{path}: {so_far} is a list with the entries {entries}, and has no {part!r}")
            index: Any = int(part)
        elif isinstance(place, dict):
            index = part
            if not last:
                place.setdefault(part, {})
        else:
            raise CaseError(
                f"{path}: {so_far} is {shown(place)} in {CASE_FILE}, which has no key {part!r}; write it as a table "
                "there"
            )
        if last:
            place[index] = copy.deepcopy(value)
        else:
            place = place[index]


def named(name: str, design: Design) -> str:
    """The name of a member: that of the case, and what differs."""
    return f"{name}: {told(design)}" if name else told(design)


def told(design: Design) -> str:
    """What differs, in words."""
    return ", ".join(f"{path} = {value if isinstance(value, str) else shown(value)}" for path, value in design.items())


def hash_of(resolved: Mapping[str, Any], files: Mapping[str, str], apart: Iterable[str]) -> str:
    """sha256 over all that decides about the numbers of a case; of its files the content counts, not their names.

    Parameters
    ----------
    resolved
        The case with all defaults, SI.
    files
        sha256 of each file, by the key that names it.
    apart
        Keys that do not count.
    """
    content = copy.deepcopy(dict(resolved))
    for path in (*apart, *files):
        _remove(content, path)
    text = json.dumps({"case": content, "files": dict(files)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _remove(content: dict[str, Any], path: str) -> None:
    """Take the value at a dotted path out of nested tables, where it is there."""
    *way, last = path.split(".")
    place: Any = content
    for part in way:
        place = place.get(part) if isinstance(place, dict) else None
    if isinstance(place, dict):
        place.pop(last, None)


def _about_a_key(error: BattsimError) -> bool:
    """Whether it is the path, and not the value, that is wrong: then it is so in every member."""
    return "unknown key" in str(error) and "problems:" not in str(error)


def _value_at(resolved: Mapping[str, Any], path: str, written: Any) -> Any:
    """The resolved value at a dotted path: a number, else text; as it is written where there is none."""
    place: Any = resolved
    for part in path.split("."):
        try:
            place = place[int(part)] if isinstance(place, list) else place[part]
        except (KeyError, IndexError, TypeError, ValueError):
            place = written
            break
    if isinstance(place, bool | int | float | str):
        return place
    return json.dumps(plain(place), ensure_ascii=False)


def _remembered(digest: Digest) -> Digest:
    """The same, once per file."""
    known: dict[Path, str] = {}

    def found(file: Path) -> str:
        if file not in known:
            known[file] = digest(file)
        return known[file]

    return found


# members on disk


def write_member(runs: Path, member: Member) -> None:
    """Makes the directory of a member, a full case that can be run by itself; its state is what it was, or pending."""
    directory = runs / member.key
    directory.mkdir(parents=True, exist_ok=True)
    table = copy.deepcopy(dict(member.table))
    for key, name in files_of(member.case).items():
        if not Path(name).is_absolute():
            where = os.path.relpath(member.case.locate(name), directory.resolve())
            _rename(table, key, name, Path(where).as_posix())
    write_text(directory / CASE_FILE, tomli_w.dumps(table))
    content = {"parameters": member.parameters, "values": member.values, "shares": member.shares}
    write_json(directory / MEMBER_FILE, content | _fields(standing_of(directory)))


def _rename(table: Mapping[str, Any], key: str, name: str, new: str) -> None:
    """Put another file name where the key, or a shorter form of it, has one."""
    place: Any = table
    for part in key.split("."):
        index = int(part) if isinstance(place, list) else part
        if place[index] == name:
            place[index] = new
            return
        place = place[index]
    raise AssertionError(f"{key} does not name {name}")


def remove_member(directory: Path) -> None:
    """Removes the directory of a member; leaves whatever else it may be, such as a link to one."""
    if not directory.is_symlink() and (directory / MEMBER_FILE).is_file():
        shutil.rmtree(directory)


def told_of(directory: Path) -> dict[str, Any]:
    """Content of member.json; empty where it is missing or cannot be read."""
    return read_json(directory / MEMBER_FILE) or {}


def standing_of(directory: Path) -> Standing:
    """Where a member stands: done is what has finished results, whatever member.json says."""
    content = told_of(directory)
    if state_of(directory / RESULTS) == "done" and (directory / RESULTS / "summary.json").is_file():
        return Standing("done", int(content.get("tries", 0)), None, content.get("worker"), content.get("started"))
    state = content.get("state")
    if state not in ("running", "failed"):
        return Standing("pending")
    return Standing(
        state, int(content.get("tries", 0)), content.get("error"), content.get("worker"), content.get("started")
    )


def is_done(directory: Path) -> bool:
    """Whether a member has finished results."""
    return standing_of(directory).state == "done"


def put_standing(directory: Path, standing: Standing) -> None:
    """Writes the state of a member, and leaves the rest of member.json."""
    write_json(directory / MEMBER_FILE, told_of(directory) | _fields(standing))


def begun(was: Standing, worker: str | None) -> Standing:
    """The standing of a member whose next try begins now."""
    return Standing("running", was.tries + 1, None, worker, time.time())


def ended(now: Standing, error: str | None = None) -> Standing:
    """The standing of a member after a try: done, or failed with a message."""
    return replace(now, state="done" if error is None else "failed", error=error)


def _fields(standing: Standing) -> dict[str, Any]:
    return {
        "state": standing.state,
        "tries": standing.tries,
        "error": standing.error,
        "worker": standing.worker,
        "started": standing.started,
    }


def late_tries(directory: Path) -> tuple[int, ...]:
    """The tries that were stopped because they exceeded their time."""
    return tuple((read_json(directory / LATE_FILE) or {}).get("tries", ()))


def put_late(directory: Path, number: int) -> None:
    """Notes that a try exceeded its time. A file of its own: member.json is written by who holds the lock alone."""
    write_json(directory / LATE_FILE, {"tries": [*late_tries(directory), number]})


class BusyError(Exception):
    """Another process works on it."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other processes from a member; the lock ends with the process, however that ends.

    Raises
    ------
    BusyError
        Where another process holds it.
    """
    import locket

    try:
        lock = locket.lock_file(str(directory / LOCK_FILE), timeout=0, retry_period=0.0)
        lock.acquire()
    except locket.LockError:
        raise BusyError(str(directory)) from None
    try:
        yield
    finally:
        lock.release()
