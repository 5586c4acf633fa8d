"""How the services stand: `fedmed center status`, `run`, `runs`, `stop`; `fedmed clinic status`, `pause`, `resume`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.center.folder import AUDIT, open_center
from fedmed.center.runs import Run, Runs, Stage
from fedmed.cli import listing
from fedmed.cli.progress import Watcher
from fedmed.clinic.folder import PAUSED, open_clinic
from fedmed.clock import SystemClock
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.errors import FederationError
from fedmed.federation.patience import shown
from fedmed.identity.authority import day
from fedmed.store.standing import is_serving, read_status
from fedmed.wire.visible import visible

DOWN = "the service is not up"
LOOK_S, OLD_S = 0.3, 15.0


@dataclass(frozen=True)
class Wish:
    """A run as the command line asks for it."""

    scenario: str
    settings: tuple[str, ...]
    least: int | None
    app: Path | None


def run(path: Path, wish: Wish, follow: bool, as_json: bool) -> None:
    """Ask for a run and follow it to its end. Raises ConfigError for the scenario, FederationError where it fails."""
    folder = open_center(path, SystemClock())
    asked = Runs(folder.path, folder.clock).add(load(find(wish.scenario), wish.settings), wish.least, wish.app)
    where = folder.path / "runs" / asked.name
    if not is_serving(folder.path):
        sys.stderr.write(f"{DOWN}: the run begins once it is: fedmed center up --at {folder.path}\n")
    if not follow:
        _say(
            {"run": asked.name, "folder": str(where.resolve()), "stage": asked.stage.value},
            f"{asked.name}: {where}",
            as_json,
        )
        return
    over = _followed(Runs(folder.path, folder.clock), asked)
    if over.stage is not Stage.DONE:
        raise FederationError(f"run {over.name} {over.stage.value}: {over.why}")
    _say(_named(over, where), f"{over.name} is done. Model and report: {where.resolve()}", as_json)


def _named(run: Run, where: Path) -> dict[str, Any]:
    return {"run": run.name, "folder": str(where.resolve()), "stage": run.stage.value, "why": run.why}


def _followed(runs: Runs, run: Run) -> Run:
    """Show what happens until the run is over; Ctrl-C stops looking, not the run."""
    told = ""
    with Watcher(runs.path(run.name)):
        try:
            while not run.is_over:
                time.sleep(LOOK_S)
                run = runs.get(run.name)
                if run.why and run.why != told and not run.is_over:
                    sys.stderr.write(f"{run.stage.value}: {visible(run.why)}\n")
                    told = run.why
        except KeyboardInterrupt:
            sys.stderr.write(f"\nthe run goes on; see fedmed center status, or end it: fedmed center stop {run.name}\n")
            raise
    return run


def stop(path: Path, name: str, as_json: bool) -> None:
    """Have a run end. Raises ConfigError where it is over or there is none."""
    folder = open_center(path, SystemClock())
    Runs(folder.path, folder.clock).ask_to_stop(name)
    _say({"run": name, "stopping": True}, f"{name} comes to an end; its last commit stays", as_json)


def center_status(path: Path, as_json: bool) -> None:
    """Show a center's service, its clinics and its runs."""
    folder = open_center(path, SystemClock())
    facts = {**read_status(folder.path), "up": is_serving(folder.path)}
    runs = Runs(folder.path, folder.clock)
    facts["runs"] = [_run_facts(each, runs) for each in runs.all()]
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write(_headline(facts, folder.config.federation))
    if facts.get("waiting"):
        sys.stdout.write(f"asked to join, and wait for you: {', '.join(facts['waiting'])} (fedmed center admit NAME)\n")
    sys.stdout.write(_refused(facts.get("handshakes", {}), folder.path / AUDIT))
    rows = [_site_row(name, each, facts) for name, each in sorted(facts.get("sites", {}).items())]
    if rows:
        listing.show(rows, False)
    if facts["runs"]:
        listing.show([_run_row(each) for each in facts["runs"]], False)
    for each in facts["runs"]:
        for wait in each["waits"].values():
            sys.stdout.write(f"  {each['name']}: {visible(wait['explained'])}\n")


