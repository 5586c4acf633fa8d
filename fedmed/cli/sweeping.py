"""`fedmed simulate --sweep`: a run for each combination, in processes of their own, gone on with after a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.cli.bars import Bar
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.errors import ConfigError, FedmedError, ResumeRefused
from fedmed.report import sweep as pages
from fedmed.report.document import write
from fedmed.report.measures import LEADING
from fedmed.simulate import sweep
from fedmed.simulate.folder import RunFolder, free_folder
from fedmed.twin import profiles

DESIGN, ANSWERS, TABLE, PAGE, POINTS, LOG = "design.json", "sweep.json", "sweep.csv", "sweep.html", "points", "log.txt"
LOOK_S = 0.1
MOST_FAULT = 300  # characters of what a run said last


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    scenario: str
    data: Path | None
    overrides: tuple[str, ...]
    factors: tuple[str, ...]
    target: str | None
    jobs: int
    out: Path | None
    resume: bool
    as_json: bool


def run(options: Options) -> None:
    """Run all that is not done yet. Raises FedmedError at the end where runs failed; the others are in the table."""
    design = sweep.points([sweep.factor(text) for text in options.factors])
    _check(options, design)
    target = _target(options.target)
    out = options.out or free_folder(f"{find(options.scenario).stem}-sweep")
    _claim(out, options, design)
    rows = _Sweep(options, out, design, target).run()
    if options.as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{_line(row)}\n" for row in rows) + f"Page: {(out / PAGE).resolve()}\n")
    if failed := [row["point"] for row in rows if "seconds" not in row]:
        raise FedmedError(
            f"{len(failed)} of {len(rows)} runs did not come to their end ({', '.join(failed[:10])}); what each said is in "
            f"{out / POINTS}/POINT/{LOG}. Mend it, and go on with the same command, --out {out} and --resume"
        )


def _check(options: Options, design: Sequence[sweep.Point]) -> None:
    """Raise ConfigError with the faults of every combination, before anything runs."""
    faults = dict[str, str]()
    for point in design:
        try:
            load(find(options.scenario), (*options.overrides, *point.overrides), profiles.names())
        except ConfigError as error:
            faults.setdefault(str(error), ", ".join(point.overrides))
    if faults:
        raise ConfigError("\n".join(f"with {where}: {fault}" for fault, where in faults.items()))
    if options.jobs < 1:
        raise ConfigError(f"--jobs: got {options.jobs}; allowed: 1 or more")


def _target(text: str | None) -> tuple[str, float] | None:
    if text is None:
        return None
    metric, _, least = text.partition("=")
    try:
        return metric.strip(), float(least)
    except ValueError:
        raise ConfigError(f"--target: got {text!r}; allowed: METRIC=NUMBER such as auc=0.9") from None


def _claim(out: Path, options: Options, design: Sequence[sweep.Point]) -> None:
    path, told = out / DESIGN, [dict(point.values) for point in design]
    asked = {"scenario": options.scenario, "set": list(options.overrides), "points": told}
    if path.exists():
        if not options.resume:
            raise ConfigError(f"--out {out} holds a sweep already; add --resume to go on with it, or give another folder")
        if json.loads(path.read_text(encoding="utf-8")) != asked:
            raise ResumeRefused(f"{out} was started with another sweep; repeat its command, or give another folder")
        return
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out} is not empty; give an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(asked, ensure_ascii=False))


class _Sweep:
    def __init__(self, options: Options, out: Path, design: Sequence[sweep.Point], target: tuple[str, float] | None) -> None:
        self._options, self._out, self._design, self._target = options, out, design, target
        self._faults: dict[str, str] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> list[dict[str, Any]]:
        waiting = [point for point in self._design if sweep.read(self._folder(point)) is None]
        done, total = len(self._design) - len(waiting), len(self._design)
        rows = self._keep()
        try:
            with Bar("runs") as bar:
                bar("sweep", done, total)
                while waiting or self._running:
                    while waiting and len(self._running) < self._options.jobs:
                        self._start(waiting.pop(0))
                    if ended := self._ended():
                        done += ended
                        rows = self._keep()
                        bar("sweep", done, total)
                    time.sleep(LOOK_S)
        finally:
            for child in self._running.values():
                child.terminate()
                child.wait()
        return rows

    def _folder(self, point: sweep.Point) -> Path:
        return self._out / POINTS / point.name / "run"

    def _start(self, point: sweep.Point) -> None:
        folder = self._folder(point)
        goes_on = RunFolder(folder).has_commits if folder.exists() else False
        if not goes_on:
            shutil.rmtree(folder, ignore_errors=True)  # of a start that came to nothing; its report would be there
        folder.parent.mkdir(parents=True, exist_ok=True)
        sets = [part for each in (*self._options.overrides, *point.overrides) for part in ("--set", each)]
        data = ["--data", str(self._options.data)] if self._options.data else []
        resume = ["--resume"] if goes_on else []
        command = [sys.executable, "-m", "fedmed", "simulate", str(find(self._options.scenario)), *sets, *data, *resume]
        with (folder.parent / LOG).open("wb") as log:
            self._running[point.name] = subprocess.Popen(
                [*command, "--out", str(folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _ended(self) -> int:
        ended = [name for name, child in self._running.items() if child.poll() is not None]
        for name in ended:
            if self._running.pop(name).returncode != 0:
                said = (self._out / POINTS / name / LOG).read_text(encoding="utf-8", errors="replace").strip()
                self._faults[name] = said.splitlines()[-1][:MOST_FAULT] if said else "it ended without a word"
        return len(ended)

    def _keep(self) -> list[dict[str, Any]]:
        rows = [
            sweep.answer(point, self._folder(point), self._faults.get(point.name), self._target) for point in self._design
        ]
        more = next((name for name in LEADING if any(row.get(name) is not None for row in rows)), None)
        best = sweep.best(rows, more, "seconds") if more else []
        told = f"{self._options.scenario}, over {'; '.join(self._options.factors)}"
        write(self._out / ANSWERS, json.dumps({"runs": rows, "best": [rows[place]["point"] for place in best]}, indent=1))
        write(self._out / TABLE, sweep.table(rows))
        write(self._out / PAGE, pages.page("Sweep", told, rows, best, more))
        return rows


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{key} {pages.shown(key, value)}" for key, value in row.items())
