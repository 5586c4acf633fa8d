"""From where a configuration says blobs lie to the store of them."""

from __future__ import annotations

from pathlib import Path

from fedmed.config.buckets import Bucket
from fedmed.store.blobs import FolderStore, Store
from fedmed.store.s3 import Place, S3Store


def store_at(to: str, bucket: Bucket) -> Store:
    """The store at `to`, s3://BUCKET/PREFIX or a folder. Raises MissingPart, ConfigError, StoreError, OSError."""
    if not to.startswith("s3://"):
        return FolderStore(Path(to))
    name, _, prefix = to.removeprefix("s3://").partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    return S3Store(Place(name, prefix, bucket.endpoint, bucket.region, bucket.credentials or "", bucket.ca))
