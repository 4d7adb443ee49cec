"""Prints the objects of a stream: subscriber.py ENDPOINT STREAM [MESSAGES]."""

import json
import sys

import zmq

endpoint, stream = sys.argv[1:3]
left = int(sys.argv[3]) if len(sys.argv) > 3 else -1
topic = f"masks.{stream}"
socket = zmq.Context().socket(zmq.SUB)
socket.connect(endpoint)
socket.subscribe(topic)
while left != 0:
    parts = socket.recv_multipart()
    if parts[0].decode() != topic:  # a subscription to cam1 also brings cam10
        continue
    message = json.loads(parts[1])
    for item in message["objects"]:
        print(item["id"], item["label"], item["state"], item["box"], flush=True)
    left -= 1
