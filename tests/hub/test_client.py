from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import replace

import pytest

from fedmed.errors import DeviceRefused, FedmedError, ProtocolRefused, QuotaRefused, StoreError, Unreachable, VersionRefused
from fedmed.hub import calls, client, machine
from fedmed.hub.client import HubClient, Patience
from fedmed.hub.landing import ARRIVING
from fedmed.hub.messages import MOST_BODY
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request
from tests.hub.clinic import Skewed, piece_of, serving


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path) as found:
        yield found


def beat(device: HubClient, **facts: object):
    return device.beat("idle", facts)


def contents(*sizes: int) -> dict[str, bytes]:
    found = [random.Random(size).randbytes(size) for size in sizes]
    return {piece_of(each).digest: each for each in found}


def test_a_heartbeat_tells_and_hears(place):
    place.down("_all", "config", "edge.yaml", b"fetch: true")
    place.down("mri", "task", "train-7", b"for another")
    with place.client("echo") as device:
        orders = beat(device, spool={"study": 3}, gpu_c="unsupported")
        assert [(each.kind, each.name, each.size) for each in orders.owed] == [("config", "edge.yaml", 11)]
        assert orders.beat_s == 20
        assert abs(orders.skew_s) < 5
        known = place.hub.calls.state.devices["echo"]
        assert known.facts == {"spool": {"study": 3}, "gpu_c": "unsupported"}
        assert place.told[-1] == "device echo is heard"
        place.hub.look()
        assert place.hub.standing()["devices"]["echo"]["state"] == "idle"


def test_a_revoked_device_is_refused_at_its_next_call_on_an_open_line(place):
    with place.client("echo") as device:
        beat(device)
        place.folder.revoke("echo")
        with pytest.raises(DeviceRefused, match="was revoked"):
            beat(device)
        with pytest.raises(DeviceRefused, match="was revoked"):
            device.upload([piece_of(b"x")], lambda _: b"x")
        with pytest.raises(DeviceRefused, match="was revoked"):
            device.renew()
    assert place.refusals() == [("device echo", "device")]
    assert not place.kept
    place.hub.look()
    assert "echo" not in place.hub.calls.state.devices


def test_a_device_speaks_for_itself_alone(place):
    echo, mri = place.joined("echo"), place.joined("mri")
    with HubClient(replace(echo, hub=mri.hub)) as device, pytest.raises(DeviceRefused, match="each device has its own"):
        beat(device)
    assert place.refusals() == [("device echo", "device")]


def test_a_certificate_of_keys_that_never_enrolled_is_refused(place, tmp_path):
    """Signed by the right authority, as by somebody who had its key for a moment; the roll decides."""
    echo, keys = place.joined("echo"), MemberKeys.generate()
    made = place.folder.authority().issue(read_request(certificate_request(keys, "echo")), 90)
    path = tmp_path / "thief"
    path.mkdir()
    for name in ("hub.json", "devices-ca.crt"):
        (path / name).write_bytes((echo.path / name).read_bytes())
    keys.save(path / "device.keys")
    thief = replace(echo, path=path)
    thief.keep(made)
    with HubClient(thief) as device, pytest.raises(DeviceRefused, match="other keys"):
        beat(device)


def test_a_device_of_another_clinic_is_not_even_shaken_hands_with(place, tmp_path):
    """What reads patient data stays in its clinic: its tasks go to devices of its own authority, and to no others."""
    place.down("_all", "task", "train-7", b"reads patient data")
    (tmp_path / "south").mkdir()
    with serving(tmp_path / "south") as other:
        stranger = other.joined("echo")
        place.joined("echo")  # of the same name
        here = replace(stranger, hub=replace(stranger.hub, port=place.hub.ports.port))
        with HubClient(here) as device, pytest.raises(Unreachable, match="is not this device's hub"):
            beat(device)
        trusting = tmp_path / "trusting"
        trusting.mkdir()
        for name in ("device.keys", "device.crt", "hub.json"):
            (trusting / name).write_bytes((stranger.path / name).read_bytes())
            (trusting / name).chmod(0o600)
        (trusting / "devices-ca.crt").write_bytes((place.folder.path / "devices-ca.crt").read_bytes())
        with HubClient(replace(here, path=trusting)) as device, pytest.raises(Unreachable, match="not take this device's"):
            beat(device)
    assert not place.hub.calls.state.devices


