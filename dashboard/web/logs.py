"""What the log says about requests."""

from __future__ import annotations

import logging

from flask import has_request_context

from dashboard.web.access import request_id


class RequestNames(logging.Filter):
    """Give each record the name of its request, as `%(request)s`; empty outside of one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        record.request = f" [{request_id()}]" if has_request_context() else ""
        return True
