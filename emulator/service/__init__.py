"""The gRPC API ``emulator.v1``: servicers as thin shells around ``engine.control.Control``, and the Python client."""

#: Where the API listens and the client looks for it, unless told otherwise: this machine only.
DEFAULT_ADDRESS = "127.0.0.1:7070"