def test_a_certificate_that_ran_out_is_told_before_anything_is_dialled(place):
    device = place.joined("echo")
    later = replace(device, clock=Skewed(400 * 86400))
    with HubClient(later) as there, pytest.raises(DeviceRefused, match="enrol it with a new code"):
        beat(there)


def test_a_certificate_is_renewed_on_the_way(place):
    with place.client("echo") as device:
        before = device.folder.certificate()
        assert not device.renew_if_due()
        device.renew()
        assert device.folder.certificate() != before
        beat(device)
    assert [each.resource for each in place.events if each.action == "renew"] == ["device echo"]


@pytest.mark.parametrize(
    ("version", "who"), [("0.3.0", "device 'echo' runs"), ("0.9", "device 'echo' runs"), ("2.0", "runs")]
)
def test_an_agent_newer_by_two_minors_is_refused(place, monkeypatch, version, who):
    monkeypatch.setattr(client, "__version__", version)
    monkeypatch.setattr(calls, "__version__", "0.1.0")
    with place.client("echo") as device, pytest.raises(VersionRefused, match=who):
        beat(device)
    assert place.refusals() == [("device echo", "version")]


def test_an_agent_older_by_two_minors_is_refused_and_by_one_is_not(place, monkeypatch):
    monkeypatch.setattr(calls, "__version__", "0.3.0")
    monkeypatch.setattr(client, "__version__", "0.2.0")
    with place.client("echo") as device:
        beat(device)
        monkeypatch.setattr(client, "__version__", "0.1.0")
        with pytest.raises(VersionRefused, match="update device 'echo'"):
            beat(device)


def test_a_clock_that_is_off_is_told_and_taken(place):
    with place.client("echo", Skewed(600)) as device:
        assert device.beat("idle", {}).skew_s == pytest.approx(600, abs=5)
    assert any("+600 s off" in line for line in place.told)


def test_objects_arrive_whole_once(place):
    held = contents(0, 1, 1000, 70_000, MOST_BODY, MOST_BODY + 1, 3 * MOST_BODY + 17)
    pieces = [piece_of(each, series="a") for each in held.values()]
    read: list[str] = []

    def reading(piece):
        read.append(piece.digest)
        return held[piece.digest]

    with place.client("echo") as device:
        assert all(each.error is None for each in device.upload(pieces, reading))
        assert {each.piece.digest: each.content for each in place.kept} == held
        assert all(each.device == "echo" and each.piece.facts == {"series": "a"} for each in place.kept)
        read.clear()
        assert all(each.error is None for each in device.upload(pieces, reading))
    assert not read  # nothing of what is there is sent again
    assert len(place.kept) == len(held)


def test_objects_with_much_to_be_known_of_them_go_in_more_messages(place):
    held = contents(*range(2, 302))
    pieces = [piece_of(each, note="n" * 4000) for each in held.values()]
    with place.client("echo") as device:
        sent = counted(device)
        assert all(each.error is None for each in device.upload(pieces, lambda piece: held[piece.digest]))
    assert len(sent) >= 5
    assert {each.piece.digest: each.content for each in place.kept} == held


def test_a_poor_line_is_given_less_at_a_time(place):
    content = random.Random(3).randbytes(MOST_BODY)
    with place.client("echo") as device:
        device._most = 100_000
        calling = device.call
        device.call = lost_at_send(calling)
        for _ in range(4):
            with pytest.raises(Unreachable):
                device.upload([piece_of(content)], lambda _: content)
        device.call = calling
        sent = counted(device)
        assert device.upload([piece_of(content)], lambda _: content)[0].error is None
    assert sent[:3] == [client.LEAST_BODY, 2 * client.LEAST_BODY, 4 * client.LEAST_BODY]


