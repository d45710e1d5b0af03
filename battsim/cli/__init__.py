"""The command line: the only place that prints, exits or reads arguments.

Heavy packages are imported inside the commands, so that `battsim --help` answers at once.
"""

from battsim.cli.commands import app, main

__all__ = ["app", "main"]
