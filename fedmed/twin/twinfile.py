"""A recording as a scenario file: what was measured with its unit, and beside it from where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from fedmed.federation.patience import work
from fedmed.twin.recording import Recording, Site, mbit

FASTEST = "1 Tbit/s"
LIKE = "cpu"
"""The profile that gives what the records do not say of a machine."""


def text(found: Recording, fedmed: str) -> str:
    """The file (UTF-8 YAML), which `fedmed.config.loading.load` reads."""
    whole = found.scenario.model_dump(mode="json", exclude={"topology"}, exclude_unset=True)
    name = f"{found.run[:58]}-twin"
    whole |= {"name": name, "title": f"Twin of {found.run}"[:200], "rounds": len(found.rounds)}
    head = "".join(f"# {line}\n" for line in _head(found, fedmed))
    return head + yaml.safe_dump(whole, sort_keys=False, allow_unicode=True) + "\n".join(_topology(found)) + "\n"


def _head(found: Recording, fedmed: str) -> Iterator[str]:
    yield f"Recorded by fedmed {fedmed} from {len(found.rounds)} rounds of the run {found.run}: its journal, its last commit"
    yield "and what its center noted of each site's times (pace.json). No clinic was asked. Run it: fedmed twin replay FILE"
    yield "Not known from the records:"
    yield from (f"- {each}" for each in found.unknown)


def _topology(found: Recording) -> Iterator[str]:
    yield "topology:"
    yield "  machines:"
    for each in found.sites:
        yield f"    {each.name}: {{like: {LIKE}, step: {seconds(_step(found, each))}}}  # {_trained(each)}"
    yield "  lines:"
    yield f"    center: {{up: {FASTEST}, down: {FASTEST}}}  # never seen alone"
    for each in found.sites:
        yield f"    {each.name}: {{up: {mbit(each.up)}, down: {mbit(each.down)}}}  # {_line(each)}"
    yield f"  center: {{machine: {LIKE}, line: center}}"
    yield "  clinics:"
    for each in found.sites:
        gone = f", dropout: {each.dropout:.4g}" if each.dropout else ""
        group = f"name: {each.name}, machine: {each.name}, line: {each.name}, cases: {{median: {each.cases}}}{gone}"
        yield f"    - {{{group}}}" + ("  # share of the rounds that nothing came of it" if gone else "")
    yield from _faults(found)
    if found.cohort is not None:
        yield f"  cohort: {found.cohort}  # median of the rounds"
    yield "  learning: modelled"
    yield f"  masks: {'timed' if found.words else 'none'}"
    yield from _recorded(found)


def _trained(site: Site) -> str:
    return f"training and masking {site.trains:.3g} s a round, median of {site.answers} answers (journal)"


def _line(site: Site) -> str:
    up = "up from its answers on their way (pace.json)" if site.is_up_seen else "up: at least, never seen"
    down = f"down from validation, {mbit(site.down_least)} at least" if site.is_down_seen else "down: never seen alone"
    return f"with the heads of TLS, TCP, IP, Ethernet; {up}; {down}"


def _step(found: Recording, site: Site) -> float:
    """Seconds of an optimiser step, which all of a round's training is divided into."""
    training = found.scenario.training
    return max(1e-6, site.trains * training.batch_size / max(1.0, work(training, site.cases)))


def _faults(found: Recording) -> Iterator[str]:
    gone = [(each.name, absence) for each in found.sites for absence in each.absences]
    if gone:
        yield "  faults:"
    for name, each in gone:
        what = f"kind: dark, who: {name}, at: {seconds(each.at)}, lasts: {seconds(each.lasts)}"
        yield f"    - {{{what}}}  # no sign of life (history of the commit)"


def _recorded(found: Recording) -> Iterator[str]:
    told: Mapping[str, Any] = {
        "recorded": {
            "form": 1,
            "run": found.run,
            "rounds": [seconds(each) for each in found.rounds],
            "down": f"{found.down_bytes:.0f} B",
            "up": f"{found.up_bytes:.0f} B",
            "validates": {each.name: seconds(each.validates) for each in found.sites} if found.is_validated else {},
            "words": found.words,
            "center": seconds(found.center),
            "unknown": list(found.unknown),
        }
    }
    written = yaml.safe_dump(dict(told), sort_keys=False, allow_unicode=True, width=120)
    yield from (f"  {line}" for line in written.splitlines())


def seconds(value: float) -> str:
    """A time as people write it."""
    return f"{value:.6g} s"
