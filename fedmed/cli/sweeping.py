"""`fedmed simulate --sweep`: a run for each combination, in processes of their own, gone on with after a kill."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.cli.counted import Countdown
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, FedmedError, ResumeRefused, StoreError
from fedmed.report import sweep as pages
from fedmed.report.document import write
from fedmed.report.measures import LEADING
from fedmed.simulate import rows as told
from fedmed.simulate import sweep
from fedmed.simulate.folder import RunFolder, free_folder
from fedmed.simulate.side_by_side import LOG, SideBySide
from fedmed.twin import profiles

DESIGN, ANSWERS, TABLE, PAGE, POINTS = "design.json", "sweep.json", "sweep.csv", "sweep.html", "points"
LOOK_S = 0.1
MOST_FAULTS = 20


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    scenario: str
    data: Path | None
    overrides: tuple[str, ...]
    factors: tuple[str, ...]
    target: str | None
    jobs: int
    repeats: int
    out: Path | None
    resume: bool
    as_json: bool


def run(options: Options) -> None:
    """Run all that is not done yet. Raises FedmedError at the end where runs failed; the others are in the table."""
    design = _design(options)
    target = read_target(options.target)
    out = options.out or free_folder(f"{find(options.scenario).stem}-sweep")
    _claim(out, options, design)
    with RunFolder(out).held():
        try:
            rows = _Sweep(options, out, design, target).run()
        except KeyboardInterrupt:
            sys.stderr.write(f"fedmed: stopped; what is done is in {out}. Go on with the same command, --out and --resume\n")
            raise
    if options.as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{_line(row)}\n" for row in rows) + f"Page: {(out / PAGE).resolve()}\n")
    if failed := [row["point"] for row in rows if "seconds" not in row]:
        raise FedmedError(
            f"{len(failed)} of {len(rows)} runs did not come to their end ({', '.join(failed[:10])}); what each said is in "
            f"{out / POINTS}/POINT/{LOG}. Mend it, and go on with the same command, --out {out} and --resume"
        )


def _design(options: Options) -> list[sweep.Point]:
    """All points. Raises ConfigError with the faults of every combination, before anything runs."""
    if options.resume and options.out is None:
        raise ConfigError("--resume needs --out: the folder of the sweep to go on with")
    if options.jobs < 1:
        raise ConfigError(f"--jobs: got {options.jobs}; allowed: 1 or more")
    factors = [sweep.factor(text) for text in options.factors]
    design = sweep.points(factors)
    found = _checked(options, design)
    if options.repeats != 1:
        first = found[design[0].name].seed
        design = sweep.points(sweep.repeated(factors, options.repeats, first))
    return design


def _checked(options: Options, design: Sequence[sweep.Point]) -> dict[str, Scenario]:
    """What each point asks for, by name."""
    faults, found = dict[str, str](), dict[str, Scenario]()
    path, known = find(options.scenario), dict[str, str]()
    for point in design:
        where = ", ".join(point.overrides)
        try:
            found[point.name] = load(path, (*options.overrides, *point.overrides), profiles.names())
        except ConfigError as error:
            faults.setdefault(str(error), where)
            continue
        written = found[point.name].model_dump_json()
        if written in known:
            faults.setdefault(f"is the same run as {known[written]}; name each value once", where)
        known.setdefault(written, where)
    if faults:
        lines = [f"with {where}: {fault}" for fault, where in faults.items()]
        more = [f"and {len(lines) - MOST_FAULTS} more"] if len(lines) > MOST_FAULTS else []
        raise ConfigError("\n".join([*lines[:MOST_FAULTS], *more]))
    return found


def read_target(text: str | None) -> tuple[str, float] | None:
    """A measure that validation follows, and how much of it. Raises ConfigError with what is allowed."""
    if text is None:
        return None
    metric, _, least = text.partition("=")
    try:
        found = metric.strip(), float(least)
    except ValueError:
        found = metric.strip(), math.nan
    if found[0] not in LEADING or not 0 < found[1] <= 1:
        names = " or ".join(LEADING)
        raise ConfigError(f"--target: got {text!r}; allowed: METRIC=NUMBER with {names} and above 0 to 1, such as auc=0.9")
    return found


def _claim(out: Path, options: Options, design: Sequence[sweep.Point]) -> None:
    path, points = out / DESIGN, [dict(point.values) for point in design]
    asked = {"scenario": options.scenario, "set": list(options.overrides), "points": points}
    try:
        if path.exists():
            _same(path, asked, options.resume)
            return
        if options.resume:
            raise ConfigError(f"--resume: {out} holds no sweep; leave --resume out to start one there")
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigError(f"--out {out} is not empty; give an empty or a new folder")
        write(path, json.dumps(asked, ensure_ascii=False))
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be a folder: {error.strerror}; give another one") from error


def _same(path: Path, asked: dict[str, Any], resume: bool) -> None:
    if not resume:
        raise ConfigError(
            f"--out {path.parent} holds a sweep already; add --resume to go on with it, or give another folder"
        )
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); the sweep has to be started anew in another folder") from error
    if before != asked:
        raise ResumeRefused(f"{path.parent} was started with another sweep; repeat its command, or give another folder")


class _Sweep:
    def __init__(self, options: Options, out: Path, design: Sequence[sweep.Point], target: tuple[str, float] | None) -> None:
        self._options, self._out, self._design, self._target = options, out, design, target
        self._faults: dict[str, str] = {}

    def run(self) -> list[dict[str, Any]]:
        with SideBySide(self._out / POINTS, self._options.jobs, self._arguments) as runs:
            waiting = [point for point in self._design if told.read(runs.folder(point)) is None]
            rows = self._keep(runs)
            with Countdown("runs", len(self._design) - len(waiting), len(self._design)) as count:
                for name, fault in self._each(runs, waiting):
                    if fault is not None:
                        self._faults[name] = fault
                    rows = self._keep(runs)
                    count.ended(f"{name} ({_values(rows, name)}): {next(r for r in rows if r['point'] == name)['status']}")
        return rows

    def _each(self, runs: SideBySide, waiting: list[sweep.Point]) -> Iterator[tuple[str, str | None]]:
        while waiting or len(runs):
            while waiting and not runs.is_full:
                runs.start(waiting.pop(0))
            yield from runs.ended().items()
            time.sleep(LOOK_S)

    def _arguments(self, point: sweep.Point, folder: Path, goes_on: bool) -> list[str]:
        sets = [part for each in (*self._options.overrides, *point.overrides) for part in ("--set", each)]
        data = ["--data", str(self._options.data)] if self._options.data else []
        resume = ["--resume"] if goes_on else []
        return ["simulate", str(find(self._options.scenario)), *sets, *data, *resume, "--out", str(folder)]

    def _keep(self, runs: SideBySide) -> list[dict[str, Any]]:
        rows = [told.answer(each, runs.folder(each), self._faults.get(each.name), self._target) for each in self._design]
        keys = list(self._design[0].values)
        seeds = told.together(rows, keys) if self._options.repeats > 1 else []
        more = next((name for name in LEADING if any(row.get(name) is not None for row in rows)), None)
        shown = seeds or rows
        fronts = {less: told.best(shown, more, less) for less in pages.LESS} if more else {}
        best = [shown[place]["point"] for place in fronts.get("seconds", [])]
        said = f"{self._options.scenario}, over {'; '.join(self._options.factors)}"
        kept = {"runs": rows, "best": best} | ({"seeds": seeds} if seeds else {})
        write(self._out / ANSWERS, json.dumps(kept, indent=1))
        write(self._out / TABLE, told.table(rows))
        write(self._out / PAGE, pages.page("Sweep", said, rows, seeds, fronts, more))
        return rows


def _values(rows: Sequence[dict[str, Any]], name: str) -> str:
    row = next(row for row in rows if row["point"] == name)
    values = list(row.items())[1 : list(row).index("status")]
    return ", ".join(f"{key}={value}" for key, value in values)


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{key} {pages.shown(key, value)}" for key, value in row.items())
