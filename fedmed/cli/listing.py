"""Tables on a terminal, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedmed.wire.visible import visible

if TYPE_CHECKING:
    from fedmed.config.topology import Topology

_PIPED = 200  # columns where nobody said how many: a program that reads rows wants none folded


def show(rows: Sequence[dict[str, str]], as_json: bool) -> None:
    """Print rows of equal keys."""
    if as_json:
        sys.stdout.write(json.dumps(list(rows), ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in rows[0]:
        table.add_column(key, no_wrap=key == "name", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(value)) for value in row.values()))
    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if told else _PIPED).print(table)


def scenario_rows() -> list[dict[str, str]]:
    """The built-in scenarios: name, title, what data they need, and who is where."""
    from fedmed.config.catalogue import builtin_scenarios
    from fedmed.config.loading import load
    from fedmed.twin import profiles

    rows = []
    for name, path in sorted(builtin_scenarios().items()):
        scenario = load(path, machines=profiles.names())
        needs = f"--data DIR with {scenario.data.folder}/" if scenario.data.folder else "nothing (embedded)"
        rows.append({"name": name, "title": scenario.title, "data": needs, "topology": _whereabouts(scenario.topology)})
    return rows


def _whereabouts(topology: Topology | None) -> str:
    if topology is None:
        return "none"
    clinics = sum(each.count for each in topology.clinics)
    devices = sum(each.count * boxes.count for each in topology.clinics for boxes in each.devices)
    counted = ((len(topology.regions), "regions"), (clinics, "clinics"), (devices, "devices"))
    modelled = ["modelled"] if topology.learning == "modelled" else []
    return ", ".join([*(f"{number} {what}" for number, what in counted if number), *modelled])
