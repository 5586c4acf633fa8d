"""`fedmed clinic|edge doctor`: findings as a table and what to do, or as JSON; progress on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from fedmed.clock import SystemClock
from fedmed.operation.doctor.finding import Finding, Status, exit_code
from fedmed.operation.doctor.running import TOTAL_S, Check, Seen, examine

if TYPE_CHECKING:
    from fedmed.clinic.doctor.estimate import Term

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.SKIPPED: "dim"}
_PIPED = 200  # columns where nobody said how many


def run(checks: Sequence[Check], as_json: bool, total_s: float = TOTAL_S) -> None:
    """Examine, show, and end with the exit code that the findings come to."""
    seen, clock = Seen(), SystemClock()
    findings = list(examine(checks, clock, _tell, seen, total_s))
    code, terms = exit_code(findings), seen.get("round", ())
    if as_json:
        sys.stdout.write(json.dumps(facts(findings, terms, code), ensure_ascii=False) + "\n")
    else:
        show(findings, terms)
    raise typer.Exit(code)


def _tell(name: str, number: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{number}/{total} {name} ..." + ("\r\x1b[K" if number == total else ""))
    else:
        sys.stderr.write(f"{number}/{total} {name}\n")
    sys.stderr.flush()


def facts(findings: Sequence[Finding], terms: Sequence[Term], code: int) -> dict[str, Any]:
    """All of it, for machines."""
    rows = [
        {"check": f.check, "status": f.status.value, "got": f.got, "allowed": f.allowed, "todo": f.todo} for f in findings
    ]
    expected = {"seconds": sum(each.seconds for each in terms), "terms": [asdict(each) for each in terms]} if terms else None
    return {"exit_code": code, "findings": rows, "round": expected}


def show(findings: Sequence[Finding], terms: Sequence[Term]) -> None:
    """The table; below it what to do, in the order of the checks, and the parts of a round."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedmed.report.formats import duration

    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if told else _PIPED)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("check", "status", "got", "allowed"):
        table.add_column(name, no_wrap=name in ("check", "status"), overflow="fold")
    for each in findings:
        status = Text(each.status.value, style=_STYLES[each.status])
        table.add_row(Text(each.check), status, Text(each.got), Text(each.allowed))
    console.print(table)
    todo = [each for each in findings if each.todo]
    if todo:
        console.print(Text("\nto do", style="bold"))
    for each in todo:
        console.print(Text(f"{each.check}: {each.todo}"))
    if terms:
        parts = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("of a round", "time", "reckoned from"):
            parts.add_column(name, overflow="fold")
        for term in terms:
            parts.add_row(Text(term.name), Text(duration(term.seconds)), Text(term.how))
        console.print(Text(""), parts)
