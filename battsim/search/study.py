"""Trials of a search in SQLite, through optuna: asked one by one, told once each, gone on with after any death.

A trial that was under way when its process died is still there as running, with the values that it was given; it is
taken up again under its number. What a sampler draws for a trial depends on the seed, the number of the trial and the
trials before it alone, so that a search that is resumed with one worker asks for what an uninterrupted one would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from battsim.errors import CheckpointError, ResourceError
from battsim.search.plan import SearchPlan

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

DATABASE = "search.db"
IDENTITY, ANSWER = "battsim", "battsim"
"""Under which a study keeps what it belongs to, and a trial what it came to."""
LEAST_IMPORTANCE = 10
"""Feasible designs without which nothing is said about the importance of parameters."""
Purpose = Literal["search", "random", "final"]
"""A search, designs at random beside it, and finalists, which are in no study."""
State = Literal["running", "done", "infeasible", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a trial came to, as the database keeps it beside optuna's own.

    Attributes
    ----------
    members
        Hashes of its members.
    ran
        Whether it needed to be run: not where its inputs alone were outside the limits, or no case.
    objectives
        By name: mean, std and count over the replicates, and `told`, which the sampler heard.
    constraints
        Values by name; means over the replicates.
    """

    members: tuple[str, ...] = ()
    ran: bool = False
    error: str | None = None
    objectives: Mapping[str, Mapping[str, float]] | None = None
    constraints: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial as the results list it; `params` as optuna has them."""

    number: int
    purpose: Purpose
    state: State
    params: Mapping[str, Any]
    answer: Answer


@contextmanager
def open_storage(path: Path) -> Iterator[BaseStorage]:
    """The database of a search, made where it is missing; optuna keeps quiet meanwhile.

    Raises
    ------
    CheckpointError
        Where the file is no such database, or one of another version of optuna.
    """
    import optuna
    from sqlalchemy import URL
    from sqlalchemy.exc import DatabaseError

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            where = URL.create("sqlite", database=str(path.resolve())).render_as_string(hide_password=False)
            try:
                storage = optuna.storages.RDBStorage(where)
            except (DatabaseError, RuntimeError, AssertionError) as error:
                raise CheckpointError(f"{path} cannot be gone on with ({_first_line(error)}); {_FRESH}") from None
            try:
                yield storage
            except (DatabaseError, optuna.exceptions.StorageInternalError) as error:
                if "full" in str(error):  # SQLite's own words for a disk without room
                    raise ResourceError(
                        f"no space left on the disk for {path}; free some, then go on with --resume"
                    ) from None
                raise CheckpointError(f"{path} cannot be read or written ({_first_line(error)}); {_FRESH}") from None
            finally:
                storage.engine.dispose()
    finally:
        optuna.logging.set_verbosity(before)


_FRESH = "--fresh starts anew, and keeps nothing of it"


def open_study(storage: BaseStorage, plan: SearchPlan, purpose: Purpose, identity: Mapping[str, Any]) -> Study:
    """The study of a search, or of the designs at random beside it.

    Parameters
    ----------
    identity
        What decides about its trials; one that is there already must have the same.

    Raises
    ------
    CheckpointError
        Where it has not.
    """
    import optuna
    from optuna.study import StudyDirection

    directions = [
        StudyDirection.MAXIMIZE if objective.sign > 0.0 else StudyDirection.MINIMIZE for objective in plan.objectives
    ]
    _refuse_other(storage, purpose, identity)
    study = optuna.create_study(
        storage=storage, study_name=purpose, directions=directions, load_if_exists=True, sampler=_random(0)
    )
    study.set_user_attr(IDENTITY, dict(identity))
    return study


def _refuse_other(storage: BaseStorage, purpose: Purpose, identity: Mapping[str, Any]) -> None:
    """Refuses a study of something else; one whose trials have come to nothing yet, as of a wrong name, is removed."""
    import optuna
    from optuna.trial import TrialState

    if purpose not in optuna.get_all_study_names(storage):
        return
    study = optuna.load_study(storage=storage, study_name=purpose, sampler=_random(0))
    known = study.user_attrs.get(IDENTITY, {})
    if known == identity:
        return
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)):
        other = ", ".join(sorted(key for key in {*known, *identity} if known.get(key) != identity.get(key)))
        raise CheckpointError(
            f"{DATABASE} belongs to another search: {other} of search.toml or the case differ from what it began with. "
            "Put them back, or start anew with --fresh; trials, random, limits and finalists may change"
        )
    optuna.delete_study(storage=storage, study_name=purpose)


def interrupted(study: Study, plan: SearchPlan, purpose: Purpose) -> Iterator[Trial]:
    """The trials that were under way when the search ended, each under its number and with its values."""
    from optuna.trial import Trial, TrialState

    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.sampler = sampler_of(plan, purpose, frozen.number)
        yield Trial(study, frozen._trial_id)


def asked(study: Study, plan: SearchPlan, purpose: Purpose) -> Trial:
    """A new trial."""
    study.sampler = sampler_of(plan, purpose, len(study.get_trials(deepcopy=False)))
    return study.ask()


def params_of(trial: Trial, plan: SearchPlan) -> dict[str, Any]:
    """What optuna chose for each parameter; drawn where the trial has no value yet."""
    return {path: _suggested(trial, path, variable.distribution()) for path, variable in plan.space.items()}


def _suggested(trial: Trial, path: str, distribution: BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(path, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(path, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(path, choices)
    raise AssertionError(distribution)


def tell(
    study: Study,
    trial: Trial,
    state: State,
    answer: Answer,
    told: Sequence[float] = (),
    excess: Mapping[str, float] | None = None,
) -> None:
    """Writes what a trial came to; once, as the state is written last and in one transaction.

    Parameters
    ----------
    told
        Objectives for the sampler, of a trial that has run, feasible or not.
    excess
        By constraint; positive where it is not met.
    """
    from dataclasses import asdict

    from optuna.trial import TrialState

    there = trial.constraints
    for name, value in (excess or {}).items():
        if name not in there:
            trial.set_constraint(name, value)
    trial.set_user_attr(ANSWER, asdict(answer))
    if state == "failed":
        study.tell(trial, state=TrialState.FAIL)
    elif told:
        study.tell(trial, list(told))
    else:  # infeasible by its inputs: a sampler hears how far, and no value
        study.tell(trial, state=TrialState.PRUNED)


def finished(study: Study, purpose: Purpose) -> list[Finished]:
    """All trials, in their order."""
    return [_finished(trial, purpose) for trial in study.get_trials(deepcopy=False)]


def _finished(trial: FrozenTrial, purpose: Purpose) -> Finished:
    written = trial.user_attrs.get(ANSWER)
    answer = Answer() if written is None else Answer(**{**written, "members": tuple(written["members"])})
    return Finished(trial.number, purpose, _state(trial), dict(trial.params), answer)


def _state(trial: FrozenTrial) -> State:
    from optuna.trial import TrialState

    if trial.state in (TrialState.RUNNING, TrialState.WAITING):
        return "running"
    if trial.state == TrialState.FAIL:
        return "failed"
    return "infeasible" if any(value > 0.0 for value in trial.constraints.values()) else "done"


def sampler_of(plan: SearchPlan, purpose: Purpose, number: int) -> BaseSampler:
    """What draws a trial: of the seed and its number."""
    from optuna.samplers import NSGAIISampler, QMCSampler, TPESampler

    seed = seed_of(plan.seed, purpose, number)
    if purpose == "random" or plan.sampler == "random":
        return _random(seed)
    if plan.sampler == "nsga2":
        return NSGAIISampler(population_size=plan.population, seed=seed)
    if plan.sampler == "sobol":  # one sequence, whose points the database counts
        return QMCSampler(qmc_type="sobol", scramble=True, seed=plan.seed, warn_asynchronous_seeding=False)
    return TPESampler(n_startup_trials=plan.startup, seed=seed)


def importance_of(study: Study, plan: SearchPlan) -> dict[str, dict[str, float]]:
    """By objective and parameter, how much it matters for being among the best quarter (PED-ANOVA, Watanabe 2023).

    Shares whose sum is 1; nothing of an objective with fewer than 10 feasible designs, or all of them equal.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    done = [trial for trial in study.get_trials(deepcopy=False) if _state(trial) == "done"]
    found: dict[str, dict[str, float]] = {}
    for k, objective in enumerate(plan.objectives):
        losses = [-objective.sign * trial.values[k] for trial in done]
        if len(done) >= LEAST_IMPORTANCE and min(losses) < max(losses):
            evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
            shares = get_param_importances(_with_losses(done, losses), evaluator=evaluator)
            found[objective.name] = {path: float(share) for path, share in shares.items()}
    return found


def _with_losses(trials: Sequence[FrozenTrial], losses: Sequence[float]) -> Study:
    """A study in memory with other values, to be made small."""
    import optuna

    found = optuna.create_study(direction="minimize")
    for trial, loss in zip(trials, losses, strict=True):
        again = optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=loss)
        found.add_trial(again)
    return found


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def seed_of(seed: int, purpose: Purpose, number: int) -> int:
    """A seed of its own for each trial."""
    import numpy as np

    words = np.random.SeedSequence([seed, ("search", "random").index(purpose), number]).generate_state(1)
    return int(words[0])


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
