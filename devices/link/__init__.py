"""The device link (docs/link-protocol.md): one websocket per device, JSON-RPC both ways.

`rpc` reads and prints frames, `consumer` is one link, `registry` holds those of this process, `presence` writes down
who is linked, `doorbell` wakes the processes that hold links, `calls` asks a device something from anywhere, `methods`
is where higher floors say what they answer. `door` decides who may open a link.
"""
