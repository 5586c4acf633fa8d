"""The section `archive` of `hub.yaml`: where the clinic's old studies go, and when."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from fedmed.config.buckets import PLACE, Bucket


class Archive(Bucket):
    """A study goes when it is old enough, or when there is too much; the oldest first."""

    to: str = Field(pattern=PLACE)
    """s3://BUCKET/PREFIX, or a folder, on another disk if it can be; for this clinic alone."""
    key: str | None = Field(
        None,
        pattern=r"^(credential:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|tpm:(0x[0-9A-Fa-f]{8}|/.+)|file:/.+)$",
    )
    """Where the key comes from, credential:NAME, tpm:HANDLE or file:/path; null for the file archive.secret in this folder.
    Keep a copy of it elsewhere: without it nothing of the archive can be read."""
    after_days: float | None = Field(None, gt=0, le=36_500)
    """A study goes so many days after its last image came; null for no limit."""
    keep_gb: float | None = Field(None, ge=0, le=1_000_000)
    """So much stays here, in units of 10**9 bytes; the oldest studies beyond it go. Null for no limit."""
    megabits: float | None = Field(None, gt=0, le=100_000)
    """At most so many a second, there and back; null for no limit."""

    @model_validator(mode="after")
    def _says_when_and_who(self) -> Archive:
        if self.after_days is None and self.keep_gb is None:
            raise ValueError("nothing says when a study goes; give archive.after_days, archive.keep_gb, or both")
        if not self.to.startswith("s3://"):
            return self
        if self.credentials is None:
            raise ValueError("archive.to names a bucket, and nothing says who may write it; give archive.credentials too")
        if (self.endpoint or "").startswith("http://") and not _is_this_machine(
            urlsplit(self.endpoint or "").hostname or ""
        ):
            raise ValueError(
                f"archive.endpoint {self.endpoint} is without TLS, which is allowed on this machine alone; write https://"
            )
        return self


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
