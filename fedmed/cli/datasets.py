"""What the commands of `fedmed clinic data` do."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedmed.cli import listing
from fedmed.clinic import releasing
from fedmed.clinic.datasets import FOLDER, DataSets
from fedmed.clinic.folder import ClinicFolder, open_clinic
from fedmed.clinic.recording import recorder
from fedmed.clinic.registering import Found, register
from fedmed.clock import SystemClock
from fedmed.config.dataset import DataSet, Release
from fedmed.config.document import Document, Fault
from fedmed.config.overrides import apply_overrides
from fedmed.config.scenario import Scenario, Split
from fedmed.errors import ConfigError
from fedmed.identity.authority import day
from fedmed.identity.member import check_name
from fedmed.sites.own import MADE, Source
from fedmed.store.audit.event import Detail, event
from fedmed.wire.visible import visible

SEED: int = Scenario.model_fields["seed"].default
ASIDE_SHOWN = 10


def add(
    at: Path, name: str, reader: str, path: Path | None, settings: tuple[str, ...], site: str | None, as_json: bool
) -> None:
    """Register. Raises ConfigError, DataError, StoreError."""
    folder = open_clinic(at, SystemClock())
    check_name(name, "a data set")
    found = read(folder, name, source_of(reader, path, settings, site))
    keep(folder, found)
    _say_read(found, as_json, f"nothing may use it yet; say: fedmed clinic data release {name} --purpose research\n")


def renew(at: Path, name: str, as_json: bool) -> None:
    """Read again. Raises ConfigError, DataError, StoreError."""
    folder = open_clinic(at, SystemClock())
    before = DataSets(folder.path).get(name)
    keys = ("reader", "folder", "options", "site", "split", "seed")
    found = read(folder, name, Source(**{key: getattr(before, key) for key in keys}))
    _record(folder, "data.renew", found.dataset, digest=found.dataset.digest)
    kept = DataSets(folder.path).change(
        name, lambda now: found.dataset.model_copy(update={"releases": now.releases, "withdrawn": now.withdrawn})
    )
    same = kept.described() == before.described()
    again = "the same as before\n" if same else f"OTHER than before: release it again, and approve its runs again ({name})\n"
    _say_read(found, as_json, again)


def show_all(at: Path, as_json: bool) -> None:
    """A line a data set. Raises StoreError for one that was changed by hand, naming its file."""
    folder = open_clinic(at, SystemClock())
    known, now = DataSets(folder.path), folder.clock.unix()
    found = [known.get(name) for name in known.names()]
    if as_json:
        sys.stdout.write(json.dumps([_facts(each, now) for each in found]) + "\n")
    elif not found:
        sys.stdout.write("no data set is registered yet; say: fedmed clinic data add\n")
    else:
        listing.show([_row(each, now) for each in found], as_json)


def show(at: Path, name: str, as_json: bool) -> None:
    """All of one. Raises ConfigError, StoreError."""
    folder = open_clinic(at, SystemClock())
    facts = _facts(DataSets(folder.path).get(name), folder.clock.unix())
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    width = max(map(len, facts))
    lines = (f"{key.ljust(width)}  {visible(json.dumps(value, ensure_ascii=False))}" for key, value in facts.items())
    sys.stdout.write("\n".join(lines) + "\n")


def release(at: Path, name: str, purpose: str, run: str | None, until: str | None, as_json: bool) -> None:
    """Release. Raises ConfigError, StoreError."""
    folder, end = open_clinic(at, SystemClock()), _moment(until)
    for word in (purpose, *([run] if run is not None else [])):
        check_name(word, "a purpose or a run")
    now, by = folder.clock.unix(), getpass.getuser()
    made = let(folder, name, lambda each: releasing.released(each, purpose, run, end, by, now), purpose, end)
    whom = f"run {run}" if run else "every run of that purpose that is approved"
    told = f"{name} is released for {purpose}, {whom}{f', until {day(end)}' if end else ''}\n"
    sys.stdout.write(json.dumps(_facts(made, now)) + "\n" if as_json else told)


def withdraw(at: Path, name: str, reason: str, as_json: bool) -> None:
    """Withdraw. Raises ConfigError, StoreError."""
    folder = open_clinic(at, SystemClock())
    now, by, sets = folder.clock.unix(), getpass.getuser(), DataSets(folder.path)
    _record(folder, "withdraw.data", sets.get(name), reason=reason)
    made = sets.change(name, lambda each: releasing.withdrawn(each, by, reason[:500], now))
    told = f"{name} is withdrawn: nothing uses it from the next message on\n"
    sys.stdout.write(json.dumps(_facts(made, now)) + "\n" if as_json else told)


def read(folder: ClinicFolder, name: str, source: Source) -> Found:
    """Read and digest; nothing of it stays on the disk. Raises ConfigError, DataError, StoreError."""
    scratch = folder.path / FOLDER / f".{name}.reading"
    return register(name, source, folder.config.name, scratch, folder.clock.unix())


def keep(folder: ClinicFolder, found: Found) -> None:
    """Register what was read. Raises ConfigError where the name is taken, StoreError."""
    _record(folder, "data.add", found.dataset, digest=found.dataset.digest)
    DataSets(folder.path).add(found.dataset)


def let(folder: ClinicFolder, name: str, release: Callable[[DataSet], DataSet], purpose: str, end: int | None) -> DataSet:
    """Write a release into the audit log and the data set's file. Raises ConfigError, StoreError."""
    sets = DataSets(folder.path)
    release(sets.get(name))  # what is wrong with it is said before it is recorded
    _record(folder, "release.data", sets.get(name), purpose=purpose, expires=end, digest=sets.get(name).digest)
    return sets.change(name, release)


