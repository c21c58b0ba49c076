"""What telemetry gives the actors, in small. The actors' processes import it, so it is a module of its own."""

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from emulator.engine.shards import ShardRange
from emulator.fabric.messages import FabricReadings
from emulator.racks.messages import RackReadings
from emulator.racks.serving_messages import ServingReadings
from topology.cluster import Cluster


class CountingExporter:
    """Serves the numbers of racks, busy GPUs and planes of the last publication."""

    def __init__(self, cluster: Cluster, ranges: Sequence[ShardRange], host: str, port: int) -> None:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(exporter.text)

            def log_message(self, *_: object) -> None:
                pass

        self.text = b"nothing yet"
        self._ranges = ranges
        self._server = ThreadingHTTPServer((host, port), Handler)
        self.address = f"{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, racks: Sequence[RackReadings], planes: Sequence[FabricReadings], serving: Sequence[ServingReadings]) -> None:
        assert [reading.first_rack for reading in racks] == [span.first_rack for span in self._ranges]
        busy = sum(int(reading.gpus_busy.sum()) for reading in racks)
        self.text = f"racks {sum(len(reading.gpus) for reading in racks)} busy {busy} planes {len(planes)}".encode()
