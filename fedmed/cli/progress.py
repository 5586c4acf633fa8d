"""Live progress on standard error, read from the run's journal: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn

from fedmed.cli.bars import columns
from fedmed.federation.journal import NAME
from fedmed.report import formats, protection
from fedmed.report.measures import LEADING
from fedmed.wire.visible import visible

POLL_S = 0.1
MASKED = ("privacy", "epoch", "left-out", "unopened", "accused", "unheard")
STYLES = {"off": "bold red", "hbc": "yellow"}
"""Of the modes of secure aggregation that are named as weaker."""


class Watcher:
    """Follows a run's journal in a thread until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._seen = self._path.stat().st_size if self._path.exists() else 0
        self._stop = threading.Event()
        console = Console(stderr=True)
        self._show: Bar | Lines = Bar(console) if console.is_terminal else Lines()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Show what is left to show and stop."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._show.close()

    def _follow(self) -> None:
        while True:
            ending = self._stop.is_set()
            for event in self._news():
                self._show.event(event)
            if ending:
                return
            self._stop.wait(POLL_S)

    def _news(self) -> Iterator[dict[str, Any]]:
        try:
            file = self._path.open("rb")
        except OSError:  # not there yet, withdrawn with a run that came to nothing, or never to be
            return
        with file:
            file.seek(self._seen)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._seen += len(line)
                with suppress(ValueError):  # a line that a killed run left half written
                    yield json.loads(line)


class Lines:
    """One line an event that matters."""

    def __init__(self) -> None:
        self._rounds, self._first, self._began = 0, 0, 0.0

    def event(self, event: dict[str, Any]) -> None:
        """Print what happened, if a person would want to know."""
        text = describe(event)
        if event["event"] == "start":
            self._rounds, self._first, self._began = event["rounds"], event["round"], time.monotonic()
        if event["event"] == "committed":
            done = event["round"] - self._first
            left = (time.monotonic() - self._began) / max(1, done) * (self._rounds - event["round"])
            text = f"round {event['round']}/{self._rounds}: {_loss(event)}, about {left:.0f} s of rounds left"
        if text:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing is left open."""


class Bar:
    """A progress bar for the rounds, a second one for the models to compare with; what goes wrong stays above."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            *columns(),
            TextColumn("{task.fields[note]}", markup=False),  # a note holds names that sites gave themselves
            console=console,
        )
        self._progress.start()
        self._tasks: dict[str, Any] = {}

    def event(self, event: dict[str, Any]) -> None:
        """Move the bars, or print what happened above them."""
        match event["event"]:
            case "start":
                self._add("rounds", event["rounds"], event["round"])
            case "answered" if "rounds" in self._tasks and event["kind"] == "train":
                self._progress.update(self._tasks["rounds"], note=f"{event['site']} answered")
            case "committed":
                self._progress.update(self._tasks["rounds"], completed=event["round"], note=_loss(event))
            case "comparing":
                self._add("models to compare with", event["models"], 0)
            case "compared":
                self._progress.update(self._tasks["models to compare with"], advance=1, note=event["name"])
            case _:
                if text := describe(event):
                    self._progress.console.print(text, style=style_of(event), highlight=False, markup=False)

    def _add(self, name: str, total: int, completed: int) -> None:
        self._tasks[name] = self._progress.add_task(name, total=total, completed=completed, note="")

    def close(self) -> None:
        """Leave the last state of the bars on the screen."""
        self._progress.stop()


def style_of(event: dict[str, Any]) -> str | None:
    """How an event looks on a terminal: red and amber for what weakens privacy, dim for what is as it should be."""
    if event["event"] == "privacy":
        return STYLES.get(event["secure_aggregation"])
    return {"lie": STYLES["off"], "epoch": "dim", "unopened": STYLES["hbc"], "accused": STYLES["hbc"]}.get(event["event"])