def source_of(
    reader: str,
    path: Path | None,
    settings: tuple[str, ...],
    site: str | None,
    before: Mapping[str, Any] | None = None,
) -> Source:
    """What the command line says of a data set; `before` holds what it leaves out. Raises ConfigError with every fault."""
    document = Document(value=dict(before or {}))
    apply_overrides(document, settings)
    given: dict[str, Any] = dict(document.value)
    split, seed = given.pop("split", {}), given.pop("seed", SEED)
    try:
        how = Split.model_validate_json(json.dumps(split))
    except ValidationError as error:
        document.faults.append(Fault("--set", ("split",), error.errors(include_url=False)[0]["msg"]))
        how = Split()
    if type(seed) is not int or seed < 0:
        document.faults.append(Fault("--set", ("seed",), f"got {seed!r}, allowed: a whole number from 0"))
    if document.faults:
        raise ConfigError("\n  ".join(["the command line has faults:", *map(str, document.faults)]))
    return Source(reader, MADE if path is None else str(path.resolve()), given, site, how, seed)


def _moment(until: str | None) -> int | None:
    if until is None:
        return None
    try:
        return int(datetime.strptime(until, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp())
    except ValueError as error:
        raise ConfigError(f"--until {until}; write a date as YYYY-MM-DD") from error


def _record(folder: ClinicFolder, action: str, dataset: DataSet, reason: str = "", **details: Detail) -> None:
    who, now = getpass.getuser(), folder.clock.unix()
    said = event(now, who, "operator", action, dataset.name, "done", reason=reason, round=None, **details)
    recorder(folder)(said)


def _say_read(found: Found, as_json: bool, ahead: str) -> None:
    dataset = found.dataset
    if as_json:
        aside = [{"what": each.what, "reason": each.reason, "sentence": each.sentence} for each in found.set_aside]
        facts = dataset.model_dump(mode="json") | {"set_aside": aside, "sites": list(found.sites)}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write("\n".join(counts(found)) + f"\n{ahead}")


def counts(found: Found) -> list[str]:
    """What is in a data set, in lines for the staff."""
    dataset, aside = found.dataset, found.set_aside
    cases, shape = dataset.cases, " x ".join(map(str, dataset.shape))
    return [
        f"{dataset.name}: {cases.train} cases to train on, {cases.validation} to validate with, {cases.test} held back",
        f"each {shape} {dataset.stored}; classes {', '.join(map(visible, dataset.classes))}; by {dataset.unit}",
        f"others may know: {dataset.declared[0]} and {dataset.declared[1]}, the sizes rounded up",
        f"set aside, for they cannot be trusted: {len(aside)}",
        *(visible(f"  {each.what}: {each.sentence}") for each in aside[:ASIDE_SHOWN]),
        *([f"  and {len(aside) - ASIDE_SHOWN} more (--json)"] if len(aside) > ASIDE_SHOWN else []),
    ]


def _facts(dataset: DataSet, now: float) -> dict[str, Any]:
    held = [_released_for(each) for each in releasing.releases_in_force(dataset, now)]
    return dataset.model_dump(mode="json") | {"released_for": held}


def _row(dataset: DataSet, now: float) -> dict[str, str]:
    held = [_released_for(each) for each in releasing.releases_in_force(dataset, now)]
    return {
        "name": dataset.name,
        "reader": dataset.reader,
        "cases": str(sum(dataset.cases.model_dump().values())),
        "released for": "withdrawn" if dataset.withdrawn else ", ".join(held) or "nothing",
        "digest": dataset.digest[:12],
    }


def _released_for(each: Release) -> str:
    run, until = (f" (run {each.run})" if each.run else ""), (f" until {day(each.until)}" if each.until else "")
    return f"{each.purpose}{run}{until}"
