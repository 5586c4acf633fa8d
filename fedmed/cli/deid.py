"""`fedmed data deid`, `key`, `import` and `export`: originals in, copies that name nobody out, and a report of what was done."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedmed.dicom.deid import folder as deid
from fedmed.dicom.deid.actions import Policy
from fedmed.dicom.deid.free_text import clean
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.reports import Report, clean_report, merged_known
from fedmed.dicom.reasons import SENTENCES, Untrusted
from fedmed.errors import DataError
from fedmed.privacy import keys
from fedmed.store import intake, join

LABELS = "labels.csv"
DEFAULT_KEY = Path("~/.config/fedmed/site.key")
SHOWN = 20
"""Files set aside that a person is shown; the report has them all."""


class SomethingLeft(DataError):
    """A copy still holds what identified its original."""


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    source: Path
    out: Path
    key: Path | None = None
    verify: bool = False
    as_json: bool = False
    report: Path | None = None
    labels: Path | None = None
    structured: bool = False


@dataclass
class Tally:
    """What became of all files of a run."""

    written: int = 0
    not_dicom: int = 0
    quarantined: list[dict[str, str]] = field(default_factory=list)
    attributes: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    reports: list[Report] = field(default_factory=list)
    searched: int = 0
    leaks: Counter[str] = field(default_factory=Counter)
    leaking: list[str] = field(default_factory=list)
    gone: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    names: join.Names = field(default_factory=join.Names)
    people: list[Known] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)

    def add(self, outcome: deid.Outcome) -> None:
        """Counts one file."""
        if outcome.status == deid.QUARANTINED and outcome.reason is not None:
            self._set_aside(outcome.path, Untrusted(outcome.reason, outcome.detail))
        elif outcome.status == deid.TEXT:
            self.texts.append(outcome.path)
        self.written += outcome.status == deid.WRITTEN
        self.not_dicom += outcome.status == deid.NOT_DICOM
        self.attributes += outcome.findings.done
        self.lost += outcome.findings.lost
        self.pixels[outcome.findings.pixels] += outcome.status == deid.WRITTEN
        if outcome.identity:
            self.names.add(outcome.identity.before, outcome.identity.after)
        if outcome.people:
            self.people.append(outcome.people)
        if outcome.check:
            self.searched += outcome.check.searched
            self.leaks += outcome.check.leaks
            self.gone += outcome.check.gone
            self.changed += outcome.check.changed
            if outcome.check.leaks:
                self.leaking.append(str(outcome.target))

    def _set_aside(self, path: Path, error: Untrusted) -> None:
        sentence = SENTENCES[error.reason]
        self.quarantined.append({"path": str(path), "reason": error.reason.value, "sentence": sentence, "detail": error.detail})

    def clean_texts(self, out: Path, pseudonyms: Any) -> None:
        """Cleans the reports that lay beside the images, everybody being known now who is named in those."""
        known = merged_known(self.people)
        renamed = {before: after for names in self.names.known.values() for before, after in names.items()}
        for path in self.texts:
            try:
                self.reports.append(clean_report(path, out, known, renamed, pseudonyms))
            except Untrusted as error:
                self._set_aside(path, error)

    def left(self) -> Counter[str]:
        """What is left of names and numbers in copies and reports."""
        found = Counter(self.leaks)
        for report in self.reports:
            found.update({f"report: {kind}": n for kind, n in report.left.items()})
        return found


def run(options: Options) -> None:
    """De-identify a folder. Raises SomethingLeft, after the report, where verification found something."""
    deid.refuse_places(options.source, options.out)
    if options.report and options.report.resolve().is_relative_to(options.out.resolve()):
        raise DataError(f"{options.report}: lies in {options.out}, and names originals; write it elsewhere")
    pseudonyms = intake.pseudonyms_of(site_key(options.key))
    paths = deid.files_of(options.source)
    texts = any(path.suffix.lower() == ".txt" for path in paths)
    policy = Policy(structured_content=options.structured)
    job = deid.Job(options.out, pseudonyms, policy, options.verify, people=texts or options.labels is not None)
    tally = Tally()
    options.out.mkdir(parents=True, exist_ok=True)
    for outcome in progress("de-identify", deid.deidentify_files(paths, job), len(paths)):
        tally.add(outcome)
    tally.clean_texts(options.out, pseudonyms)
    facts = summary(tally, options.verify)
    if options.labels:
        facts["labels"] = _labels(options.labels, options.out / LABELS, tally)
    _tell(facts, options)
    if options.verify and tally.leaks:
        places = ", ".join(f"{place} {n}" for place, n in sorted(tally.leaks.items()))
        raise SomethingLeft(f"something is left in {len(tally.leaking)} copies ({places}); do not give them away")


def _labels(table: Path, target: Path, tally: Tally) -> dict[str, int]:
    known = merged_known(tally.people)
    joined = join.join(table, tally.names, lambda cell: clean(cell, known).text)
    join.write(joined, target)
    return {"rows": len(joined.rows), "unmatched": joined.unmatched}


def site_key(path: Path | None) -> keys.SiteKey:
    """The clinic's key: that of the file named, else of the default file, which is made where it is not there."""
    if path is not None:
        return keys.read(path)
    default = DEFAULT_KEY.expanduser()
    if not default.exists():
        sys.stderr.write(f"fedmed: made a new key, {default}; keep a copy: without it no pseudonym can be made again\n")
        return keys.create(default)
    return keys.read(default)


