"""`fedmed edge status` of a clinic's folder: its devices, how they are, what runs where and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed.cli import listing
from fedmed.cli.hubs import DOWN, device_facts
from fedmed.clock import SystemClock
from fedmed.hub.folder import open_hub
from fedmed.hub.placing import ARCHIVE
from fedmed.hub.told import Told, health_in, told_in
from fedmed.identity.authority import day
from fedmed.identity.devices import Stage
from fedmed.store.standing import is_serving, read_status

NOT_TOLD = "unknown"


def show_clinic(path: Path, as_json: bool) -> None:
    """As the hub sees it. Raises ConfigError for a clinic without a hub, StoreError for a status that is none."""
    hub = open_hub(path, SystemClock())
    is_up = is_serving(hub.path)
    status = read_status(hub.path) if is_up else {}
    heard = status.get("devices", {})
    devices = [device_facts(each, heard.get(name)) for name, each in sorted(hub.devices.roll().devices.items())]
    placement = status.get("placement", {})
    nodes, tasks = placement.get("nodes", []), [_told(each, status) for each in placement.get("tasks", [])]
    looks = status.get("elsewhere", {})
    if as_json:
        shown = {"devices": devices, "nodes": nodes, "tasks": tasks, "elsewhere": looks}
        facts = {"clinic": hub.config.clinic, "up": is_up, **shown}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    if not is_up:
        sys.stderr.write(f"{DOWN} --at {path}\n")
    if not devices:
        sys.stdout.write("no device was invited yet\n")
        return
    standings = {each["name"]: each for each in nodes}
    listing.show([_device(each, standings.get(each["name"]), is_up) for each in devices], False)
    if nodes:
        sys.stdout.write("\n")
        listing.show([_node(each) for each in nodes], False)
    if tasks:
        sys.stdout.write("\n")
        listing.show([_task(each) for each in tasks], False)
    elif is_up:
        sys.stdout.write("\nnothing runs: no model is active on a device, and nothing waits to be sent\n")
    for name, counts in looks.items():
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        sys.stdout.write(f"images of {name} that others look at, since the hub is up: {said}\n")


def _told(task: Mapping[str, Any], status: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task as the placement has it; of the archive's, how many studies wait and why."""
    said = status.get(ARCHIVE)
    return {**task, "why": said["why"]} if task["name"] == ARCHIVE and isinstance(said, dict) else task


def _device(facts: Mapping[str, Any], node: Mapping[str, Any] | None, is_up: bool) -> dict[str, str]:
    heard = facts["heard"]
    told = told_in(heard["facts"]) if heard else Told()
    return {
        "name": facts["name"],
        "stage": facts["stage"],
        "line": "-" if facts["stage"] == Stage.REVOKED.value else _line(heard, node) if is_up else NOT_TOLD,
        "model": f"{told.model}, {told.precision.value}" if told.model else "-",
        "studies": str(told.studies) if heard else "-",
        "health": (health_in(heard["facts"]) if heard else "") or "not told",
    }


def _line(heard: Mapping[str, Any] | None, node: Mapping[str, Any] | None) -> str:
    if heard is None:
        return "lost" if node is not None and node["standing"] == "lost" else "not heard yet"
    return "heard" if heard["alive"] else f"lost, last heard {day(heard['heard'])}"


def _node(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "node": row["name"],
        "tier": row["tier"],
        "standing": row["standing"],
        "busy": _share(row["busy"]),
        "booked": _share(row["booked"]),
        "tasks": str(len(row["tasks"])),
    }


def _task(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "task": row["name"],
        "class": row["kind"],
        "where": " ".join(row["where"]) or "nowhere",
        "how": row["how"] or "-",
        "why": row["why"],
    }


def _share(value: float | None) -> str:
    return "unsupported" if value is None else f"{value:.0%}"
