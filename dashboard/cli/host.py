"""`flask dashboard …`: the same commands in a host app, on its dashboard."""

from __future__ import annotations

import click
from flask.cli import ScriptInfo

from dashboard.app import not_started
from dashboard.cli import cli
from dashboard.cli.common import fail
from dashboard.cli.group import Commands
from dashboard.web.state import EXTENSION

_NOT_FOR_HOSTS = {"run"}  # that is `flask run`, or whatever serves the app


@click.group("dashboard", cls=Commands)
@click.pass_context
def dashboard(context: click.Context) -> None:
    """Look after the dashboard in this app."""
    with not_started():
        app = context.ensure_object(ScriptInfo).load_app()
    state = app.extensions.get(EXTENSION)
    if state is None:
        fail("this app has no dashboard; add one with Dashboard(app)")
    context.obj = state.settings


for _name, _command in cli.commands.items():
    if _name not in _NOT_FOR_HOSTS:
        dashboard.add_command(_command)
