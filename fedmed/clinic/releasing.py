"""What a data set may be used for: pure rules over its file. Withdrawn is withdrawn from the next question on."""

from __future__ import annotations

from fedmed.config.dataset import DataSet, Release, Withdrawal
from fedmed.errors import ConfigError, NotApproved
from fedmed.identity.authority import day

ASK_STAFF = "this site's data is not released for the run; ask its staff"
"""All that the center is told: why not is the clinic's own affair."""


def releases_in_force(dataset: DataSet, now: float) -> tuple[Release, ...]:
    """Those that hold now, for the content as it is registered."""
    if dataset.withdrawn is not None:
        return ()
    return tuple(
        each for each in dataset.releases if each.digest == dataset.digest and (each.until is None or now < each.until)
    )


def release_for(dataset: DataSet, purpose: str, run: str, now: float) -> Release:
    """The release that a run may use the data set by. Raises NotApproved, the reason in `kept`."""
    for each in releases_in_force(dataset, now):
        if each.purpose == purpose and each.run in (None, run):
            return each
    raise NotApproved(ASK_STAFF, f"data set {dataset.name}: {_why_not(dataset, purpose, run, now)}")


def released(dataset: DataSet, purpose: str, run: str | None, until: int | None, by: str, now: float) -> DataSet:
    """The data set with one release more, in place of one for the same. Raises ConfigError for an end that has passed."""
    if until is not None and until <= now:
        raise ConfigError(f"--until {day(until)} has passed; give a later date, or none")
    new = Release(purpose=purpose, run=run, until=until, digest=dataset.digest, unix=int(now), by=by)
    others = tuple(each for each in dataset.releases if (each.purpose, each.run) != (purpose, run))
    if dataset.withdrawn is not None:  # what was released before stays withdrawn
        others = ()
    return dataset.model_copy(update={"releases": (*others, new), "withdrawn": None})


def withdrawn(dataset: DataSet, by: str, reason: str, now: float) -> DataSet:
    """The data set, usable for nothing."""
    return dataset.model_copy(update={"withdrawn": Withdrawal(unix=int(now), by=by, reason=reason)})


def _why_not(dataset: DataSet, purpose: str, run: str, now: float) -> str:
    again = f"say: fedmed clinic data release {dataset.name} --purpose {purpose}"
    if dataset.withdrawn is not None:
        return f"withdrawn at {day(dataset.withdrawn.unix)} by {dataset.withdrawn.by}; to use it again, {again}"
    fitting = [each for each in dataset.releases if each.purpose == purpose and each.run in (None, run)]
    if any(each.digest != dataset.digest for each in fitting):
        return f"its content is other than what was released; look at it, then {again}"
    if fitting:
        return f"its release for {purpose} ended at {day(max(each.until or 0 for each in fitting))}; {again}"
    known = ", ".join(sorted({f"{each.purpose}{f' (run {each.run})' if each.run else ''}" for each in dataset.releases}))
    return f"not released for the purpose {purpose!r} in run {run}; released for: {known or 'nothing'}; {again}"