def lost_at_send(calling):
    def call(method, head, body=b""):
        if method == "send":
            raise Unreachable("lost")
        return calling(method, head, body)

    return call


def test_what_one_device_sent_needs_no_other(place):
    content = b"the same study" * 1000
    with place.client("echo") as one, place.client("mri") as other:
        one.upload([piece_of(content)], lambda _: content)
        assert other.upload([piece_of(content)], lambda _: pytest.fail("sent again"))[0].error is None
    assert len(place.kept) == 1


class Cut(FedmedError):
    pass


def counted(device: HubClient, cut_after: int | None = None) -> list[int]:
    """Bytes of each message that is sent; the line is cut once so many were."""
    sent: list[int] = []
    calling = device.call

    def call(method, head, body=b""):
        if method == "send":
            if cut_after is not None and len(sent) >= cut_after:
                raise Cut
            sent.append(len(body))
        return calling(method, head, body)

    device.call = call
    return sent


def test_a_cut_upload_goes_on_at_the_missing_part(place):
    content = random.Random(5).randbytes(5 * MOST_BODY + 5)
    piece = piece_of(content)
    device = place.joined("echo")
    with HubClient(device) as first:
        counted(first, cut_after=2)
        with pytest.raises(Cut):
            first.upload([piece], lambda _: content)
    place.again()
    with HubClient(device) as second:
        sent = counted(second)
        assert second.upload([piece], lambda _: content)[0].error is None
    assert sum(sent) == 3 * MOST_BODY + 5
    assert [each.content for each in place.kept] == [content]
    assert not list((place.folder.path / ARRIVING / "echo").iterdir())


def test_the_hub_goes_down_and_comes_back_at_the_same_line(place):
    with place.client("echo") as device:
        beat(device)
        place.hub.ports.stop()
        with pytest.raises(Unreachable, match="tried again"):
            beat(device)
        place.again()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                beat(device)
                break
            except Unreachable:
                time.sleep(0.1)
        beat(device)


def test_no_thread_is_left_of_a_client(place):
    with place.client("echo") as device:
        beat(device)
    before = threading.active_count()
    for _ in range(5):
        with HubClient(device.folder) as again:
            beat(again)
    assert threading.active_count() <= before + 1


def test_content_with_another_digest_is_told_and_holds_up_no_other(place):
    good, bad = b"good" * 300_000, b"bad" * 500_000
    lied = replace(piece_of(bad), digest="00" * 32)
    with place.client("echo") as device:
        done = device.upload([lied, piece_of(good)], lambda piece: bad if piece is lied else good)
        assert isinstance(done[0].error, ProtocolRefused)
        assert done[1].error is None
        with pytest.raises(FedmedError, match="were offered"):
            device.upload([piece_of(b"abc")], lambda _: b"ab")
        with pytest.raises(ProtocolRefused, match="kind 'gossip'"):
            device.upload([piece_of(b"abc", "gossip")], lambda _: b"abc")


def test_a_full_disk_is_told_and_may_pass(place):
    keeper = place.hub.landing._keepers["study"]

    def full(_):
        raise StoreError("no room")

    place.hub.landing._keepers["study"] = full
    with place.client("echo") as device:
        assert isinstance(device.upload([piece_of(b"abc")], lambda _: b"abc")[0].error, StoreError)
        place.hub.landing._keepers["study"] = keeper
        assert device.upload([piece_of(b"abc")], lambda _: b"abc")[0].error is None


