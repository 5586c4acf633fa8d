"""Reports in plain text: cleaned line by line of sense, named by pseudonyms, with a count of what may be left."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedmed.dicom.deid.free_text import MAX_TEXT, clean, left
from fedmed.dicom.deid.known import Known
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.errors import DataError

_HIGH = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class Report:
    """One cleaned report."""

    target: Path
    removed: Counter[str]
    """By kind."""
    left: Counter[str]
    """What the validation still found, by kind; empty for a report that needs no look."""


def clean_report(path: Path, out: Path, known: Known, names: Mapping[str, str], pseudonyms: Pseudonyms) -> Report:
    """Writes the report at `path` without what identifies somebody into `out`.

    A report that is called like an original identifier (`names`: original to pseudonym) is called by its pseudonym.

    Raises Untrusted for one that is too long, DataError where the disk refuses.
    """
    if path.stat().st_size > MAX_TEXT:
        raise Untrusted(Reason.TOO_LARGE, f"{path.stat().st_size} bytes of text; at most {MAX_TEXT} are cleaned")
    cleaned = clean(decoded(path.read_bytes()), known)
    name = names.get(path.stem) or pseudonyms.identifier("report", str(path))
    target = out / "reports" / f"{name}.txt"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.write_text(cleaned.text, encoding="utf-8")
        beside.rename(target)
    except OSError as error:
        raise DataError(f"{target.parent}: cannot be written ({error.strerror})") from error
    return Report(target, cleaned.removed, left(cleaned.text, known))


def decoded(data: bytes) -> str:
    """Text in UTF-8, in GB 18030 where most bytes above 127 come in pairs, else in Latin-1, where every byte is a letter."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Of a Chinese letter both bytes are above 127; an accented one stands between plain ones.
    runs = [len(run) for run in _HIGH.findall(data)]
    paired = sum(length for length in runs if length % 2 == 0)
    return data.decode("gb18030" if 2 * paired > sum(runs) else "latin-1", "replace")


def merged_known(people: list[Known]) -> Known:
    """Everybody in a folder's objects, for reports that do not say whose they are."""
    fields = zip(*((one.names, one.identifiers, one.phrases) for one in people), strict=True) if people else [(), (), ()]
    return Known(*(tuple(sorted({value for values in field for value in values})) for field in fields))