def clinic_status(path: Path, as_json: bool) -> None:
    """Show a clinic's daemon: what it does, what it owes, what its staff should know."""
    folder = open_clinic(path, SystemClock())
    facts = {**read_status(folder.path), "up": is_serving(folder.path), "paused": (folder.path / PAUSED).exists()}
    facts["certificate_until"] = int(folder.member().not_after)
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write(_headline(facts, f"{folder.config.name} in {folder.config.federation}"))
    for line in _clinic_lines(facts):
        sys.stdout.write(f"  {line}\n")


def pause(path: Path, is_paused: bool, as_json: bool) -> None:
    """Take no more messages, or take them again."""
    folder = open_clinic(path, SystemClock())
    if is_paused:
        (folder.path / PAUSED).touch(mode=0o600)
    else:
        (folder.path / PAUSED).unlink(missing_ok=True)
    said = "takes no new work; what it works on comes to its end" if is_paused else "takes work again"
    _say({"paused": is_paused}, f"{folder.config.name} {said}", as_json)


def _headline(facts: dict[str, Any], name: str) -> str:
    if not facts["up"]:
        return f"{name}: {DOWN}\n"
    said = f"{name}: {'paused' if facts.get('paused') else 'up'} since {day(facts['since'])}, version {facts['version']}\n"
    ago = SystemClock().unix() - facts["unix"]
    if ago > OLD_S:
        said += f"all of this was written {ago:.0f} s ago, where a second is usual: the disk is full, or the machine hangs\n"
    return said


def _refused(handshakes: dict[str, Any], log: Path) -> str:
    """Whom TLS did not let in since the service began, those left out who only looked whether the port is open."""
    counts = {code: count for code, count in handshakes.get("counts", {}).items() if code != "gone"}
    if not counts:
        return ""
    newest = handshakes["newest"]
    told = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    when = f"the newest {day(newest['unix'])} by {visible(newest['peer'])}, {newest['code']}"
    return f"handshakes refused: {told}; {when} (fedmed audit show {log})\n"


def _site_row(name: str, site: dict[str, Any], facts: dict[str, Any]) -> dict[str, str]:
    seen = site["countersigned"]
    return {
        "name": name,
        "line": ("online" if site["online"] else "offline") if facts["up"] else "unknown",
        "version": visible(site.get("version") or "unknown"),
        "certificate until": day(site["certificate_until"]),
        "audit log seen": "never" if seen is None else f"{seen} of {facts['audit']} entries",
    }


def _run_facts(run: Run, runs: Runs) -> dict[str, Any]:
    facts = {"name": run.name, "stage": run.stage.value, "why": run.why, "sites": list(run.sites), "since": run.since_unix}
    waits = {} if run.is_over else shown(runs.path(run.name), runs.scenario(run.name).federation, run.sites)
    return {**facts, "waits": waits}


def _run_row(run: dict[str, Any]) -> dict[str, str]:
    return {
        "name": run["name"],
        "stage": run["stage"],
        "since": day(run["since"]),
        "clinics": ", ".join(run["sites"]) or "-",
        "why": run["why"],
    }


def _clinic_lines(facts: dict[str, Any]) -> list[str]:
    lines = []
    if facts["up"]:
        work = facts["work"]
        lines.append(f"works on {work['kind']} of {work['run']} since {day(work['since'])}" if work else "waits for work")
        version = f", version {visible(facts['center_version'])}" if facts.get("center_version") else ""
        lines.append("the center was heard at " + (day(facts["heard"]) if facts["heard"] else "no time yet") + version)
        if facts["spool"]:
            lines.append(f"{facts['spool']} answers wait to be sent")
        if (epoch := facts["epoch"]) is not None:
            lines.append(f"encrypts among {epoch['members']} members, mode {epoch['mode']}")
        lines.append(f"{facts['approved_members']} other members are approved here")
    lines.append(f"certificate until {day(facts['certificate_until'])}")
    lines += [f"ACCUSED: {visible(each)}" for each in facts.get("accusations", [])]
    lines += [f"{day(each['unix'])} {visible(each['text'])}" for each in facts.get("said", [])[-5:]]
    return lines


def _say(facts: dict[str, Any], text: str, as_json: bool) -> None:
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else f"{text}\n")
