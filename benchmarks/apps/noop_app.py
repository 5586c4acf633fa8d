"""A ClientApp that trains nothing: what is left is the engine's own cost."""

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

EXAMPLES = 10

app = ClientApp()


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    """The client's number."""
    number = int(context.node_config["partition-id"])
    return Message(RecordDict({"config": ConfigRecord({"number": number})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """The model as it came."""
    numbers = MetricRecord({"num-examples": EXAMPLES, "loss": 0.1})
    return Message(RecordDict({"arrays": message.content["arrays"], "metrics": numbers}), reply_to=message)
