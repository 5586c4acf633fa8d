from __future__ import annotations

import sys
from io import BytesIO
from random import Random

import pytest

from fedmed.errors import ConfigError, MissingPart, StoreError
from fedmed.identity.files import KeyRefused
from fedmed.store.s3 import PART, Place, S3Store

pytest.importorskip("boto3")
bucket_module = pytest.importorskip("tests.store.bucket")


@pytest.fixture
def bucket():
    with bucket_module.serving() as served:
        yield served


def test_blobs_come_and_go(tmp_path, bucket):
    store = S3Store(bucket.place(tmp_path))
    other = S3Store(bucket.place(tmp_path, "other/"))
    assert store.names() == {}
    store.put("one", BytesIO(b"content"), 7)
    other.put("two", BytesIO(b"elsewhere"), 9)
    assert store.names() == {"one": 7}
    with store.open("one") as blob:
        assert blob.read() == b"content"
    store.remove("one")
    store.remove("one")
    assert (store.names(), other.names()) == ({}, {"two": 9})
    with pytest.raises(FileNotFoundError):
        store.open("one")
    assert store.where("one") == "s3://models/study/one"


def test_a_large_blob_goes_on_where_it_was_cut_off(tmp_path, bucket):
    content = Random(0).randbytes(3 * PART + 5)
    store = S3Store(bucket.place(tmp_path))
    bucket.fails_after = 2
    with pytest.raises(StoreError, match="SlowDown"):
        store.put("large", BytesIO(content), len(content))
    assert store.names() == {}  # whole or absent
    bucket.fails_after, before = None, bucket.sent()
    bucket.asked.clear()
    S3Store(bucket.place(tmp_path)).put("large", BytesIO(content), len(content))
    assert before >= 2 * PART
    assert bucket.sent() == PART + 5
    with store.open("large") as blob:
        assert blob.read() == content


def test_stores_that_refuse_or_do_not_answer(tmp_path, bucket):
    place = bucket.place(tmp_path)
    nowhere = Place("nowhere", "", place.endpoint, place.region, place.credentials)
    with pytest.raises(StoreError, match="NoSuchBucket"):
        S3Store(nowhere).names()
    silent = Place("models", "", "http://127.0.0.1:9", place.region, place.credentials)
    with pytest.raises(StoreError, match="does not answer"):
        S3Store(silent).names()


def test_credentials(tmp_path, bucket, monkeypatch):
    place = bucket.place(tmp_path)
    path = tmp_path / "s3.credentials"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert S3Store(Place("models", "", place.endpoint, "r", "credential:s3.credentials")).names() == {}
    with pytest.raises(StoreError, match="can be read there"):
        S3Store(Place("models", "", None, "r", "credential:none"))
    path.write_text("[other]\n")
    with pytest.raises(ConfigError, match="aws_access_key_id"):
        S3Store(place)
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="others can"):
        S3Store(place)


def test_without_boto3(tmp_path, bucket, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingPart, match="boto3"):
        S3Store(bucket.place(tmp_path))
