"""A round's training at a site that may keep something: its own tensors, its control variate, its own model."""

from __future__ import annotations

from fedmed.learning import control, normed, personal, weights
from fedmed.learning.keeping import CONTROL, LOCAL, PERSONAL, Shelf, after, before, below, under
from fedmed.learning.kinds import Batch, steps_of
from fedmed.learning.order import Order
from fedmed.learning.training import Beside, train
from fedmed.wire.tensors import Tensors


def own_model(tensors: Tensors, number: int, shelf: Shelf) -> Tensors:
    """The model that a site judges after round `number`: the given one, its own tensors where it keeps any."""
    model, _ = control.split(tensors)
    return normed.apply(model, below(LOCAL, before(shelf.held(), number + 1)))


def train_keeping(site: str, cases: Batch, order: Order, tensors: Tensors, shelf: Shelf) -> tuple[Tensors, float]:
    """What the site answers in a round of training, and the mean loss of its steps; what it keeps is on the shelf then."""
    shared, center = control.split(tensors)
    held = shelf.held() if _keeps(order) else {}
    own = before(held, order.round)
    control_own, start = below(CONTROL, own), normed.apply(shared, below(LOCAL, own))
    model = weights.loaded(order.model, start)
    local = frozenset(weights.frozen_in(model, order.local))
    loss = train(model, cases, order, site, Beside(control.correction(center, control_own)))
    if not _keeps(order):
        return weights.read(model), loss
    trained = {name: value.copy() for name, value in weights.read(model).items()}
    kept, answer = under(LOCAL, normed.part(trained, local)), normed.told(shared, trained, local)
    if center:
        travelled = steps_of(len(cases[1]), order) * order.learning_rate
        new, told = control.apply(start, trained, center, control_own, travelled)
        kept, answer = kept | under(CONTROL, new), answer | under(CONTROL, told)
    if order.training.ditto is not None:
        mine = personal.apply(below(PERSONAL, own), start, cases, order, site)
        kept |= under(PERSONAL, mine)
    shelf.keep(after(held, order.round, kept))
    return answer, loss


def _keeps(order: Order) -> bool:
    return bool(order.local) or order.training.scaffold or order.training.ditto is not None
