"""A program with a token, as it uses the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboard.services import audit, tokens
from dashboard.storage.models import Role
from dashboard.web.access import API_PATH
from tests.factories import ADMIN

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.web.site import Site


@dataclass
class Program:
    """Something that sends requests with a token."""

    site: Site
    key: str

    def send(self, method: str, address: str, *, status: int, **options: Any) -> TestResponse:
        """Send one request without a session, and see how it is answered."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        client = self.site.client.application.test_client()
        answer = client.open(f"{API_PATH}{address}", method=method, headers=headers, **options)
        assert answer.status_code == status, answer.text[:2000]
        if status >= 400:
            assert answer.mimetype == "application/problem+json"
            assert answer.json is not None
            assert answer.json.keys() == {"title", "status", "detail", "errors"}
            assert answer.json["status"] == status
            assert answer.json["detail"]
        return answer

    def get(self, address: str, *, status: int = 200, **options: Any) -> Any:
        return self.send("GET", address, status=status, **options).json

    def post(self, address: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        if body is not None:
            options["json"] = body
        return self.send("POST", address, status=status, **options).json

    def patch(self, address: str, body: Any, *, status: int = 200) -> Any:
        return self.send("PATCH", address, status=status, json=body).json

    def delete(self, address: str, *, status: int = 204) -> Any:
        return self.send("DELETE", address, status=status).data


def make_program(site: Site, role: Role = Role.ADMIN, name: str = "", **options: Any) -> Program:
    """Return a program with a new token."""
    with audit.transaction(site.database) as session:
        _token, key = tokens.add_token(session, name or role, role, actor=ADMIN, **options)
    return Program(site, key)


def fields(problem: Any) -> set[str]:
    """Return the fields that a problem complains of."""
    return {error["field"] for error in problem["errors"]}
