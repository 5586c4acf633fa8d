"""The clinic's own machine looks at a device's image: a real hub, a real release, the engine that devices have."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fedmed.edge.atclinic import helping
from fedmed.edge.preparing import values_of
from fedmed.hub.borrowing import Borrowing, Question
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export
from fedmed.serving.packages import Package
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from tests.edge.device import Channels
from tests.hub.clinic import Place, serving
from tests.hub.test_lending import facts

SIZE = 16


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Package:
    spec = ModelSpec(name="small-cnn", inputs=(1, SIZE, SIZE), classes=2, options={"widths": [8], "standardise": True})
    made = Trained(
        "chest", "1", spec, weights.fresh(spec, 3), ("a", "b"), Preparation("image"), prepared_by(FolderOptions(size=SIZE))
    )
    return export(made, tmp_path_factory.mktemp("exported") / "package")


def looked_after(place: Place, is_so) -> None:
    """As the hub's service does once a second."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        place.hub.look()
        time.sleep(0.05)


def test_the_clinics_machine_looks_where_it_is_said_to_and_says_so(tmp_path, package):
    with serving(tmp_path, elsewhere={"places": "clinic"}) as place:
        Channels(place).release(package.folder, "chest", "1")
        with place.client("us-1") as client, helping(place.hub):
            client.beat("up", facts(package.card.digest, "gpu0: hot"))
            node = place.hub.whereabouts.placed.here
            place.hub.look()
            looked_after(place, lambda: any("release:" in each for each in _data(place, node)))
            question = Question(package.card.digest, package.golden.inputs[:1].astype("<f4").tobytes())
            line, stands = Borrowing(client), []
            looked_after(place, lambda: stands.append(line.ask(question)) or stands[-1].state == "done")
            assert (stands[-1].by, stands[-1].precision) == (node, "fp32")
            logits = values_of(bytes(question.answer), package.card.outputs)
            assert np.abs(logits - package.golden.logits[:1]).max() < 1e-4
            assert place.told.count("release 1, on this machine: committed") == 1
            assert {each.node for each in place.hub.lending._looks.values()} == {node}
        assert not [each for each in threading.enumerate() if each.name == "helping"]


def _data(place: Place, node: str) -> frozenset[str]:
    return place.hub.whereabouts.placed.state.nodes[node].node.data
