"""The `websockets` package as a peer; usage and output as of ws.mjs."""

import json
import sys

from websockets.sync.client import connect

base, token, cursor, end = sys.argv[1:]
with connect(
    f"{base.replace('http', 'ws')}/v1/ws?cursor={cursor}",
    subprotocols=["condorito.v1"],
    additional_headers={"Authorization": f"Bearer {token}"},
) as socket:
    assert socket.subprotocol == "condorito.v1", socket.subprotocol
    hello = json.loads(socket.recv())
    assert hello["type"] == "hello" and hello["data"]["cursor"] == cursor, hello
    socket.send(json.dumps({"type": "ping"}))
    ponged = ended = False
    while not (ponged and ended):
        event = json.loads(socket.recv(timeout=10))
        ponged = ponged or event["type"] == "pong"
        if "id" not in event:
            continue
        print(json.dumps({"id": event["id"], "type": event["type"]}), flush=True)
        ended = ended or event["type"] == "new_message" and event["data"]["message"]["text"] == end
