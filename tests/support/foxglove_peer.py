"""A client of Foxglove's WebSocket protocol: foxglove_peer.py URL COUNT.

Subscribes to all channels and prints as many messages of each as a line of JSON, read by the
protobuf schema that the server advertises.
"""

import base64
import json
import struct
import sys
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from websockets.sync.client import connect

MESSAGE_DATA = 1
HEAD = struct.Struct("<BIQ")  # opcode, subscription, time in ns
PATIENCE_S = 60.0


def reader_of(channel: dict[str, Any]) -> Any:
    """The class of a channel's messages."""
    assert channel["encoding"] == "protobuf"
    files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(channel["schema"]))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(channel["schemaName"]))


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    with connect(url, subprotocols=["foxglove.sdk.v1"], max_size=2**24) as socket:
        channels: list[dict[str, Any]] = []
        while len(channels) < 2:
            told = json.loads(socket.recv(PATIENCE_S))
            channels += told["channels"] if told["op"] == "advertise" else []
        asked = [{"id": index, "channelId": one["id"]} for index, one in enumerate(channels)]
        socket.send(json.dumps({"op": "subscribe", "subscriptions": asked}))
        left = dict.fromkeys(range(len(channels)), count)
        while any(left.values()):
            data = socket.recv(PATIENCE_S)
            if not isinstance(data, bytes) or data[0] != MESSAGE_DATA:
                continue
            _, index, time_ns = HEAD.unpack_from(data)
            if left[index]:
                left[index] -= 1
                message = reader_of(channels[index]).FromString(data[HEAD.size :])
                fields = json_format.MessageToDict(message)
                topic = channels[index]["topic"]
                line = {"topic": topic, "time_ns": time_ns, "fields": fields}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
