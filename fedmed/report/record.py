"""`report.json` as frozen models: what a run wrote down, read leniently, with every undefined number as None.

Who took part is worked out from the cohorts of the rounds, never from a status somebody wrote: a site that was asked
and is in no list counts as missing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fedmed.errors import StoreError
from fedmed.report.attackers import Attacks
from fedmed.report.lies import Lies
from fedmed.report.parts import LENIENT, Number
from fedmed.report.timed import Answers, Virtual

State = Literal["joined", "late", "missing", "refused"]
LARGEST = sys.float_info.max
_UNRECORDED: tuple[State, str] = ("missing", "asked, and in no list of the round")


class Record(BaseModel):
    """Base of every part."""

    model_config = LENIENT


class Metric(Record):
    """A measure in 0..1 with its 95 % interval; `why` says why there is no value."""

    value: Number = None
    low: Number = None
    high: Number = None
    why: str = ""


def _metric(found: Any) -> Any:
    """A bare number is a metric without an interval; null one without a value."""
    return found if isinstance(found, dict | Metric) else {"value": found}


Metrics = dict[str, Annotated[Metric, BeforeValidator(_metric)]]


class Bytes(Record):
    """Bytes sent to the sites and back."""

    down: float = Field(0, ge=0)
    up: float = Field(0, ge=0)


class Scored(Record):
    """Base of scores; numbers of the researcher's own stand beside those that every run has."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def own(self, name: str) -> float | None:
        """A number of the researcher's own; None where it is undefined or was not told."""
        found = (self.model_extra or {}).get(name)
        return float(found) if isinstance(found, int | float) and abs(found) <= LARGEST else None


class SiteScore(Scored):
    """One site's part in a score."""

    loss: Number = None
    auc: Number = None
    dice: Number = None
    examples: int | None = None


class Score(Scored):
    """Loss and leading measure of a round (AUC, or Dice of a segmentation), over all sites and by site."""

    loss: Number = None
    auc: Number = None
    auc_error: Number = None
    """What the AUC may be off by, where it is read from histograms that were summed."""
    dice: Number = None
    sites: dict[str, SiteScore] = {}
    missing: dict[str, str] = {}
    """Sites that the score is without, and why."""
    lacks: list[str] = []
    """Why there is no score, where too few sites took part or the sum could not be opened."""


class Buffer(Record):
    """A round that was closed by so many updates, whichever model each began with."""

    size: int = Field(0, ge=0)
    staleness: dict[str, int] = {}
    """Models that were made since each update's own."""
    under_way: dict[str, int] = {}
    """Sites that trained on, with the round in which they began."""


class Round(Record):
    """One round: who was asked, who answered, what it cost."""

    round: int = Field(ge=0)
    seconds: Number = None
    phases: dict[str, Number] = {}
    cohort: list[str] = []
    joined: list[str] = []
    missing: dict[str, str] = {}
    refused: dict[str, str] = {}
    late: list[str] = []
    folded: dict[str, int] = {}
    """Sites whose update came too late for an earlier round and is in this one, with that round."""
    buffer: Buffer | None = None
    attempt: int = 1
    bytes: Bytes = Bytes()
    train: Score | None = None
    validation: Score | None = None

    def states(self) -> dict[str, tuple[State, str]]:
        """State and reason of every site that was asked."""
        found: dict[str, tuple[State, str]] = dict.fromkeys(self.cohort, ("missing", "asked, and in no list of the round"))
        found |= dict.fromkeys(self.joined, ("joined", ""))
        found |= {site: ("missing", reason) for site, reason in self.missing.items()}
        found |= {site: ("late", self.missing.get(site) or "answered after the deadline") for site in self.late}
        found |= {site: ("refused", reason) for site, reason in self.refused.items()}
        return found


class Overall(Record):
    """Metrics on the test cases of all sites together."""

    test_examples: int | None = None
    metrics: Metrics = {}


class SiteResult(Record):
    """One site: its cases and the metrics of each model on its test cases."""

    examples: dict[str, int] = {}
    classes: dict[str, int] = {}
    rounds_joined: int | None = None
    federated: Metrics | None = None
    personal: Metrics | None = None
    local: Metrics | None = None
    pooled: Metrics | None = None
    mixture: Metrics | None = None


class Baselines(Record):
    """Metrics on the pooled test cases of the pooled model and of each site's own."""

    pooled: Metrics | None = None
    local: dict[str, Metrics] | None = None


class Curve(Record):
    """`roc`: (false, true positive rate); `calibration`: (mean predicted, observed share, cases)."""

    roc: list[tuple[float, float]] | None = None
    calibration: list[tuple[float, float, Annotated[float, Field(ge=0)]]] | None = None


class Picture(Record):
    """A test case of a site, as PNG in base64: the image, and the drawn mask on it against the true one."""

    png: str = Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=4_000_000)
    dice: Number = None
    slice: int | None = None
    """Which slice of a volume."""


