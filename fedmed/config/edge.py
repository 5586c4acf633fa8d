"""`edge.yaml`: one device beside a scanner, what it receives, where results go, how much it may keep and send."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from fedmed.config.health import HealthAddress
from fedmed.config.hosts import Host, Port
from fedmed.config.part import Part
from fedmed.config.scenario import Name, Options, Split

EDGE_FILE = "edge.yaml"
_QUIET = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


def _title(text: str) -> str:
    """An AE title: 1 to 16 characters of the default repertoire without backslash or control codes (PS3.5 6.2)."""
    if not 0 < len(text) <= 16 or text != text.strip() or not text.isascii() or not text.isprintable() or "\\" in text:
        raise ValueError(f"{text!r} is no AE title; one has 1 to 16 printable ASCII characters, no backslash")
    return text


def _quiet(text: str) -> str:
    if not _QUIET.fullmatch(text):
        raise ValueError(f"{text!r} are no hours; they are written as 07:00-19:00, over midnight as 22:00-06:00")
    return text


Title = Annotated[str, AfterValidator(_title)]


class DicomTls(Part):
    """Certificates of the port that scanners send to: PEM, below this device's folder where a path is not absolute."""

    certificate: str
    """This device's own, with those above it."""
    key: str
    """Its key, without a password."""
    callers: str
    """The authority that a sender's certificate must come from."""


class PacsTls(Part):
    """Certificates of the line to the PACS: PEM, below this device's folder where a path is not absolute."""

    ca: str
    """The authority that the PACS' certificate must come from."""
    certificate: str | None = None
    """This device's own, where the PACS asks for one."""
    key: str | None = None
    """Its key."""

    @model_validator(mode="after")
    def _both(self) -> PacsTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: both or none")
        return self


class Dicom(Part):
    """The device as a storage SCP."""

    ae_title: Title = "FEDMED"
    """What scanners call this device."""
    listen: Host = "127.0.0.1"
    """Address to listen on; beyond this machine only with callers or addresses named."""
    port: Port = 11112
    """Port to listen on."""
    callers: tuple[Title, ...] = ()
    """AE titles that may call; none for any. A title is no proof: anybody can write it."""
    addresses: tuple[str, ...] = ()
    """Addresses or networks, as 10.1.2.0/24, that may call; none for any."""
    tls: DicomTls | None = None
    """TLS 1.2 or newer for all who call, each with a certificate; null for plain DICOM, as most scanners speak it."""


class Stow(Part):
    """The device as a DICOMweb store (STOW-RS)."""

    listen: Host = "127.0.0.1"
    """Address to listen on; beyond this machine a token is needed."""
    port: Port = 8042
    """Port to listen on."""
    token: str | None = None
    """File with the bearer token that callers show; null for none, on this machine alone."""


class Pacs(Part):
    """Where results go, and nowhere else."""

    host: Host
    """Name or address of the PACS."""
    port: Port = 104
    """Its port."""
    ae_title: Title
    """What it is called."""
    calling: Title = "FEDMED"
    """What this device calls itself there."""
    tls: PacsTls | None = None
    """TLS 1.2 or newer; null where the PACS has none."""


class Keeping(Part):
    """How much is kept until it is sent."""

    gigabytes: float = Field(20.0, gt=0, le=100_000)
    """Room for what waits; real-time work has a tenth of it for itself."""
    days: float = Field(7.0, gt=0, le=366)
    """How long anything waits; what is older is dropped, counted and written down."""


class Sending(Part):
    """What the line to the clinic bears."""

    megabits: float | None = Field(None, gt=0, le=100_000)
    """At most so many a second for studies and updates; null for no limit."""
    quiet: Annotated[str, AfterValidator(_quiet)] | None = None
    """Hours in which studies and updates are not sent, 07:00-19:00; results always are."""


class Inference(Part):
    """How the released model runs here."""

    backend: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """What computes; auto takes the fastest that runs and is accurate."""
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    """auto runs fp32 until the device has measured each, then takes the fastest that loses at most a point."""
    check: str | None = None
    """Folder of the device's own labelled images, a folder a class of the model: with a hundred of them auto judges by
    these. Null for none: then by how often another precision decides as fp32 on the last images, which is no accuracy."""
    threads: int = Field(2, ge=1, le=256)
    """Of the processor, for one image."""


