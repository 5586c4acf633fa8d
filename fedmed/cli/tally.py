"""What became of all files of a run of de-identification, counted, and told to machines and people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedmed.dicom.deid import folder as deid
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.deid.reports import Report, clean_report, merged_known
from fedmed.dicom.reasons import SENTENCES, Untrusted
from fedmed.store import join
from fedmed.wire.words import count

SHOWN = 20
"""Files set aside that a person is shown; the report has them all."""


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
        self.quarantined.append(
            {"path": str(path), "reason": error.reason.value, "sentence": sentence, "detail": error.detail}
        )

    def clean_texts(self, out: Path, pseudonyms: Pseudonyms) -> None:
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


def foreign(facts: dict[str, Any]) -> str:
    """How many files were none of what was looked for."""
    return count(facts["not_dicom"], "file that is no DICOM", "files that are no DICOM")


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same, for people."""
    aside = facts["quarantined"]
    yield f"{count(facts['written'], 'object')} de-identified, {len(aside)} set aside, {foreign(facts)}"
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
        rows, unmatched = facts["labels"]["rows"], facts["labels"]["unmatched"]
        yield f"labels: {count(rows, 'row')} joined, {unmatched} named no object and were left out"
    if "verify" in facts:
        found = facts["verify"]
        yield f"verified: {found['searched']} values searched for in the copies' bytes; left: {_counts(found['left'])}"
        yield f"over-deletion: gone {_counts(found['gone'])}; changed {_counts(found['changed'])}"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in found.items()) or "nothing"
