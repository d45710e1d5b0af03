"""Many runs from one case: at several rates and on several columns of its image here, or a plan of members on workers.

`battsim.sweep.sweep.run_sweep` is not exported here: it loads dask.
"""

from battsim.sweep.study import Study, run_study

__all__ = ["Study", "run_study"]
