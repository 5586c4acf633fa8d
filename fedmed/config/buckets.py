"""Where blobs are kept beside this machine: a folder, or a bucket of a store that speaks S3."""

from __future__ import annotations

from pydantic import Field

from fedmed.config.part import Part

SOURCE = r"^(credential:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|file:/.+)$"
"""Where a secret comes from: a systemd credential, or a file that only its owner can read."""
PLACE = r"^(s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9/_.-]*)?|/.+)$"
"""s3://BUCKET/PREFIX or a folder."""


class Bucket(Part):
    """How a bucket is reached; of no use for a folder."""

    endpoint: str | None = Field(None, pattern=r"^https?://[^\s/]+/?$")
    """URL of a store that speaks S3; null for Amazon's own."""
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    """The bucket's region."""
    credentials: str | None = Field(None, pattern=SOURCE)
    """The bucket's access key, in the form of Amazon's credentials file: credential:NAME or file:/path."""
    ca: str | None = None
    """A file of certificates that the endpoint's is checked with; null for the system's."""
