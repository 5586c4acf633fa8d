"""A folder that another program exports into: files that are complete are kept, then moved to `done` or `refused`.

A file is complete when its size, time and inode stand still for a while, however it came: written in place, copied with its
old time, renamed in. One whose content shows that its end is missing waits longer before it is refused. Nothing is
followed: links and special files are refused where they lie. A crash between keeping and moving keeps the file again, which
the store knows by its content.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fedmed.clock import Clock
from fedmed.dicom.arrivals import Arrival, Door
from fedmed.dicom.limits import LIMITS
from fedmed.dicom.network.commands import Outcome
from fedmed.errors import ConfigError

DONE, REFUSED = "done", "refused"
UNFINISHED = (".part", ".partial", ".tmp", ".filepart", ".crdownload", "~")
"""Names under which programs write what they will rename; those that begin with a dot are such, too."""
MOST_NAME = 200
"""Bytes of a name in `done` and `refused`, where room is left for a number and for the name of the reason."""
Told = Callable[[str, str, str], None]
"""As in `fedmed.dicom.receiving`: the file's name in the folder, nothing, and why."""


@dataclass(frozen=True)
class WatchConfig:
    """Which folder, and when a file in it is complete."""

    folder: Path
    poll_s: float = 1.0
    still_s: float = 2.0
    """For so long it must not have changed."""
    half_s: float = 600.0
    """For so long the missing end of a file is waited for."""
    keep_done_s: float = 86_400.0
    """What was kept is deleted from `done` after this; it holds patients' data."""

    def faults(self) -> list[str]:
        """What is wrong with it, all at once."""
        found = [f"{name} {getattr(self, name)}: more than 0" for name in ("poll_s", "still_s") if getattr(self, name) <= 0]
        if self.half_s < self.still_s:
            found.append(f"half_s {self.half_s}: no less than still_s {self.still_s}")
        if self.keep_done_s < 0:
            found.append(f"keep_done_s {self.keep_done_s}: 0 or more")
        return found


@dataclass(frozen=True)
class State:
    """Of a file, as the folder shows it; any change of it means that somebody still writes."""

    inode: int
    size: int
    changed_ns: int
    mode: int


@dataclass(frozen=True)
class Sighting:
    """A file that was seen with this state since `since` (seconds of `Clock.now`)."""

    state: State
    since: float
    is_half: bool = False
    """It was read, and its end is missing."""
    trouble: str = ""
    """What was told of it last."""


Seen = Mapping[str, Sighting]


def look(seen: Seen, there: Mapping[str, State], now: float) -> dict[str, Sighting]:
    """What is known after the folder was listed: a file's time begins anew with every change."""
    known = {}
    for name, state in there.items():
        before = seen.get(name)
        known[name] = before if before and before.state == state else Sighting(state, now)
    return known


def ready(seen: Seen, now: float, still_s: float, half_s: float) -> list[str]:
    """Names of the files that stand still for long enough, the longest first."""
    still = [
        (sighting.since, name)
        for name, sighting in seen.items()
        if now - sighting.since >= (half_s if sighting.is_half else still_s)
    ]
    return [name for _, name in sorted(still)]


