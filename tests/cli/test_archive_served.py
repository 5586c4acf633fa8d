"""A device, a hub in a process of its own, a bucket that refuses at first: what the staff is shown."""

from __future__ import annotations

import json
import time

import pytest

from fedmed.clock import SystemClock
from fedmed.config.archive import Archive
from fedmed.hub.client import HubClient
from tests.hub.clinic import piece_of
from tests.hub.process import service

bucket_module = pytest.importorskip("tests.store.bucket")


def test_a_study_of_a_device_ends_in_the_bucket_once_that_takes_it(tmp_path, said):
    with bucket_module.serving() as bucket, service(tmp_path) as place:
        content = b"a copy without names" * 1000
        with HubClient(place.joined("echo", tmp_path / "device")) as device:
            [sent] = device.upload([piece_of(content, study="1.2")], lambda piece: content)
            assert sent.error is None
        assert place.end() == 0
        at, bucket.refuses = bucket.place(tmp_path), "AccessDenied"
        place.rules(
            place.hub,
            archive=Archive(to="s3://models/north", endpoint=at.endpoint, credentials=at.credentials, keep_gb=0),
        )
        place.start()
        shown = _until(said, place, lambda facts: facts["tasks"], "edge", "status")
        [task] = [each for each in shown["tasks"] if each["name"] == "archive"]
        assert (task["kind"], task["where"]) == ("storage", ["clinic:north"])
        assert task["why"].startswith("1 study of 0.0 GB waits: s3://models/north/")
        assert "AccessDenied" in said("clinic", "archive", "status", "--at", place.path)[1]
        bucket.refuses = None
        _until(said, place, lambda facts: facts["studies"] == 1, "clinic", "archive", "status")
        assert not [path for path in (place.hub.path / "studies").rglob("*") if path.is_file()]
        assert said("clinic", "archive", "recall", "1.2", "--at", place.path)[0] == 0
        [path] = [path for path in (place.hub.path / "studies/echo").glob("*") if path.suffix != ".json"]
        assert path.read_bytes() == content
        log = (place.hub.path / "service.log").read_text()
        assert "AccessDenied" in log
        assert "archive: studies go there again" in log


def _until(said, place, good, *command):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        code, out, err = said(*command, "--json", "--at", place.path)
        assert code == 0, err
        if good(json.loads(out)):
            return json.loads(out)
        SystemClock().sleep(0.05)
    raise AssertionError(f"never: {out}")