class Volumes(Part):
    """How the images of a series are gathered where the released model looks at volumes."""

    quiet_s: float = Field(30.0, ge=1, le=3600)
    """A series is whole when those who sent it have ended their associations, and nothing more came for so long."""
    longest_minutes: float = Field(60.0, gt=0, le=1440)
    """After so long a series is looked at as it is, and the result says so."""
    late_minutes: float = Field(60.0, gt=0, le=10_080)
    """For so long after a result what comes late makes a new one; what comes even later is set aside."""
    images: int = Field(3000, ge=1, le=20_000)
    """A series of more is set aside."""
    megabytes: float = Field(2048.0, gt=0, le=100_000)
    """Of a series, as it came and decoded; one of more is not looked at."""


class Trial(Part):
    """How long a release must do well here before it is committed; until then whatever goes wrong takes it back."""

    minutes: float = Field(15.0, gt=0, le=10_080)
    """At least."""
    results: int = Field(20, ge=1, le=100_000)
    """So many images at least; a quiet device's trial lasts until there were."""


class Training(Part):
    """On which of its own cases a device trains when its clinic asks."""

    federation: Name
    """The federation whose rounds these are: what is signed and masked is bound to its name."""
    reader: Name
    """How the cases are read, as in a scenario's data.reader."""
    folder: str = "-"
    """Where they are; below this device's folder where the path is not absolute. `-` for a set that the reader makes."""
    options: Options = Field(default_factory=dict)
    """Settings of the reader."""
    split: Split = Split()
    """How cases are held back."""
    site: Name | None = None
    """The one site of files that hold several."""
    seed: int = Field(42, ge=0, le=2**63 - 1)
    """Of the split into cases to train on and others."""


class Elsewhere(Part):
    """What devices of one clinic do for each other: one looks at an image that another cannot look at."""

    asks: bool = False
    """Whether this device sends images that it cannot look at, as its model's input and without names, to its hub, which
    gives them to another device of this clinic with the same package (hub.yaml, elsewhere)."""
    after: int | None = Field(50, ge=1, le=1_000_000)
    """So many images may wait here; what is beyond is sent. Null: only while this device takes no work."""
    helps: bool = True
    """Whether this device looks at others' images while none of its own waits."""


class Edge(Part):
    """`edge.yaml`."""

    name: Name
    """What this device is called at its clinic."""
    hub: Host
    """Name or address of the clinic's hub, the only host beside the PACS that is dialled."""
    port: Port = 8443
    """The hub's port for devices."""
    dicom: Dicom | None = Dicom()
    """C-STORE and C-ECHO; null to receive nothing that way."""
    folder: str | None = None
    """A folder that is watched for DICOM files; null for none."""
    stow: Stow | None = None
    """DICOMweb STOW-RS; null for none."""
    pacs: Pacs | None = None
    """Where results go; null to keep them here, as JSON."""
    deidentify: str | None = "site.key"
    """Key file (`fedmed data key`) of the pseudonyms that copies for training have; null to send the clinic no studies."""
    key: str = "file:spool.key"
    """Where the key that seals what waits here comes from: credential:NAME of systemd, tpm:HANDLE, or file:PATH; in this
    folder it protects against nobody who has the whole disk."""
    keep: Keeping = Keeping()
    """Of what waits to be sent."""
    line: Sending = Sending()
    """To the hub."""
    inference: Inference = Inference()
    """Of the released model."""
    volumes: Volumes = Volumes()
    """Of a model that looks at whole series."""
    trial: Trial = Trial()
    """Of a new release."""
    elsewhere: Elsewhere = Elsewhere()
    """Images that one device cannot look at, and another can."""
    training: Training | None = None
    """On what this device trains when its clinic asks; null where it does not. Needs PyTorch."""
    power_actions: bool = False
    """Whether the agent may lower a card's power limit when it is too hot; without it people are told, no more."""
    health: HealthAddress | None = None
    """Where /healthz, /readyz and /metrics answer: 127.0.0.1:PORT or a Unix socket's path; null for nowhere."""
    log: str | None = "service.log"
    """The agent's own log: a path, below this folder where it is not absolute; null for none beside standard error."""
