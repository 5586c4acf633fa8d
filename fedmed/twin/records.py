"""What the folder of a center says of the rounds of a run: journal, last commit, and how fast sites were seen to be.

Nothing is asked of a clinic. A line of the journal that a kill left half written at its end is left out; any other that
cannot be read means that the journal is damaged, and then nothing of it is believed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, StoreError
from fedmed.federation.journal import NAME as JOURNAL
from fedmed.federation.pace import Past
from fedmed.federation.patience import NAME as PACE
from fedmed.store.commits import Commits
from fedmed.wire.canonical import canonical

CENTER_FILE, RUNS, STATE = "center.yaml", "runs", "state.json"
MOST_BYTES = 256 << 20
"""Of a journal."""
MOST_STATE = 4 << 20
OTHER_VERSION = "they were written by another version of fedmed; record with the version that conducted the run"


@dataclass(frozen=True)
class Exchange:
    """One question to all sites and their answers, in one round."""

    began: float
    """Seconds since 1970."""
    answered: Mapping[str, float]
    """Site -> seconds until its answer was whole and taken."""

    @property
    def seconds(self) -> float:
        """Until the last answer."""
        return max(self.answered.values(), default=0.0)


@dataclass(frozen=True)
class RoundSeen:
    """A committed round that needed one attempt."""

    number: int
    began: float
    seconds: float
    """Until its commit was on the disk."""
    train: Exchange
    validate: Exchange | None
    """None where the round had none."""
    up: float
    """Bytes of tensors that all sites sent together; `down` that were sent to them."""
    down: float
    cohort: tuple[str, ...]
    missing: Mapping[str, str]
    """Sites that it was closed without, and why."""

    @property
    def is_complete(self) -> bool:
        """Whether every site that was asked is in it."""
        return not self.missing


@dataclass(frozen=True)
class Records:
    """A run's."""

    run: str
    scenario: Scenario
    cases: Mapping[str, int]
    """Training cases that each site declared."""
    rounds: tuple[RoundSeen, ...]
    """Those after the first, in order; what the first takes has imports and the set-up of masks in it."""
    pasts: Mapping[tuple[str, str], Past]
    """Site and kind of message -> its last answers, with the seconds that each was on the line."""
    others: int = 0
    """Committed rounds that are none of these: taken up after a crash, or tried more than once."""


def read(center: Path, run: str | None = None) -> Records:
    """The records of a run, the newest that has a commit where none is named.

    Raises ConfigError for what is no center's folder and for a run without a complete round after its first; StoreError for
    a damaged journal, and for records of another version.
    """
    if not (center / CENTER_FILE).is_file():
        raise ConfigError(f"{center} is no center's folder: it holds no {CENTER_FILE}; name that of fedmed center init")
    folder = center / RUNS / (_newest(center) if run is None else run)
    if run is not None and folder not in _folders(center):
        known = ", ".join(each.name for each in _folders(center)) or "none yet"
        raise ConfigError(f"--run: no run is called {run!r}; runs: {known}")
    return of_run(folder)


def _folders(center: Path) -> list[Path]:
    return sorted(path.parent for path in (center / RUNS).glob(f"[!.]*/{STATE}"))


def _newest(center: Path) -> str:
    found = [path for path in _folders(center) if Commits(path).rounds()]
    if not found:
        raise ConfigError(f"{center}: no run has committed a round; let one run, and record then")
    return max(found, key=lambda path: (path / JOURNAL).stat().st_mtime if (path / JOURNAL).exists() else 0.0).name


