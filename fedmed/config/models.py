"""The section `models` of `center.yaml`: which committed models are kept, and where they are copied to."""

from __future__ import annotations

from pydantic import Field, model_validator

from fedmed.config.part import Part

SOURCE = r"^(credential:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|file:/.+)$"
"""Where a secret comes from: a systemd credential, or a file that only its owner can read."""


class Models(Part):
    """Of each run, the newest and the best stay."""

    last: int = Field(10, ge=1, le=1000)
    """How many of the newest stay."""
    best: int = Field(3, ge=0, le=1000)
    """How many of the best stay, by the task's metric in federated validation."""
    rounds: int = Field(1, ge=1)
    """A model is kept every so many rounds, and a run's last one always,"""
    minutes: float | None = Field(None, gt=0)
    """or every so many minutes, whichever is first; null for rounds alone."""
    sealed: bool = True
    """Encrypted at rest; false writes that off, here and in the copy."""
    key: str | None = Field(None, pattern=SOURCE)
    """Where the key comes from, credential:NAME or file:/path; null for the file models.secret in the center's folder."""
    copy_to: str | None = Field(None, pattern=r"^(s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9/_.-]*)?|/.+)$")
    """A second place, s3://BUCKET/PREFIX or a folder; null for none."""
    endpoint: str | None = Field(None, pattern=r"^https?://[^\s/]+/?$")
    """URL of a store that speaks S3; null for Amazon's own."""
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    """The bucket's region."""
    credentials: str | None = Field(None, pattern=SOURCE)
    """The bucket's access key, in the form of Amazon's credentials file: credential:NAME or file:/path."""
    ca: str | None = None
    """A file of certificates that the endpoint's is checked with; null for the system's."""

    @model_validator(mode="after")
    def _bucket_needs_credentials(self) -> Models:
        if (self.copy_to or "").startswith("s3://") and self.credentials is None:
            raise ValueError("copy_to names a bucket, and nothing says who may write it; give models.credentials too")
        return self
