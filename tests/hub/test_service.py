from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.config.roles import Hub as Config
from fedmed.errors import ConfigError, QuotaRefused, Unreachable
from fedmed.hub.client import HubClient
from fedmed.hub.desk import FolderDesk
from fedmed.hub.folder import CERTIFICATE_FILE, make_hub, open_hub
from fedmed.hub.messages import Owed
from fedmed.hub.serving import keepers_of
from fedmed.hub.tls import grpc
from fedmed.identity import files
from fedmed.identity.issuing import MOST_DAYS, certificate_pem
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request
from fedmed.privacy import keys
from tests.hub.clinic import Skewed, serving, shown_at


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path) as found:
        yield found


def test_the_hubs_certificate_is_renewed_while_it_serves(place):
    before = place.folder.certificate()
    ports = place.hub.ports.port, place.hub.ports.enrolment_port
    assert [shown_at(port) for port in ports] == [before, before]
    assert not place.folder.renew_hub()
    with place.client("echo") as device:
        device.beat("idle", {})
        made = place.folder.authority().hub(place.folder.keys().transport_public, MOST_DAYS)
        files.replace(place.folder.path / CERTIFICATE_FILE, certificate_pem(made))
        assert place.hub.ports.renew_if_newer()
        assert [shown_at(port) for port in ports] == [made, made]
        device.beat("idle", {})  # an open line stays
    assert place.joined("mri").hub.name == "mri"
    assert replace(place.folder, clock=Skewed((MOST_DAYS - 10) * 86400)).renew_hub()
    assert place.folder.certificate() != made
    joined = place.joined("ct")
    assert place.hub.ports.renew_if_newer()
    with HubClient(joined) as device, pytest.raises(Unreachable, match="by this device's clock"):
        device.beat("idle", {})  # what was made just now is dated from the clock of 815 days on


def test_a_device_does_not_speak_with_a_device_in_the_hubs_place(place):
    """Its certificate is by the same authority, and even of the hub's port."""
    own = MemberKeys.generate()
    authority = place.folder.authority()
    made = certificate_pem(authority.issue(read_request(certificate_request(own, "mallory")), 90))
    heard: list[bytes] = []

    def answer(content: bytes, _: object) -> bytes:
        heard.append(content)
        return b""

    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"beat": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("fedmed.hub.v1", handlers),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(own.transport_pem(), made)]))
    server.start()
    device = place.joined("echo")
    with (
        HubClient(replace(device, hub=replace(device.hub, port=port))) as line,
        pytest.raises(Unreachable, match="not this"),
    ):
        line.beat("idle", {})
    server.stop(0).wait()
    assert not heard


class Waiting(FolderDesk):
    """Whoever asks for something waits until it may have it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked, self.open = threading.Semaphore(0), threading.Event()

    def read(self, device: str, digest: str, offset: int) -> tuple[Owed, bytes]:
        self.asked.release()
        assert self.open.wait(30)
        return super().read(device, digest, offset)


def test_a_device_with_many_calls_under_way_holds_up_itself_alone(place, tmp_path):
    place.down("_all", "config", "edge.yaml", b"x")
    desk = place.hub.calls._desk = Waiting(place.folder.path / "down")
    with place.client("echo") as greedy, place.client("mri") as other, ThreadPoolExecutor(8) as pool:
        [wanted] = greedy.beat("idle", {}).owed
        until_idle(place, "echo")
        asked = [pool.submit(greedy.fetch, wanted, tmp_path / str(number)) for number in range(8)]
        for _ in asked:
            assert desk.asked.acquire(timeout=30)
        with pytest.raises(QuotaRefused, match="allowed are 8 at once"):
            greedy.beat("idle", {})
        other.beat("idle", {})
        desk.open.set()
        for each in asked:
            each.result(30)
        until_idle(place, "echo")
        greedy.beat("idle", {})


def until_idle(place, name: str) -> None:
    until = time.monotonic() + 30
    while place.hub.calls.state.used[name].calls and time.monotonic() < until:
        time.sleep(0.01)
    assert place.hub.calls.state.used[name].calls == 0


def test_a_port_that_is_taken_is_said(place):
    taken = place.hub.ports.port, place.hub.ports.enrolment_port
    for field, port in zip(("port", "enrolment_port"), taken, strict=True):
        config = place.folder.config.model_copy(update={field: port})
        other = type(place)(place.path.parent / field, Config(clinic="north", listen="127.0.0.1"), Skewed())
        other.hub.folder = replace(other.folder, config=config)
        with pytest.raises(ConfigError, match=f"port {port}"):
            other.hub.open()


def test_a_hubs_folder_is_made_once_and_named_where_it_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="devices invite"):
        open_hub(tmp_path, Skewed())
    made = make_hub(tmp_path, Config(clinic="north"), Skewed())
    with pytest.raises(ConfigError, match="not empty"):
        make_hub(tmp_path, Config(clinic="north"), Skewed())
    assert oct((made.path / "devices-ca.key").stat().st_mode & 0o777) == "0o600"
    assert open_hub(tmp_path, Skewed()).certificate() == made.certificate()
    files.replace(made.path / CERTIFICATE_FILE, b"gone")
    with pytest.raises(Exception, match="certificate"):
        made.certificate()


def test_studies_go_into_the_clinics_store_where_one_is_named(tmp_path):
    made = make_hub(tmp_path, Config(clinic="north", store="store"), Skewed())
    with pytest.raises(ConfigError, match="name the store's key"):
        keepers_of(made)
    keys.create(made.path / "site.key")
    config = made.config.model_copy(update={"key": "site.key"})
    assert set(keepers_of(replace(made, config=config))) == {"study", "update"}


def test_a_call_in_the_moment_of_a_renewal_and_one_after_the_end_are_cut_and_nothing_worse(place):
    line = place.client("mri")
    dialled, during = line._dialled, []

    def slowly() -> object:
        during.append(line.beat("idle", {}))  # of another thread, before there is a newer line
        return dialled()

    line._dialled = slowly
    line.renew()
    assert len(during) == 1
    assert line.beat("idle", {}).hub_unix > 0
    line.close()
    with pytest.raises(Unreachable, match="closed"):
        line.beat("idle", {})
