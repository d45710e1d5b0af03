"""The best design of a case within given limits: optuna asks, the members of `battsim.sweep` answer.

`battsim.search.search.run_search` is not exported here: it loads optuna and dask.
"""
