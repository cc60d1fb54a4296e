"""A Flask app that has a scheduler of its own, and the dashboard over it in two lines.

DASHBOARD_ADMIN_PASSWORD=something python examples/host_app.py, then open /dashboard/.
"""

from __future__ import annotations

import os
import random

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask

from dashboard import Dashboard

app = Flask(__name__)
scheduler = BackgroundScheduler(timezone="UTC")


def greet() -> str:
    """Do what the app always did; nothing here knows of the dashboard."""
    if random.random() < 0.2:  # noqa: PLR2004, S311 -- so that there is something to look at
        raise RuntimeError("nobody is at home")
    return "hello"


scheduler.add_job(greet, "interval", seconds=10, id="greet", name="Greet")


@app.get("/")
def index() -> str:
    """Return a page of the app's own."""
    return "This is the app. <a href='/dashboard/'>Its jobs</a>"


Dashboard(app, scheduler=scheduler)

if __name__ == "__main__":
    scheduler.start()
    app.run(port=int(os.environ.get("PORT", "5000")))
