"""What telemetry gives the actors, in small. The actors' processes import it, so it is a module of its own."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class CountingExporter:
    """Serves the numbers of racks, busy GPUs and planes of the last publication."""

    def __init__(self, cluster, ranges, host, port):
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(exporter.text)

            def log_message(self, *_):
                pass

        self.text = b"nothing yet"
        self._ranges = ranges
        self._server = ThreadingHTTPServer((host, port), Handler)
        self.address = f"{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, racks, planes):
        assert [reading.first_rack for reading in racks] == [span.first_rack for span in self._ranges]
        busy = sum(int(reading.gpus_busy.sum()) for reading in racks)
        self.text = f"racks {sum(len(reading.gpus) for reading in racks)} busy {busy} planes {len(planes)}".encode()
