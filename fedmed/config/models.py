"""The section `models` of `center.yaml`: which committed models are kept, and where they are copied to."""

from __future__ import annotations

from pydantic import Field, model_validator

from fedmed.config.buckets import PLACE, SOURCE, Bucket


class Models(Bucket):
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
    copy_to: str | None = Field(None, pattern=PLACE)
    """A second place, s3://BUCKET/PREFIX or a folder; null for none."""

    @model_validator(mode="after")
    def _bucket_needs_credentials(self) -> Models:
        if (self.copy_to or "").startswith("s3://") and self.credentials is None:
            raise ValueError("copy_to names a bucket, and nothing says who may write it; give models.credentials too")
        return self