class Watched:
    """The folder, polled from `run` until it is told to stop."""

    def __init__(self, config: WatchConfig, door: Door, clock: Clock, told: Told = lambda name, title, why: None) -> None:
        """Makes `done` and `refused`. Raises ConfigError, naming all that is wrong, or where the folder cannot be used."""
        if faults := config.faults():
            raise ConfigError("the watched folder: " + "; ".join(faults))
        self._config, self._door, self._clock, self._told = config, door, clock, told
        self._seen: dict[str, Sighting] = {}
        try:
            for name in (DONE, REFUSED):
                (config.folder / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{config.folder} cannot be watched ({error.strerror}); name a folder that can be written"
            ) from error

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop` is set."""
        while not stop.is_set():
            self.poll()
            stop.wait(self._config.poll_s)

    def poll(self) -> int:
        """Look once, and take what is complete; how many files were kept."""
        now = self._clock.now()
        try:
            there = dict(islice(self._listed(self._config.folder, "", LIMITS.depth), LIMITS.files))
        except OSError as error:
            self._told(".", "", f"the folder cannot be listed ({error.strerror})")
            return 0
        self._seen = look(self._seen, there, now)
        kept = 0
        for name in ready(self._seen, now, self._config.still_s, self._config.half_s):
            outcome = self._take(name, now)
            kept += outcome == Outcome.SUCCESS
            if outcome == Outcome.OUT_OF_RESOURCES:
                break  # the others would find no room either
        self._tidy()
        return kept

    def _listed(self, folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, State]]:
        with os.scandir(folder) as listing:
            for entry in listing:
                if entry.name.startswith(".") or entry.name.endswith(UNFINISHED) or prefix + entry.name in (DONE, REFUSED):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if depth:
                            yield from self._listed(Path(entry.path), f"{prefix}{entry.name}/", depth - 1)
                        continue
                    found = entry.stat(follow_symlinks=False)
                except OSError:  # it has gone, or will be there next time
                    continue
                yield prefix + entry.name, State(found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)

    def _take(self, name: str, now: float) -> Outcome | None:
        """What became of a file; None where it stays for now."""
        sighting = self._seen[name]
        try:
            arrival = self._arrival(name, sighting.state)
            if arrival is None:
                return None
            if arrival.outcome == Outcome.OUT_OF_RESOURCES:
                self._trouble(name, arrival.why)
                return arrival.outcome
            if arrival.is_half and now - sighting.since < self._config.half_s:
                self._seen[name] = replace(sighting, is_half=True)
                return None
            self._move(name, arrival)
        except OSError as error:
            self._trouble(name, f"it cannot be read or moved ({error.strerror})")
            return None
        if arrival.why:
            self._trouble(name, f"a file was refused: {arrival.why}")
        del self._seen[name]
        return arrival.outcome

    def _trouble(self, name: str, why: str) -> None:
        """Told once, however often it is met."""
        if self._seen[name].trouble != why:
            self._seen[name] = replace(self._seen[name], trouble=why)
            self._told(os.fsencode(name).decode("utf-8", "backslashreplace"), "", why)

    def _arrival(self, name: str, state: State) -> Arrival | None:
        """None where the file is another than the one that stood still. Raises OSError."""
        if not stat.S_ISREG(state.mode):
            return Arrival(Outcome.NOT_UNDERSTOOD, "it is a link or a special file; only plain files are read")
        if state.size == 0:
            return Arrival(Outcome.NOT_UNDERSTOOD, "it is empty", is_half=True)
        if state.size > self._door.most_bytes:
            return Arrival(Outcome.NOT_UNDERSTOOD, f"it has {state.size} bytes; at most {self._door.most_bytes} are taken")
        handle = os.open(self._config.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if State(found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode) != state:
                return None
            if found.st_nlink != 1:
                return Arrival(Outcome.NOT_UNDERSTOOD, "it has another name elsewhere (a hard link); copy it instead")
            content = file.read(state.size + 1)
            after = os.fstat(handle)
        if len(content) != state.size or (after.st_size, after.st_mtime_ns) != (state.size, state.changed_ns):
            return None
        return self._door.take(content, {"by": "folder", "from": "", "address": ""})

    def _move(self, name: str, arrival: Arrival) -> None:
        """To where it belongs, under a name that is free there; the reason beside it. Raises OSError."""
        is_kept = arrival.outcome == Outcome.SUCCESS
        flat = os.fsdecode(os.fsencode(name.replace("/", "_"))[-MOST_NAME:])
        target = self._config.folder / (DONE if is_kept else REFUSED) / flat
        number = 1
        while os.path.lexists(target):
            number += 1
            target = target.with_name(f"{flat}.{number}")
        if not is_kept:
            target.with_name(target.name + ".reason.txt").write_text(arrival.why + "\n", encoding="utf-8")
        (self._config.folder / name).rename(target)
        if is_kept:
            os.utime(target, (self._clock.unix(),) * 2)  # from now on counts how long it stays

    def _tidy(self) -> None:
        """Delete what is in `done` for long enough."""
        before = self._clock.unix() - self._config.keep_done_s
        with os.scandir(self._config.folder / DONE) as listing:
            for entry in listing:
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime <= before:
                    Path(entry.path).unlink(missing_ok=True)
