"""The files of a study under results/: its own, and a folder of results for each of its runs."""

from __future__ import annotations

from pathlib import Path

from battsim.output.record import clear

STUDY_FILE = "study.json"
RATES, COLUMNS = "rates", "columns"


def holds_study(results: Path) -> bool:
    """Whether a results directory is that of a study."""
    return (results / STUDY_FILE).is_file()


def clear_study(results: Path) -> None:
    """Removes what a study wrote, its runs included, and nothing else."""
    for folder in (*results.glob(f"{COLUMNS}/*/{RATES}/*"), *results.glob(f"{COLUMNS}/*"), *results.glob(f"{RATES}/*")):
        if folder.is_dir() and not folder.is_symlink():
            clear(folder)
            _remove_empty(folder / RATES)
            _remove_empty(folder)
    for name in (RATES, COLUMNS):
        _remove_empty(results / name)
    clear(results)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()
