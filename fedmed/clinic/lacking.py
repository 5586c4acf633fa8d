"""What stands between a run that the center offers and its approval here: pure, from what is there and what was said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.clinic import matching
from fedmed.clinic.colleagues import Colleague
from fedmed.clinic.releasing import release_for
from fedmed.config.dataset import DataSet
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, NotApproved
from fedmed.identity.member import check_name
from fedmed.identity.proposal import Proposal

SKIP = "skip"
_LONGEST = 60


@dataclass(frozen=True)
class Here:
    """What is there."""

    approvers: tuple[str, ...]
    datasets: tuple[DataSet, ...]
    others: tuple[Colleague, ...] = ()
    """All members but this clinic."""


@dataclass(frozen=True)
class Said:
    """What needs no question, since the command line says it."""

    approver: str | None = None
    passphrase: bool = False
    dataset: str | None = None
    source: bool = False
    """Where the cases of a new data set lie."""
    release: bool | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    """Six words, or `skip`, by name."""
    yes: bool = False


def lacking(proposal: Proposal, here: Here, said: Said, now: float) -> list[str]:
    """A line for all that somebody has to say yet, each with the option that says it; empty where nothing lacks."""
    scenario, found = proposal.scenario, list[str]()
    if signer(here.approvers, said.approver) is None:
        found.append(f"who approves? --approver {' | '.join(here.approvers) or 'NAME, whose key is made then'}")
    if not said.passphrase:
        found.append("the approver's passphrase: --passphrase-file FILE")
    chosen = None if said.source else choice(scenario, here.datasets, said.dataset)
    if chosen is None and not said.source:
        found.append(
            f"{which(scenario, here.datasets, said.dataset)}; say which with --dataset, or register one with --folder PATH"
        )
    if said.release is None and (chosen is None or not is_released(chosen, proposal, now)):
        found.append(f"whether runs for {scenario.purpose} may use the data set: --release or --no-release")
    found += [
        f"the six words of {each.identity.name}, by telephone: --member {each.identity.name}=WORDS, or "
        f"--member {each.identity.name}={SKIP}"
        for each in strangers(scenario, here.others)
        if each.identity.name not in said.members
    ]
    return found if said.yes else [*found, "that you approve: --yes"]


def signer(approvers: Sequence[str], named: str | None) -> str | None:
    """Who signs; None where somebody has to say it. Raises ConfigError for one who needs another to vouch first."""
    if named is None:
        return approvers[0] if len(approvers) == 1 else None
    check_name(named, "an approver")
    if approvers and named not in approvers:
        there = ", ".join(approvers)
        raise ConfigError(
            f"who approves? {named!r} is not on the list ({there}); one of them vouches: fedmed clinic approver {named} "
            f"--by {approvers[0]}"
        )
    return named


def choice(scenario: Scenario, known: Sequence[DataSet], named: str | None) -> DataSet | None:
    """The data set that the run uses: the named one, or the one that fits. None where somebody has to say it."""
    if named is not None:
        return next((each for each in known if each.name == named), None)
    found = fitting(scenario, known)
    return found[0] if len(found) == 1 else None


def fitting(scenario: Scenario, known: Sequence[DataSet]) -> list[DataSet]:
    """Those that the run describes."""
    return [each for each in known if not matching.faults(scenario, each)]


def which(scenario: Scenario, known: Sequence[DataSet], named: str | None) -> str:
    """Why no data set is chosen yet, in the staff's words."""
    if named is not None:
        return f"no data set is called {named[:64]!r} here; there are: {', '.join(each.name for each in known) or 'none'}"
    if not known:
        return "no data set is registered yet"
    if found := fitting(scenario, known):
        return f"more than one data set fits: {', '.join(each.name for each in found)}"
    faults = (f"{each.name} ({'; '.join(matching.faults(scenario, each))})" for each in known)
    return f"no data set is what the run describes: {', '.join(faults)}"


def is_released(dataset: DataSet, proposal: Proposal, now: float) -> bool:
    """Whether the run may use the data set, once it is approved."""
    try:
        release_for(dataset, proposal.scenario.purpose, proposal.run, now)
    except NotApproved:
        return False
    return True


def strangers(scenario: Scenario, others: Sequence[Colleague]) -> list[Colleague]:
    """Members without whose approval rounds with them are refused; none where nothing is encrypted."""
    if scenario.privacy.secure_aggregation == "off":
        return []
    return [each for each in others if not each.approved and not each.conflict]


def called_after(path: Path, taken: Sequence[str]) -> str:
    """A name for the data set in a folder (or file), other than those `taken`."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", path.stem.lower()).strip("-._")[:_LONGEST] or "cases"
    others = (f"{plain}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (plain, *others) if each not in taken)


def read_members(said: Sequence[str]) -> dict[str, str]:
    """`NAME=six words` and `NAME=skip` by name. Raises ConfigError."""
    found = {name: words for name, mark, words in (each.partition("=") for each in said) if mark and words.strip()}
    if len(found) != len(said):
        raise ConfigError(f'--member {" --member ".join(said)}; write NAME="six words" or NAME={SKIP}, each member once')
    return found
