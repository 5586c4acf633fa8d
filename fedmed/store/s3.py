"""A store of blobs that speaks S3: any bucket, over HTTPS or, on a trusted line, HTTP.

A blob of more than 8 MiB goes in parts. One that was cut off goes on at the first part that is missing; whether a part that
is there is the right one, its MD5 tells, which S3 calls the part's ETag.
"""

from __future__ import annotations

import configparser
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from fedmed.errors import ConfigError, MissingPart, StoreError, first_line
from fedmed.identity import files
from fedmed.privacy.sealing import Source

PART = 8 << 20
"""Bytes of a part; S3 takes 5 MiB to 5 GiB, and 10,000 parts."""
_CONNECT_S, _READ_S = 10, 60
_MAX_CREDENTIALS = 1 << 14
_GONE = ("NoSuchKey", "404", "NotFound")


@dataclass(frozen=True)
class Place:
    """Where a bucket is."""

    bucket: str
    prefix: str
    """Empty, or ends with a slash."""
    endpoint: str | None
    """URL; None for Amazon's own."""
    region: str
    credentials: str
    """`credential:NAME` or `file:/path`, in the form of Amazon's credentials file, section `default`."""
    ca: str | None = None
    """A file of certificates that the endpoint's is checked with; None for the system's."""


class S3Store:
    """One bucket, below one prefix."""

    def __init__(self, place: Place) -> None:
        """Asks nothing yet. Raises MissingPart without boto3, ConfigError, StoreError for the credentials."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise MissingPart("a store that speaks S3 needs boto3; install fedmed[models]") from error
        key, secret = _credentials(place.credentials)
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path" if place.endpoint else "auto"},
            request_checksum_calculation="when_required",  # older servers refuse the checksums that are newer than they
            response_checksum_validation="when_required",
        )
        self._place, self._refused, self._strange = place, ClientError, BotoCoreError
        self._client = boto3.Session(key, secret, region_name=place.region).client(
            "s3", endpoint_url=place.endpoint, verify=place.ca, config=config
        )

    def names(self) -> dict[str, int]:
        """Bytes of each object below the prefix."""
        found = {}
        with self._asking(self.where("")):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=self._place.prefix
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    found[one["Key"].removeprefix(self._place.prefix)] = int(one["Size"])
        return found

    def open(self, name: str) -> BinaryIO:
        """An object, read while it comes."""
        with self._asking(self.where(name)):
            body = self._client.get_object(**self._at(name))["Body"]
        return cast(BinaryIO, BufferedReader(_Body(self, name, body), PART))

    def put(self, name: str, source: Source, size: int) -> None:
        """Send a blob; the object is there when the last byte is."""
        with self._asking(self.where(name)):
            if size <= PART:
                self._client.put_object(**self._at(name), Body=source.read(size))
            else:
                self._put_parts(name, source, -(-size // PART))

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._asking(self.where(name)):
            self._client.delete_object(**self._at(name))

    def where(self, name: str) -> str:
        """As `s3://BUCKET/KEY`."""
        return f"s3://{self._place.bucket}/{self._place.prefix}{name}"

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + name}

    def _put_parts(self, name: str, source: Source, parts: int) -> None:
        at = self._at(name)
        begun = self._client.list_multipart_uploads(Bucket=at["Bucket"], Prefix=at["Key"]).get("Uploads", ())
        ours = [each["UploadId"] for each in begun if each["Key"] == at["Key"]]
        upload = ours[0] if ours else self._client.create_multipart_upload(**at)["UploadId"]
        there: dict[int, str] = {}
        if ours:
            for page in self._client.get_paginator("list_parts").paginate(**at, UploadId=upload):
                there |= {int(part["PartNumber"]): part["ETag"] for part in page.get("Parts", ())}
        tags = []
        for number in range(1, parts + 1):
            data = source.read(PART)
            tag = there.get(number, "")
            if tag.strip('"') != hashlib.md5(data, usedforsecurity=False).hexdigest():
                tag = self._client.upload_part(**at, UploadId=upload, PartNumber=number, Body=data)["ETag"]
            tags.append({"PartNumber": number, "ETag": tag})
        self._client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": tags})

    @contextmanager
    def _asking(self, where: str) -> Iterator[None]:
        try:
            yield
        except self._refused as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _GONE:
                raise FileNotFoundError(2, "no such object", where) from error
            raise StoreError(
                f"{where}: the store refused it ({code or first_line(error)}); see bucket and credentials"
            ) from error
        except self._strange as error:
            raise StoreError(f"{where}: the store does not answer ({first_line(error)}); it is tried again") from error


class _Body(RawIOBase):
    """An answer's body, whose faults are those of a store."""

    def __init__(self, store: S3Store, name: str, body: Any) -> None:
        self._store, self._name, self._body = store, name, body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._store._asking(self._store.where(self._name)):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with suppress(OSError):
                self._body.close()
        super().close()


def _credentials(source: str) -> tuple[str, str]:
    """Access key and secret."""
    kind, _, place = source.partition(":")
    path = Path(place) if kind == "file" else Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / place
    try:
        refused = files.OTHERS_READ_OR_CHANGE if kind == "file" else files.OTHERS_CHANGE
        text = files.read(path, _MAX_CREDENTIALS, refused).decode()
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        section = parser["default"]
        return section["aws_access_key_id"], section["aws_secret_access_key"]
    except OSError as error:
        raise StoreError(f"{path}: no credentials of a store can be read there ({error.strerror})") from error
    except (configparser.Error, KeyError, ValueError) as error:
        raise ConfigError(
            f"{path}: holds no credentials; it needs [default], aws_access_key_id = ..., aws_secret_access_key = ..."
        ) from error
