"""Real agents train along: three devices' updates, masked, come to what one would have trained on all of their cases."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from fedmed.clock import SystemClock
from fedmed.config.edge import Training
from fedmed.config.scenario import Split
from fedmed.config.scenario import Training as Settings
from fedmed.hub.fellows import enrolled
from fedmed.hub.rounds import FolderTransport
from fedmed.hub.serving import Hub, folder_keeper
from fedmed.learning import weights
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import ModelSpec, Order, Preparation, text_of
from fedmed.outbound.update import Change
from fedmed.privacy.secagg.layout import Tensor
from fedmed.sites.own import Source, site_of
from fedmed.tiers import fold
from fedmed.tiers.asking import Devices, Gathered
from fedmed.tiers.playing import Work
from fedmed.tiers.round import Rules
from fedmed.tiers.terms import Device as Known
from fedmed.tiers.terms import Way, scope
from fedmed.wire.tensors import Tensors
from tests.edge.device import Device, device_of
from tests.hub.clinic import Place, serving
from tests.system.hospitals import until

PATIENT, HURRIED = Rules(60.0, opening_s=30.0), Rules(3.0, opening_s=3.0)
NAMES = ("ct-1", "mr-1", "us-1")
SPEC = ModelSpec(name="logistic-regression", inputs=(3,), classes=2)
ORDER = text_of(
    Order(
        round=1,
        seed=5,
        model=SPEC,
        preparation=Preparation(),
        training=Settings(learning_rate=0.05, batch_size=8, epochs=1),
        learning_rate=0.05,
        class_weights=(1.0, 1.0),
        device="cpu",
    )
)


def write_cases(folder: Path, seed: int, cases: int) -> None:
    rng, folder = np.random.default_rng(seed), folder / "numbers"
    x = rng.normal(size=(cases, 3))
    labels = np.where(x.sum(axis=1) > 0, "ill", "well")
    rows = [f"{a:.4f},{b:.4f},{c:.4f},{label}" for (a, b, c), label in zip(x, labels, strict=True)]
    folder.mkdir()
    (folder / "cases.csv").write_text("\n".join(["a,b,c,label", *rows]) + "\n")


def own(device: Device) -> Clinic:
    site, _ = site_of(Source("csv", str(device.folder / "numbers"), {}, None, Split(), 42), device.config.name)
    return Clinic(site)


@contextmanager
def tier(path: Path) -> Iterator[tuple[Place, dict[str, Device], Devices]]:
    with serving(path, beat_s=1.0, trains=True) as place, ExitStack() as stack:
        keepers = {"update": folder_keeper(place.folder.path / "updates")}
        place._made = lambda: Hub(place.folder, keepers, place._append, place.told.append)
        place.again()
        devices = {}
        training = Training(federation="fed", reader="csv", folder="numbers")
        for number, name in enumerate(NAMES):
            devices[name] = device_of(place, name, training=training)
            write_cases(devices[name].folder, number, 20 + 10 * number)
        for device in devices.values():
            device.start()
            stack.callback(device.end, signal.SIGKILL)

        def known() -> list[Known]:
            heard = place.hub.calls.state.devices
            return [
                Known(each.name, each.fingerprint, each.signing_public, heard[each.name].facts["cases"])
                for each in enrolled(place.folder)
                if each.name in heard and heard[each.name].is_alive
            ]

        def alive() -> list[str]:
            return [name for name, each in place.hub.calls.state.devices.items() if each.is_alive]

        until(lambda: len(known()) == len(NAMES))
        until(lambda: all(b"has 3 devices" in each.log.read_bytes() for each in devices.values()))
        line = FolderTransport(place.folder.path, alive, SystemClock())
        hub = Devices(line, known, scope("fed", "north"), PATIENT, SystemClock(), place.told.append)
        yield place, devices, hub


def asked(hub: Devices, model: Tensors) -> Gathered:
    tensors = tuple(Tensor(name, value.shape) for name, value in model.items())
    return hub.ask(Work("run", ORDER, model, tensors, 64.0, {}, 10**6))


def flat(devices: list[Device], model: Tensors) -> Tensors:
    """The mean of what each would have trained, by cases."""
    order = Order.model_validate_json(ORDER)
    total, summed = 0, {name: np.zeros(value.shape) for name, value in model.items()}
    for device in devices:
        trained, said = own(device).train(order, model)
        total += int(said["num-examples"])
        for name, value in trained.items():
            summed[name] += int(said["num-examples"]) * (value.astype(float) - model[name])
    return {name: value / total for name, value in summed.items()}


def test_three_agents_train_masked_and_one_that_is_killed_is_named(tmp_path: Path):
    model = weights.fresh(SPEC, 1)
    with tier(tmp_path) as (place, devices, hub):
        gathered = asked(hub, model)
        assert (gathered.way, sorted(gathered.joined)) == (Way.MASKED, sorted(NAMES))
        folded = fold.fold(gathered.parts, model)
        assert apart(folded.change, flat(list(devices.values()), model)) <= 1e-6 + folded.error
        devices["mr-1"].end(signal.SIGKILL)
        hub._rules = HURRIED
        gathered = asked(hub, model)
        assert "mr-1" not in gathered.joined
        assert "mr-1" in gathered.failed
        assert not gathered.parts  # a sum of two would tell each what the other's was
        assert re.search(r"\b[0-2] .*sent (an update; 1|their update, 3) are needed$", gathered.reason)
        hub._rules = PATIENT
        devices["mr-1"].start()
        until(lambda: sorted(asked(hub, model).joined) == sorted(NAMES))
        assert place.hub.calls.state.devices["mr-1"].is_alive


def apart(change: Change, expected: Tensors) -> float:
    return max(float(np.abs(change.tensors[name] - value).max()) for name, value in expected.items())
