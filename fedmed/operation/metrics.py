"""What Prometheus reads of a center and of a clinic: numbers of the service alone, none that a patient could be in.

Each role has a registry of its own. Counters and the histogram are moved by the service as things happen; all else is read
when Prometheus asks, from one `Reading` that the service makes. The only labels are words of this file, and names of members
(`identity.member.NAME`), of which there are never more than `MOST_SITES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed import __version__
from fedmed.errors import (
    ConfigError,
    DataError,
    FederationError,
    FedmedError,
    MissingPart,
    QuorumError,
    StoreError,
    Unreachable,
)
from fedmed.identity.member import NAME

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

CENTER, CLINIC, HUB, EDGE = "center", "clinic", "hub", "edge"
VERDICTS = ("committed", "incomplete", "failed")
"""Every site in it; committed without some; tried and given up."""
KINDS: tuple[tuple[str, type[FedmedError]], ...] = (
    ("config", ConfigError),
    ("data", DataError),
    ("quorum", QuorumError),
    ("unreachable", Unreachable),
    ("federation", FederationError),
    ("store", StoreError),
    ("missing", MissingPart),
)
OTHER = "other"
HANDSHAKES = (
    "no-certificate",
    "unknown-authority",
    "expired",
    "not-yet-valid",
    "unfit-certificate",
    "tls-too-old",
    "nothing-in-common",
    "not-tls",
    "refused-by-peer",
    "gone",
    OTHER,
)
"""Why TLS handshakes fail (`operation.handshakes.Fault`)."""
MOST_SITES = 256
ROUND_BUCKETS_S = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)


@dataclass(frozen=True)
class Reading:
    """What is so now; None for what is not known, or not this role's: then it is not shown."""

    ready: bool = False
    seen_ago_s: Mapping[str, float] = field(default_factory=dict)
    """Center: seconds since each member was heard, by its name. Clinic: since the center was, as `center`."""
    sites_online: int | None = None
    members: int | None = None
    """Members of the epoch of secure aggregation."""
    spooled: int | None = None
    """Uploads on the disk that are not sent, or not complete."""
    spooled_bytes: int | None = None
    disk_free_bytes: int | None = None
    certificate_left_s: float | None = None
    """Until the first certificate runs out; negative after."""
    audit_entries: int | None = None
    audit_head_age_s: float | None = None
    models_waiting: int | None = None
    """Files of models that are not copied yet."""
    models_waiting_bytes: int | None = None
    paused: bool | None = None
    """Clinic: whether its staff has paused it."""


_GAUGES: tuple[tuple[str, str, str], ...] = (
    ("sites_online", "fedmed_sites_online", "Members that the center hears from now."),
    ("members", "fedmed_epoch_members", "Members of the present epoch of secure aggregation."),
    ("spooled", "fedmed_spooled_uploads", "Uploads on the disk that are not sent or not complete."),
    ("spooled_bytes", "fedmed_spooled_bytes", "Bytes of uploads on the disk that are not sent or not complete."),
    ("disk_free_bytes", "fedmed_disk_free_bytes", "Bytes that the service may still write where its folder lies."),
    ("certificate_left_s", "fedmed_certificate_left_seconds", "Seconds until the first certificate runs out."),
    ("audit_entries", "fedmed_audit_entries", "Entries of the audit log."),
    ("audit_head_age_s", "fedmed_audit_head_age_seconds", "Seconds since the newest head of the audit log was signed."),
    ("models_waiting", "fedmed_models_waiting_files", "Files of models that are not copied to the second place yet."),
    ("models_waiting_bytes", "fedmed_models_waiting_bytes", "Bytes of models that are not copied to the second place yet."),
    ("paused", "fedmed_paused", "1 where the clinic's staff has paused it."),
)


class Metrics:
    """The numbers of one service. Moving a counter is safe from any thread."""

    def __init__(self, role: str, read: Callable[[], Reading]) -> None:
        """`read` is called in the thread that answers a scrape. Raises MissingPart without prometheus-client."""
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingPart("metrics need prometheus-client; install fedmed[fl], or set health: null") from error
        self.read = read
        self.registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
        here = self.registry
        self._rounds = Counter("fedmed_rounds", "Rounds that ended, by how.", ("verdict",), registry=here)
        self._seconds = Histogram(
            "fedmed_round", "Seconds of a round.", unit="seconds", buckets=ROUND_BUCKETS_S, registry=here
        )
        self._moved = Counter(
            "fedmed_transferred", "Bytes on the line to members.", ("direction",), unit="bytes", registry=here
        )
        self._errors = Counter("fedmed_errors", "Errors that the service went on after, by kind.", ("kind",), registry=here)
        self._last = Gauge(
            "fedmed_last_error_timestamp",
            "When the newest error was, since 1970; 0 for never.",
            unit="seconds",
            registry=here,
        )
        info = Gauge("fedmed_service_info", "1; role and version of the service.", ("role", "version"), registry=here)
        info.labels(role, __version__).set(1)
        self._handshakes = Counter(
            "fedmed_failed_handshakes", "TLS handshakes that failed at the port, by why.", ("reason",), registry=here
        )
        for reason in HANDSHAKES if role == CENTER else ():
            self._handshakes.labels(reason)
        for verdict in VERDICTS:
            self._rounds.labels(verdict)
        for kind in (*(name for name, _ in KINDS), OTHER):
            self._errors.labels(kind)
        for direction in ("up", "down"):
            self._moved.labels(direction)
        self.registry.register(_Now(self))

    def round_ended(self, verdict: str, seconds: float) -> None:
        """A round ended; `verdict` is one of `VERDICTS`. Raises ConfigError for another."""
        if verdict not in VERDICTS:
            raise ConfigError(f"a round's verdict is {verdict[:40]!r}; allowed are {', '.join(VERDICTS)}")
        self._rounds.labels(verdict).inc()
        self._seconds.observe(seconds)

    def moved(self, up: int, down: int) -> None:
        """So many more bytes were received from members (`up`) and sent to them (`down`)."""
        self._moved.labels("up").inc(up)
        self._moved.labels("down").inc(down)

    def handshake_failed(self, reason: str) -> None:
        """A TLS handshake failed; what is none of `HANDSHAKES` is another."""
        self._handshakes.labels(reason if reason in HANDSHAKES else OTHER).inc()

    def failed(self, error: BaseException, unix: float) -> None:
        """Something failed, and the service goes on; of the error its kind alone is shown."""
        self._errors.labels(kind_of(error)).inc()
        self._last.set(unix)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format, version 0.0.4."""
        from prometheus_client import generate_latest

        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """The families, without the series that say when a counter was made: nobody asks for those."""
        for family in self.registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _Now:
    """What is read when Prometheus asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        now = self._metrics.read()
        yield GaugeMetricFamily("fedmed_ready", "1 where the service does its work.", value=float(now.ready))
        for name, metric, told in _GAUGES:
            if (value := getattr(now, name)) is not None:
                yield GaugeMetricFamily(metric, told, value=float(value))
        seen = GaugeMetricFamily("fedmed_seen_ago_seconds", "Seconds since a member was heard from.", labels=("peer",))
        for peer, seconds in sorted(now.seen_ago_s.items())[:MOST_SITES]:
            if NAME.fullmatch(peer):
                seen.add_metric((peer,), float(seconds))
        yield seen


def kind_of(error: BaseException) -> str:
    """The word that an error is counted under."""
    return next((name for name, kind in KINDS if isinstance(error, kind)), OTHER)
