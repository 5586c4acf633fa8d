"""What `fedmed twin search` does: seeds of random faults, and what breaks an invariant with the command that shows it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from time import monotonic

from rich.console import Console
from rich.progress import Progress

from fedmed.cli.bars import columns
from fedmed.errors import ConfigError, FederationError
from fedmed.report.formats import duration
from fedmed.twin.search.faults import plan
from fedmed.twin.search.seeking import Finding, played, search, sought

MOST_SEED = 2**62
LINE_S = 10.0
"""Seconds between two lines on what is no terminal."""
MOST_TOLD = 5


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    seeds: int
    first: int
    jobs: int
    replay: int | None
    as_json: bool


def run(options: Options) -> None:
    """Search, or replay one seed. Raises FederationError where an invariant does not hold."""
    for name, value, least in (("seeds", options.seeds, 1), ("first", options.first, 0), ("jobs", options.jobs, 1)):
        if not least <= value <= MOST_SEED:
            raise ConfigError(f"--{name}: got {value}; allowed: {least} to {MOST_SEED}")
    if options.replay is not None:
        _replay(options.replay, options.as_json)
    else:
        _search(options)


def _replay(seed: int, as_json: bool) -> None:
    if not 0 <= seed <= MOST_SEED:
        raise ConfigError(f"--replay: got {seed}; allowed: a seed from 0 to {MOST_SEED}")
    whole, found = plan(seed), sought(seed)
    went = played(whole)
    if as_json:
        told = {"seed": seed, "trace": went.trace, "sha256": went.digest, "finding": found and asdict(found)}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    elif found is None:
        sys.stdout.write("".join(f"{line}\n" for line in went.trace))
        sys.stdout.write(f"seed {seed}: {len(whole.faults)} faults, every invariant holds; trace {went.digest[:16]}\n")
    else:
        sys.stdout.write(_told(found))
    if found is not None:
        raise FederationError(f"seed {seed} breaks an invariant: {found.invariant}")


def _search(options: Options) -> None:
    seeds, found, began = range(options.first, options.first + options.seeds), list[Finding](), monotonic()
    with _Count(options.seeds) as count:
        for done, more in search(seeds, options.jobs):
            found += more
            count.add(done, len(found))
    found.sort(key=lambda each: each.seed)
    seconds = monotonic() - began
    if options.as_json:
        told = {"first": options.first, "seeds": options.seeds, "seconds": seconds, "findings": [asdict(f) for f in found]}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(map(_told, found[:MOST_TOLD])))
        sys.stdout.write(f"{options.seeds} seeds from {options.first} in {duration(seconds)}: {len(found)} findings\n")
    if found:
        named = ", ".join(str(each.seed) for each in found[:20])
        raise FederationError(
            f"{len(found)} of {options.seeds} seeds break an invariant ({named}{', …' if len(found) > 20 else ''}); see one "
            f"again: fedmed twin search --replay {found[0].seed}"
        )


def _told(found: Finding) -> str:
    lines = [
        f"seed {found.seed}: {found.invariant}",
        f"  {found.detail}",
        f"  it takes {len(found.faults)} faults; {found.left_out} others were left out:",
        *(f"    {each}" for each in found.faults),
        "  trace:",
        *(f"    {each}" for each in found.trace),
        f"  again: fedmed twin search --replay {found.seed}",
    ]
    return "".join(f"{line}\n" for line in lines)


class _Count:
    """Seeds played and time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._began, self._said = total, 0, monotonic(), monotonic()
        console = Console(stderr=True)
        self._is_terminal = console.is_terminal
        self._bars = Progress(*columns(), console=console, disable=not self._is_terminal)
        self._task = self._bars.add_task("seeds", total=total)

    def __enter__(self) -> _Count:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def add(self, done: int, findings: int) -> None:
        """So many more are done."""
        self._done += done
        self._bars.update(self._task, completed=self._done)
        now = monotonic()
        if self._is_terminal or (now - self._said < LINE_S and self._done < self._total):
            return
        self._said, left = now, (now - self._began) / self._done * (self._total - self._done)
        sys.stderr.write(f"{self._done} of {self._total} seeds, about {duration(left)} left: {findings} findings\n")
        sys.stderr.flush()
