"""A ClientApp that does what the order says: answer, remember, raise, hang, die, or answer nonsense."""

import os
import time

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedmed.flower.arrays import borrow, views

app = ClientApp()


def _numbers(message: Message, context: Context, **more: float) -> MetricRecord:
    calls = int(context.state["calls"]["n"]) + 1 if "calls" in context.state else 1
    context.state["calls"] = MetricRecord({"n": calls})
    number = int(context.node_config["partition-id"])
    return MetricRecord({"num-examples": 10, "number": number, "calls": calls, "pid": os.getpid(), **more})


@app.train()
def train(message: Message, context: Context) -> Message:
    order = message.content["config"]
    number = int(context.node_config["partition-id"])
    doing = str(order.get("do", "add")) if number in list(order.get("who", [number])) else "add"
    tensors = {name: np.array(value) for name, value in views(message.content["arrays"]).items()}
    match doing:
        case "raise":
            raise ValueError(f"site {number} raises this")
        case "raise-much":
            raise ValueError("x" * 100_000)
        case "hang":
            time.sleep(600)
        case "die":
            os._exit(7)
        case "exit":
            raise SystemExit(3)
        case "sleep":
            time.sleep(float(order["seconds"]))
        case "nothing":
            return None
        case "complex":
            tensors = {name: value.astype(np.complex64) for name, value in tensors.items()}
        case "huge":
            tensors = {"w": np.broadcast_to(np.float32(0), (int(order["size"]),))}
    answer = {name: value + value.dtype.type(number + 1) if doing != "complex" else value for name, value in tensors.items()}
    content = {"arrays": borrow(answer), "metrics": _numbers(message, context)}
    return Message(RecordDict(content), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    total = sum(float(np.sum(value)) for value in views(message.content["arrays"]).values())
    return Message(RecordDict({"metrics": _numbers(message, context, total=total)}), reply_to=message)


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    config = message.content["config"]
    told = ConfigRecord({**config, "fedmed.order": f"site {context.node_config['partition-id']}"})
    return Message(RecordDict({"config": told, "empty": ArrayRecord()}), reply_to=message)
