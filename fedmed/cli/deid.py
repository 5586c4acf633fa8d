"""`fedmed data deid`, `key`, `import` and `export`: originals in, copies that name nobody out, and a report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.cli.bars import counted
from fedmed.cli.labels import into_folder, join_labels
from fedmed.cli.tally import Tally, lines, summary
from fedmed.dicom.deid import folder as deid
from fedmed.dicom.deid.actions import Policy
from fedmed.errors import DataError
from fedmed.privacy import keys
from fedmed.store import filling

DEFAULT_KEY = Path("~/.config/fedmed/site.key")


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


def run(options: Options) -> None:
    """De-identify a folder. Raises SomethingLeft, after the report, where verification found something."""
    deid.refuse_places(options.source, options.out)
    if options.report and options.report.resolve().is_relative_to(options.out.resolve()):
        raise DataError(f"{options.report}: lies in {options.out}, and names originals; write it elsewhere")
    pseudonyms = filling.pseudonyms_of(site_key(options.key))
    paths = deid.files_of(options.source)
    texts = any(path.suffix.lower() == ".txt" for path in paths)
    policy = Policy(structured_content=options.structured)
    job = deid.Job(options.out, pseudonyms, policy, options.verify, people=texts or options.labels is not None)
    tally = Tally()
    options.out.mkdir(parents=True, exist_ok=True)
    for outcome in counted("de-identify", deid.deidentify_files(paths, job), len(paths)):
        tally.add(outcome)
    tally.clean_texts(options.out, pseudonyms)
    facts = summary(tally, options.verify)
    if options.labels:
        facts["labels"] = join_labels(options.labels, tally, pseudonyms, into_folder(options.out))
    _tell(facts, options)
    if options.verify and tally.leaks:
        places = ", ".join(f"{place} {n}" for place, n in sorted(tally.leaks.items()))
        raise SomethingLeft(f"something is left in {len(tally.leaking)} copies ({places}); do not give them away")


def site_key(path: Path | None) -> keys.SiteKey:
    """The clinic's key: that of the file named, else of the default file, which is made where it is not there."""
    if path is not None:
        return keys.read(path)
    default = DEFAULT_KEY.expanduser()
    if not default.exists():
        sys.stderr.write(f"fedmed: made a new key, {default}; keep a copy: without it no pseudonym can be made again\n")
        return keys.create(default)
    return keys.read(default)


def _tell(facts: dict[str, Any], options: Options) -> None:
    text = json.dumps(facts, ensure_ascii=False)
    if options.report:
        try:
            options.report.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{options.report}: cannot be written ({error.strerror})") from error
    sys.stdout.write(text + "\n" if options.as_json else "\n".join(lines(facts)) + "\n")
