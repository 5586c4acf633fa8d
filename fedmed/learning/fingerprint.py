"""What a site tells of how it prepares images and what they are like, before the first round."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fedmed.preprocess import fingerprint, pipeline
from fedmed.preprocess.fingerprint import Statistics
from fedmed.preprocess.fused.parity import Certificate
from fedmed.preprocess.pipeline import Pipeline
from fedmed.sites.cases import Cases, Site
from fedmed.wire.canonical import canonical
from fedmed.wire.tensors import raw

MAX_BYTES = 64 * 1024
MAX_TEXT = 300
WHAT = "fingerprint"
"""What the statement is called in a site's ledger."""


@dataclass(frozen=True)
class Fingerprint:
    """What one site tells; `statistics` is None where it withholds them, and `withheld` says why."""

    pipeline: Pipeline
    parity: Certificate | None
    statistics: Statistics | None
    withheld: str = ""

    def record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "pipeline": self.pipeline.record(),
            "pipeline_sha256": self.pipeline.fingerprint(),
            "parity": None if self.parity is None else asdict(self.parity),
            "statistics": None if self.statistics is None else self.statistics.record(),
            "withheld": self.withheld,
        }


def parse(record: object) -> Fingerprint:
    """The fingerprint that a site sent. Raises ValueError for what is none, is too large or contradicts itself."""
    if not isinstance(record, dict) or len(canonical(record)) > MAX_BYTES:
        raise ValueError(f"a fingerprint is an object of at most {MAX_BYTES} bytes")
    try:
        told = pipeline.parse(record["pipeline"])
        statistics, withheld = record["statistics"], record["withheld"]
        if record["pipeline_sha256"] != told.fingerprint():
            raise ValueError("the pipeline does not have the digest that is told with it")
        if not _is_text(withheld) or (statistics is None) != bool(withheld):
            raise ValueError(
                f"either statistics or a reason for withholding them, of at most {MAX_TEXT} characters, is told"
            )
        certificate = None if record["parity"] is None else parse_parity(record["parity"])
        return Fingerprint(told, certificate, None if statistics is None else fingerprint.parse(statistics), withheld)
    except KeyError as error:
        raise ValueError(f"a fingerprint has a part {error}") from error


def parse_parity(record: object) -> Certificate:
    """A certificate with exactly the fields of `Certificate`. Raises ValueError for anything else."""
    texts = ("backend", "version", "source_sha256", "definition_sha256", "worst")
    kinds: dict[str, Any] = {**dict.fromkeys(texts, str), "cases": int, "passed": bool}
    kinds |= {"max_error": (int, float), "bound": (int, float)}
    if not isinstance(record, Mapping) or record.keys() != kinds.keys():
        raise ValueError(f"a parity certificate has the fields {', '.join(kinds)}")
    for name, kind in kinds.items():
        value = record[name]
        sound = isinstance(value, kind) and (name == "passed" or not isinstance(value, bool))
        if not sound or (kind is str and not _is_text(value)):
            raise ValueError(f"{name} of a parity certificate is {str(value)[:50]!r}")
    if not all(math.isfinite(record[name]) and record[name] >= 0 for name in ("cases", "max_error", "bound")):
        raise ValueError("numbers of a parity certificate are finite and not negative")
    return Certificate(**record)


def _is_text(value: object) -> bool:
    """Whether it may be shown on somebody's terminal."""
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT


def has_images(cases: Cases) -> bool:
    """Whether the cases are images; tables have no fingerprint."""
    return cases.x.ndim >= 3


def statement(train: Cases) -> str:
    """The statistics of a site's training cases as the text that leaves the site: canonical JSON."""
    counted = fingerprint.statistics(train.x, train.spacing_mm, train.orientation, train.patient)
    return canonical(counted.record()).decode()


def read_statement(text: str) -> Statistics:
    """The statistics of such a text. Raises ValueError."""
    return fingerprint.parse(json.loads(text))


def version_of(site: Site) -> str:
    """The digest of the site's data set: the one it came with, else that of its training cases."""
    if site.version:
        return site.version
    made = hashlib.sha256()
    columns = (site.train.x, site.train.y, site.train.patient, site.train.spacing_mm, site.train.orientation)
    for column in columns:
        made.update(b"-" if column is None else f"{column.dtype.str}{column.shape}".encode())
        if column is not None:
            made.update(raw(column))
    return made.hexdigest()