def progress(what: str, outcomes: Iterator[deid.Outcome], total: int) -> Iterator[deid.Outcome]:
    """Passes outcomes on, with a bar and the time left on a terminal, and a line a tenth elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        step = max(total // 10, 1)
        for done, outcome in enumerate(outcomes, 1):
            yield outcome
            if done % step == 0:
                sys.stderr.write(f"{what}: {done} of {total} files\n")
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        for outcome in outcomes:
            yield outcome
            bar.advance(task)


def summary(tally: Tally, verify: bool) -> dict[str, Any]:
    """What a run did, for machines."""
    facts: dict[str, Any] = {
        "written": tally.written,
        "quarantined": tally.quarantined,
        "not_dicom": tally.not_dicom,
        "attributes": dict(sorted(tally.attributes.items())),
        "lost": dict(sorted(tally.lost.items())),
        "pixels": dict(sorted((+tally.pixels).items())),
        "reports": [
            {"target": str(one.target), "removed": dict(one.removed), "left": dict(one.left)} for one in tally.reports
        ],
    }
    if verify:
        facts["verify"] = {
            "searched": tally.searched,
            "left": dict(sorted(tally.left().items())),
            "in": tally.leaking,
            "gone": dict(sorted(tally.gone.items())),
            "changed": dict(sorted(tally.changed.items())),
        }
    return facts


def _tell(facts: dict[str, Any], options: Options) -> None:
    text = json.dumps(facts, ensure_ascii=False)
    if options.report:
        try:
            options.report.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{options.report}: cannot be written ({error.strerror})") from error
    sys.stdout.write(text + "\n" if options.as_json else "\n".join(_lines(facts)) + "\n")


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    aside = facts["quarantined"]
    yield f"{facts['written']} objects de-identified, {len(aside)} set aside, {facts['not_dicom']} files that are no DICOM"
    for one in aside[:SHOWN]:
        yield f"  {one['path']}: {one['reason']}. {one['sentence']} {one['detail']}"
    if len(aside) > SHOWN:
        yield f"  and {len(aside) - SHOWN} more; --report FILE lists them all"
    yield f"attributes: {_counts(facts['attributes'])}; pixels: {_counts(facts['pixels'])}"
    if facts["lost"]:
        yield f"kept by the profile, but malformed or naming somebody, so removed: {_counts(facts['lost'])}"
    for report in facts["reports"]:
        yield f"  {report['target']}: took out {_counts(report['removed'])}; to look at: {_counts(report['left'])}"
    if "labels" in facts:
        yield f"labels: {facts['labels']['rows']} rows joined, {facts['labels']['unmatched']} named no object and were left out"
    if "verify" in facts:
        found = facts["verify"]
        yield f"verified: {found['searched']} values searched for in the copies' bytes; left: {_counts(found['left'])}"
        yield f"over-deletion: gone {_counts(found['gone'])}; changed {_counts(found['changed'])}"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in found.items()) or "nothing"
