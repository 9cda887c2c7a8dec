"""A receiver of notifications as a process of its own: one line of JSON in a file for each request that it took.

    python receiver.py PORT FILE [STATUS]
"""

import http.server
import json
import sys


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = int(sys.argv[3]) if len(sys.argv) > 3 else 200
        if status == 200:
            line = {"headers": {name.lower(): value for name, value in self.headers.items()}, "body": json.loads(body)}
            with open(sys.argv[2], "a") as out:
                out.write(json.dumps(line) + "\n")
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(server.server_address[1], flush=True)
    server.serve_forever()
