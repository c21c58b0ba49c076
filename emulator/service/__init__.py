"""The gRPC API ``emulator.v1``: servicers as thin shells around ``engine.control.Control``, and the Python client."""
