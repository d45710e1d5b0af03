"""What the ladder shares with the tests: their cells, their drivers and their independent solutions.

Each lives beside the tests that it came from and is loaded by its path: the same solution serves both, and neither is
part of the installed package. pytest must be installed (the extra "dev").
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


def load(path: str) -> ModuleType:
    """Module of a file under tests/, loaded once."""
    name = "ladder_" + path.removesuffix(".py").replace("/", "_")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def cells_of_tests() -> SimpleNamespace:
    """Cells, materials, direct solver and drivers of tests/models/conftest.py, as the tests there see them."""
    given = vars(load("models/conftest.py"))
    return SimpleNamespace(**{**given, "limits": given["Limits"], "phases": given["PHASES"]})
