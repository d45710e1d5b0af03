"""Errors that reach the user; each carries the exit code of the command line.

A message says what was found, where (file and key), what is allowed, and what to do next.
"""


class BattsimError(Exception):
    """Anything that battsim refuses or fails to do, with its exit code."""

    exit_code = 70


class CaseError(BattsimError):
    """The case file asks for something that is not allowed."""

    exit_code = 3


class InputError(BattsimError):
    """An input file cannot be read."""

    exit_code = 4


class ImpossibleError(BattsimError):
    """The case is well formed but has no physical solution, such as a phase that does not percolate."""

    exit_code = 5


class NotConvergedError(BattsimError):
    """A solver stopped before its tolerance was met."""

    exit_code = 6


class ResourceError(BattsimError):
    """Memory, disk or time do not suffice."""

    exit_code = 7


class MembersFailedError(BattsimError):
    """Some of many runs failed; the others are done, and standard output has all of them."""

    exit_code = 8


class CheckpointError(BattsimError):
    """No checkpoint can be gone on from: it is damaged, or belongs to other inputs."""

    exit_code = 9
