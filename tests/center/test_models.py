from __future__ import annotations

import pytest

from fedmed.center.folder import make_center, open_center
from fedmed.center.models import copier, open_copy, open_registry
from fedmed.clock import SystemClock
from fedmed.config.models import Models
from fedmed.config.roles import Center, written
from fedmed.errors import ConfigError
from fedmed.identity.files import KeyRefused
from fedmed.identity.modelkey import ModelKey, read_certified
from fedmed.privacy import keys
from tests.store.models.shelves import committed, model


@pytest.fixture
def center(tmp_path):
    return make_center(tmp_path / "center", Center(federation="study", host="127.0.0.1"), SystemClock())


def again(center, **models):
    config = center.config.model_copy(update={"models": Models(**models)})
    (center.path / "center.yaml").write_bytes(written(config))
    return open_center(center.path, SystemClock())


def test_keys_are_made_once_and_certified_by_the_center(center):
    registry = open_registry(center)
    assert registry.commit(committed(1), model(1)).what == "kept"
    assert open_registry(center).public == registry.public
    content = (center.path / "models.json").read_bytes()
    assert read_certified(content, center.keys().signing_public, "models.json") == registry.public
    assert {(center.path / name).stat().st_mode & 0o077 for name in ("models.key", "models.secret", "models")} == {0}
    (center.path / "models.json").unlink()
    assert open_registry(center).public == registry.public


@pytest.mark.parametrize("name", ["models.key", "models.secret"])
def test_a_key_that_is_gone_is_not_made_anew(center, name):
    open_registry(center)
    (center.path / name).unlink()
    with pytest.raises(KeyRefused, match=name):
        open_registry(center)


def test_a_key_that_was_swapped(center):
    open_registry(center)
    (center.path / "models.key").unlink()
    ModelKey.generate().save(center.path / "models.key")
    with pytest.raises(KeyRefused, match="another key"):
        open_registry(center)


def test_as_center_yaml_says(center, tmp_path, monkeypatch):
    keys.create(tmp_path / "credentials" / "models")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    folder = again(center, last=1, best=0, rounds=2, key="credential:models", copy_to=str(tmp_path / "copy"))
    registry = open_registry(folder)
    assert not (folder.path / "models.secret").exists()
    told = [registry.commit(committed(number), model(number)) for number in (1, 2, 3)]
    assert [one.what for one in told] == ["kept", "not due", "kept"]
    assert told[-1].dropped == ("study:1",)
    made = copier(folder, registry, pytest.fail)
    assert made is not None
    assert not made.turn().error
    shelf = open_copy(folder)
    shelf.verify(shelf.find("study:3"))
    assert copier(center, registry, pytest.fail) is None
    with pytest.raises(ConfigError, match="copy_to"):
        open_copy(center)


def test_sealing_written_off(center):
    open_registry(again(center, sealed=False)).commit(committed(1), model(1))
    assert any(b"weight" in path.read_bytes() for path in (center.path / "models").iterdir())


def test_a_bucket_in_center_yaml(center, tmp_path):
    bucket_module = pytest.importorskip("tests.store.bucket")
    with bucket_module.serving() as bucket:
        place = bucket.place(tmp_path)
        told = {"endpoint": place.endpoint, "credentials": place.credentials}
        folder = again(center, copy_to="s3://models/hospital/study/", **told)
        registry = open_registry(folder)
        registry.commit(committed(1), model(1))
        made = copier(folder, registry, pytest.fail)
        assert made is not None
        assert not made.turn().error
        assert open_copy(folder).store.where("index") == "s3://models/hospital/study/index"
        open_copy(folder).verify(open_copy(folder).find("latest"))