class Aside(Record):
    """A series, study or file that a site left out because it cannot be trusted."""

    what: str = ""
    reason: str = ""
    sentence: str = ""


class Epoch(Record):
    """Members that shared keys for some rounds of secure aggregation."""

    members: int = 0
    colluders: int = 0
    without: list[str] = []


class Unopened(Record):
    """A masked sum that was lost."""

    round: int = 0
    purpose: str = ""
    reason: str = ""


class LeftOut(Record):
    """A site that an epoch was set up without."""

    site: str = ""
    reason: str = ""


class Accused(Record):
    """Sites whose shares did not fit."""

    sites: list[str] = []


class Privacy(Record):
    """What the center could learn of a single site."""

    secure_aggregation: Literal["malicious", "hbc", "off"] = "off"
    lanes: int = 32
    bound: float = 0.0
    least: int | None = None
    """Sites that every sum was over, at least."""
    members: int | None = None
    epochs: list[Epoch] = []
    left_out: list[LeftOut] = []
    unopened: list[Unopened] = []
    accused: list[Accused] = []
    bytes: Bytes = Bytes()

    @property
    def is_masked(self) -> bool:
        """Whether the center saw sums only."""
        return self.secure_aggregation != "off"


class Chosen(Record):
    """Which global model the run ended with."""

    choose: str = "last"
    round: int | None = None
    measure: str = ""
    value: Number = None
    error: Number = None
    average_last: int = 1


class Seconds(Record):
    """Seconds of the run, whole and by phase."""

    total: Number = None
    phases: dict[str, Number] = {}


class Report(Record):
    """One run."""

    fedmed: str = ""
    status: str = ""
    resumed: list[int] = []
    scenario: dict[str, Any] = {}
    seed: int | None = None
    engine: str = ""
    rounds: list[Round] = []
    overall: Overall = Overall()
    sites: dict[str, SiteResult] = {}
    baselines: Baselines | None = None
    curves: dict[str, Curve | None] | None = None
    kind: str = "classification"
    pictures: dict[str, Picture] = {}
    sites_missing: dict[str, list[str]] = {}
    set_aside: dict[str, list[Aside]] = {}
    evaluated_by: str = ""
    """Who saw the test cases that the metrics are of."""
    privacy: Privacy | None = None
    """None in a record that does not tell."""
    chosen: Chosen | None = None
    bytes: Bytes = Bytes()
    seconds: Seconds = Seconds()
    """Of the machine that it ran on."""
    virtual: Virtual | None = None
    """None where rounds took the machine's own time."""
    answers: Answers = Answers()
    attacks: Attacks | None = None
    """None where nobody was to attack."""
    lies: Lies | None = None
    """None where the center was honest."""
    model_sha256: str | None = None
    data_sha256: str | None = None
    versions: dict[str, str | None] = {}
    machine: dict[str, Any] = {}

    def own_metrics(self) -> list[str]:
        """Names of the numbers of the researcher's own that training tells."""
        training = self.scenario.get("training")
        declared = training.get("metrics") if isinstance(training, dict) else None
        return list(map(str, declared)) if isinstance(declared, dict) else []

    @property
    def has_tests(self) -> bool:
        """Whether anybody who tells this has seen test cases; a real center has not."""
        return bool(self.overall.metrics) or any(
            metrics
            for site in self.sites.values()
            for metrics in (site.federated, site.personal, site.local, site.pooled, site.mixture)
        )

    def last_validation(self) -> Score | None:
        """The newest score of the global model on validation cases; None where none was measured."""
        return next((each.validation for each in reversed(self.rounds) if each.validation is not None), None)

    def site_names(self) -> list[str]:
        """Every site that the record names anywhere, in order of appearance."""
        asked = [site for found in self.rounds for site in found.states()]
        listed = [site for names in self.sites_missing.values() for site in names]
        return list(dict.fromkeys([*self.sites, *asked, *listed]))

    def presence(self) -> dict[str, dict[int, tuple[State, str]]]:
        """Site -> round -> state and reason; rounds in which a site was not asked are left out."""
        found: dict[str, dict[int, tuple[State, str]]] = {site: {} for site in self.site_names()}
        for each in self.rounds:
            for site, state in each.states().items():
                found[site][each.round] = state
        for number, names in self.sites_missing.items():
            for site in names:
                if found[site].get(int(number), ("joined", ""))[0] == "joined":
                    found[site][int(number)] = ("missing", "listed as missing")
        return found


def read_report(path: Path) -> Report:
    """Read `report.json`; StoreError where it is not there or is no report."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; give the folder of a finished run") from error
    try:
        return Report.model_validate_json(content)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
        raise StoreError(f"{path}: is no report of fedmed: {'; '.join(faults)}") from error