def describe(event: dict[str, Any]) -> str:
    """An event in words; empty where it needs none."""
    if event["event"] in MASKED:
        return _of_masks(event)
    match event["event"]:
        case "preparing":
            return f"preparing {event['scenario']}: reading, partitioning and splitting the sites' cases"
        case "virtual":
            masks = "" if event["masks"] == "real" else ", and no update is masked"
            return f"virtual time: {len(event['members'])} clinics on the topology's machines and lines{masks}"
        case "crowded":
            how = "; ".join(event["why_not_fast"])
            way = f"each by the usual loop ({how})" if how else "in closed form"
            return f"a crowd in {event['workers']} processes: {way}"
        case "attackers":
            who = [f"{site} ({', '.join(kinds)})" for site, kinds in event["sites"].items()]
            return f"attacked by {formats.listed(who) if who else 'nobody'}, as the scenario has it"
        case "lie":
            return f"round {event['round']}: {event['site']} ANSWERED {event['how']}" if event["is_answered"] else ""
        case "met":
            return f"{len(event['sites'])} sites: " + ", ".join(f"{k} ({v})" for k, v in list(event["sites"].items())[:12])
        case "set-aside":
            return f"{event['site']}: {event['what']} is set aside. {event['sentence']}"
        case "gate":
            return _gate(event)
        case "resumed":
            return f"going on after round {event['round']}"
        case "begun-anew":
            return f"{formats.listed(list(event['sites']))} trained when the run stopped, and begin anew from its last model"
        case "damaged":
            return f"passed over: {event['fault']}"
        case "holds":
            return f"{event['strategy']} needs every update at once: about {event['bytes'] / 1e6:.0f} MB at the peak"
        case "failed" | "refused":
            return f"round {event['round']}: {event['site']} {event['event']}: {event['reason']}"
        case "site-log":
            return f"{formats.listed(event['sites'])} to their own staff (ledgers/*.log): {visible(event['line'])}"
        case "late":
            return f"{event['site']} answered too late for its round"
        case "folded":
            return f"round {event['round']}: {event['site']}'s update of round {event['of']} goes into it, at less weight"
        case "short":
            return f"round {event['round']}, attempt {event['attempt']}: {'; '.join(event['lacks'])}"
        case "comparing":
            return f"training {event['models']} models to compare with"
        case "compared":
            return f"compared: {event['name']}"
    return ""


def _of_masks(event: dict[str, Any]) -> str:
    """An event of secure aggregation in words."""
    match event["event"]:
        case "privacy":
            return protection.warning(event["secure_aggregation"], is_over=False)
        case "epoch":
            without = f" Without {formats.listed(event['without'])}." if event["without"] else ""
            return protection.learned(event["mode"], event["least"], event["members"], is_over=False) + without
        case "left-out":
            return f"{event['site']} is left out of secure aggregation: {event['reason']}"
        case "unopened":
            return protection.lost(event["round"], event["purpose"], event["reason"])
        case "accused":
            return protection.blamed(event["sites"])
    return f"{event['site']} did not help to open a sum: {event['reason']}"


def _gate(event: dict[str, Any]) -> str:
    """Who differs, a line each; those with too few cases together."""
    findings = event["findings"]
    lines = [f"site {each['site']}: {each['sentence']}" for each in findings if each["weight"] != "notes"]
    if few := [each["site"] for each in findings if each["weight"] == "notes"]:
        lines.append(f"too few cases to tell what their images are like: {', '.join(few[:12])}, {len(few)} sites")
    return "\n".join(lines) or f"{event['sites']} sites prepare their images alike, and they lie alike"


def _loss(event: dict[str, Any]) -> str:
    validation = event["validation"] or {}
    found = [("train loss", event["train"].get("loss"), None)]
    found += [(f"validation {name}", validation.get(key), validation.get(f"{key}_error")) for key, name in LEADING.items()]
    return ", ".join(f"{name} {value:.3f}{formats.within(error)}" for name, value, error in found if value is not None)
