"""A group of commands that answers failures with a line and exit code 1, wherever it runs."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from dashboard.cli.common import fail
from dashboard.errors import DashboardError


class Commands(click.Group):
    """Shows no traceback for what a person or a machine's state has caused."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except DashboardError as error:
            fail(str(error))
        except BrokenPipeError:
            raise  # whoever reads the output has enough of it; click ends quietly
        except SQLAlchemyError as error:
            fail(f"the database cannot be used: {str(error).splitlines()[0]}")
        except OSError as error:
            fail(str(error))
