"""A ClientApp that hangs where the order says so, and the gate that the test has put there."""

from __future__ import annotations

import time

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmed.flower.client import answer_fields, answer_text, order_in
from fedmed.outbound.gate import Gate

app = ClientApp()
gates: dict[int, Gate] = {}


def gate_of(config: dict[str, object]) -> Gate:
    return gates[int(str(config["partition-id"]))]


@app.query("census")
def census(message: Message, context: Context) -> Message:
    if order_in(message) == "hang":
        time.sleep(600)
    if order_in(message) == "raise":
        raise ValueError("the patient Anna Berg")
    return answer_fields(message, {"classes": [3, 4]})


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    if order_in(message) == "hang":
        time.sleep(600)
    return answer_text(message, lambda text: f"described {text}")
