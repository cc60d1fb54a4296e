"""The floor that pages are compared with: bare Flask and Jinja, fifty rows, no database.

`python -m bench.floor BYTES...` serves one such page per size with cheroot, as the dashboard is
served.
"""

from __future__ import annotations

import sys
import threading

from cheroot.wsgi import Server
from flask import Flask, render_template_string

ROWS = 50
CELLS = 6
THREADS = 20

TEMPLATE = """<!doctype html>
<html lang="en"><head><title>{{ title }}</title></head><body><h1>{{ title }}</h1><table>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></body></html>"""


def floor_app() -> Flask:
    """Return an app whose page `/SIZE` has about that many bytes in fifty rows."""
    app = Flask(__name__, static_folder=None)

    @app.get("/<int:size>")
    def page(size: int) -> str:
        text = "x" * max(1, size // (ROWS * CELLS) - len("<td></td>"))
        rows = [[text] * CELLS for _ in range(ROWS)]
        return render_template_string(TEMPLATE, title="Floor", rows=rows)

    return app


def main() -> None:
    """Serve until the standard input ends, which is when whoever started this is gone."""
    server = Server(("127.0.0.1", 0), floor_app(), numthreads=THREADS)
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    host, port = server.bind_addr
    print(f"Listening on http://{host!s}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
