"""An ONNX model while it is being rewritten: who makes a value, who uses it, and nodes put in the place of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Draft:
    """Nodes in order, and what connects them; `finished` writes the model without what nothing uses any more."""

    def __init__(self, model: bytes) -> None:
        import onnx

        self._model = onnx.load_from_string(model)
        self.nodes: list[Any] = list(self._model.graph.node)
        self._constants: dict[str, Any] = {one.name: one for one in self._model.graph.initializer}
        self._outputs = {one.name for one in self._model.graph.output}

    def constant(self, name: str) -> Array | None:
        """The value of a constant, None where `name` is computed, or absent."""
        import onnx

        held = self._constants.get(name)
        return None if held is None else onnx.numpy_helper.to_array(held)

    def add(self, name: str, value: Array) -> str:
        """A new constant; its name."""
        import onnx

        self._constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def maker(self, name: str) -> Any | None:
        """The node that makes a value, None for inputs and constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def users(self, name: str) -> list[Any]:
        """The nodes that take a value."""
        return [node for node in self.nodes if name in node.input]

    def chain(self, name: str, *operators: str) -> list[Any]:
        """The nodes of these kinds that a value goes through, one after the other; none where it goes elsewhere as well."""
        found: list[Any] = []
        for operator in operators:
            users = self.users(name)
            if len(users) != 1 or users[0].op_type != operator or name in self._outputs:
                return []
            found.append(users[0])
            name = users[0].output[0]
        return found

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What is known of shapes, by value; 0 for the batch and other lengths that are open."""
        import onnx

        graph = onnx.shape_inference.infer_shapes(self._model, data_prop=True).graph
        values = (*graph.value_info, *graph.input, *graph.output)
        return {one.name: tuple(axis.dim_value for axis in one.type.tensor_type.shape.dim) for one in values}

    def before(self, node: Any, new: Iterable[Any]) -> None:
        """Put nodes in front of one."""
        place = self._place(node)
        self.nodes[place:place] = new

    def replace(self, node: Any, new: Iterable[Any]) -> None:
        """Put nodes in the place of one."""
        place = self._place(node)
        self.nodes[place : place + 1] = new

    def finished(self) -> bytes:
        """The model as it is now."""
        self.nodes = self._sorted()
        graph = self._model.graph
        used = {name for node in self.nodes for name in node.input}
        constants = [held for name, held in self._constants.items() if name in used]
        for field, parts in (("node", self.nodes), ("initializer", constants), ("value_info", [])):
            copies = [type(part).FromString(part.SerializeToString()) for part in parts]
            graph.ClearField(field)
            getattr(graph, field).extend(copies)
        return bytes(self._model.SerializeToString(deterministic=True))

    def _sorted(self) -> list[Any]:
        """What the outputs need, each node after those that it takes from, as ONNX asks for."""
        makers = {name: node for node in self.nodes for name in node.output}
        order: list[Any] = []
        placed: set[int] = set()
        left = [makers[name] for name in self._outputs if name in makers]
        while left:
            node = left[-1]
            before = [makers[name] for name in node.input if name in makers and id(makers[name]) not in placed]
            if before:
                left.extend(before)
                continue
            left.pop()
            if id(node) not in placed:
                placed.add(id(node))
                order.append(node)
        return order

    def _place(self, node: Any) -> int:
        return next(at for at, one in enumerate(self.nodes) if one is node)