def test_shares_of_one_device_are_kept_and_others_go_on(place):
    place.hub.calls.share = machine.Share(day_bytes=3000, open_bytes=10**9)
    with place.client("echo") as greedy, place.client("mri") as other:
        greedy.upload([piece_of(b"x" * 2000)], lambda _: b"x" * 2000)
        with pytest.raises(QuotaRefused, match="beyond its 3000 a day"):
            greedy.upload([piece_of(b"y" * 2000)], lambda _: b"y" * 2000)
        beat(greedy)
        assert other.upload([piece_of(b"z" * 2000)], lambda _: b"z" * 2000)[0].error is None
    place.hub.landing._open_bytes = MOST_BODY
    place.hub.calls.share = machine.Share(day_bytes=10**12, open_bytes=MOST_BODY)
    content = bytes(2 * MOST_BODY)
    with HubClient(greedy.folder) as greedy:
        assert isinstance(greedy.upload([piece_of(content)], lambda _: content)[0].error, QuotaRefused)


def test_what_is_owed_comes_whole_and_goes_on_where_it_was_cut(place, tmp_path):
    content = random.Random(9).randbytes(2 * MOST_BODY + 100)
    place.down("_all", "release", "2.0/model.onnx", content)
    place.down("_all", "config", "empty", b"")
    with place.client("echo") as device:
        by_kind = {each.kind: each for each in beat(device).owed}
        wanted = by_kind["release"]
        target = tmp_path / "out" / "model.onnx"
        target.parent.mkdir()
        (target.parent / f".model.onnx.{wanted.digest[:16]}").write_bytes(content[:MOST_BODY])
        bodies: list[int] = []
        calling = device.call

        def call(method, head, body=b""):
            answer = calling(method, head, body)
            bodies.append(len(answer.body))
            return answer

        device.call = call
        device.fetch(wanted, target)
        assert target.read_bytes() == content
        assert sum(bodies) == MOST_BODY + 100
        device.fetch(by_kind["config"], tmp_path / "empty")
        assert (tmp_path / "empty").read_bytes() == b""
        (target.parent / f".model.onnx.{wanted.digest[:16]}").write_bytes(bytes(len(content)))
        with pytest.raises(ProtocolRefused, match="another digest"):
            device.fetch(wanted, target)
        device.fetch(wanted, target)
        place.down("_all", "release", "2.0/model.onnx", b"another")
        with pytest.raises(ProtocolRefused, match="owed now"):
            device.fetch(wanted, tmp_path / "gone")


def test_a_device_does_not_have_what_another_is_owed(place, tmp_path):
    place.down("mri", "task", "train-7", b"for mri")
    with place.client("mri") as mri, place.client("echo") as echo:
        [task] = beat(mri).owed
        with pytest.raises(ProtocolRefused, match="nothing that 'echo' is owed"):
            echo.fetch(task, tmp_path / "x")


def test_a_device_that_sends_half_a_call_holds_nobody(place):
    """More of them than the hub has threads."""
    lines = []
    for _ in range(20):
        line = socket.create_connection(("127.0.0.1", place.hub.ports.port))
        line.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a handshake
        lines.append(line)
    with place.client("echo") as device:
        beat(device)
    for line in lines:
        line.close()


def test_patience_grows_to_a_limit_and_begins_anew():
    patience = Patience(1.0, 60.0, random.Random(1))
    waits = [patience.failed() for _ in range(100)]
    assert all(0.5 <= wait <= 60 for wait in waits)
    assert waits[0] <= 1
    assert min(waits[10:]) >= 30
    patience.went_well()
    assert patience.failed() <= 1


def test_a_lost_device_is_told_once_and_again_when_it_is_back(place):
    place.hub.folder = replace(place.folder, clock=(clock := Skewed()))
    with place.client("echo") as device:
        beat(device)
        state = place.hub.calls.state
        known = state.devices["echo"]
        place.hub.calls.step(machine.Look(clock.unix(), known.heard_now + 61))
        place.hub.calls.step(machine.Look(clock.unix(), known.heard_now + 62))
        beat(device)
    assert [line for line in place.told if "heard" in line] == [
        "device echo is heard",
        "device echo is not heard for 61 s",
        "device echo is heard again",
    ]
