"""Subscribers in a process of their own: `-m tools.bench.subscriber ENDPOINT SUBSCRIBERS MESSAGES`.

Says `ready` when each of them has had a message, and at the end, as JSON, how many ms after its
frame was captured the last of them had each of the messages that followed.
"""

import json
import sys
import time

import zmq


def main(endpoint: str, subscribers: int, messages: int) -> None:
    """Subscribe, and report what came."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    poller = zmq.Poller()
    sockets = [context.socket(zmq.SUB) for _ in range(subscribers)]
    for socket in sockets:
        socket.connect(endpoint)
        socket.subscribe("masks.")
        poller.register(socket, zmq.POLLIN)
    greeted: set[int] = set()
    ages_ms: dict[int, list[float]] = {}
    while sum(len(ages) == subscribers for ages in ages_ms.values()) < messages:
        for socket, _ in poller.poll():
            message = json.loads(socket.recv_multipart()[1])
            age_ms = (time.time_ns() - message["frame"]["captured_ns"]) / 1e6
            if len(greeted) < subscribers:
                greeted.add(sockets.index(socket))
                if len(greeted) == subscribers:
                    print("ready", flush=True)
            elif not message["repeated"]:
                ages_ms.setdefault(message["seq"], []).append(age_ms)
    whole = [max(ages) for _, ages in sorted(ages_ms.items()) if len(ages) == subscribers]
    print(json.dumps([round(age, 4) for age in whole[:messages]]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
