"""Many runs from one case: at several rates, and on several columns of its image."""

from battsim.sweep.study import Study, run_study

__all__ = ["Study", "run_study"]