def of_run(folder: Path) -> Records:
    """As `read`, of a run's folder."""
    told = list(journal(folder))
    commit, faults = Commits(folder).latest()
    if commit is None:
        raise StoreError("; ".join(faults) or f"{folder}: no round is committed; record once some are")
    try:
        scenario = Scenario.model_validate_json(canonical(commit.state["scenario"]))
        met = [each for each in told if each["event"] == "met"][-1]
        cases = {str(site): int(count) for site, count in met["sites"].items()}
        seen = _rounds(told, commit.state["history"], set(map(int, commit.state["resumed"])))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{folder}: the records lack something ({type(error).__name__}: {error}); {OTHER_VERSION}"
        ) from error
    if scenario.federation.buffer is not None:
        raise ConfigError(
            f"{folder}: its rounds are buffers (federation.buffer), which end before those of its slow sites; record a run "
            "whose rounds wait for all"
        )
    steady = tuple(each for each in seen if each.number > 1)
    if not any(each.is_complete for each in steady):
        raise ConfigError(
            f"{folder}: of {len(commit.state['history'])} committed rounds none after the first is complete in one attempt; "
            "record once a round has every site in it"
        )
    others = len(commit.state["history"]) - len(seen)
    return Records(folder.name, scenario, cases, steady, _pasts(folder), others)


def journal(folder: Path) -> Iterator[dict[str, Any]]:
    """Every event. Raises StoreError for a journal that is missing, too large or damaged."""
    path = folder / JOURNAL
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); put a copy back from the backup") from error
    if len(content) > MOST_BYTES:
        raise StoreError(f"{path} is larger than {MOST_BYTES} bytes; no run's journal is: put a copy back")
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            event = json.loads(line)
            if not (isinstance(event, dict) and isinstance(event["event"], str) and math.isfinite(event["unix"])):
                raise ValueError("no event")
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise StoreError(f"{path}:{number}: the journal is damaged; put a copy back from the backup") from error
        yield event


def _pasts(folder: Path) -> dict[tuple[str, str], Past]:
    """Empty where there is none, as under a deadline that is the same for all: the line was not measured then."""
    path = folder / PACE
    if not path.is_file():
        return {}
    try:
        content = path.read_bytes()[:MOST_STATE]
        seen = json.loads(content)["seen"]
        return {(site, kind): Past.of(past) for site, kinds in seen.items() for kind, past in kinds.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{path} cannot be read ({type(error).__name__}); take it away, lines are then not known"
        ) from error


def _rounds(told: list[dict[str, Any]], history: list[dict[str, Any]], resumed: set[int]) -> list[RoundSeen]:
    """Rounds of one attempt that no crash was in."""
    begun, over, answers = _begun(told), _over(told), _answers(told)
    found = []
    for record in history:
        number = int(record["round"])
        if record["attempt"] != 1 or number - 1 in resumed or len(begun.get(number, ())) != 1 or number not in over:
            continue
        began = begun[number][0]
        train = Exchange(began, {site: at - began for site, at in answers.get((number, "train"), {}).items()})
        phases = {name: float(seconds) for name, seconds in record["phases"].items()}
        asked = began + sum(phases[name] for name in ("train", "open", "aggregate") if name in phases)
        heard = answers.get((number, "evaluate"), {})
        validate = Exchange(asked, {site: max(0.0, at - asked) for site, at in heard.items()}) if heard else None
        moved, missing = record["bytes"], {**record["missing"], **record["refused"]}
        up, down, cohort = float(moved["up"]), float(moved["down"]), tuple(record["cohort"])
        found.append(RoundSeen(number, began, over[number] - began, train, validate, up, down, cohort, missing))
    return found


def _begun(told: list[dict[str, Any]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for each in told:
        if each["event"] == "round":
            found.setdefault(int(each["round"]), []).append(float(each["unix"]))
    return found


def _over(told: list[dict[str, Any]]) -> dict[int, float]:
    return {int(each["round"]): float(each["unix"]) for each in told if each["event"] == "committed"}


def _answers(told: list[dict[str, Any]]) -> dict[tuple[int, str], dict[str, float]]:
    found: dict[tuple[int, str], dict[str, float]] = {}
    for each in told:
        if each["event"] == "answered":
            found.setdefault((int(each["round"]), str(each["kind"])), {})[str(each["site"])] = float(each["unix"])
    return found
