"""The API is what its description says, whatever is sent: schemathesis makes it up.

`make fuzz` does the same for ten minutes, with a running dashboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from dashboard.storage.models import RunState
from tests.rows import make_job, make_run

if TYPE_CHECKING:
    from schemathesis import Case

    from tests.web.api.program import Program
    from tests.web.site import Site

load_all_checks()

EXAMPLES = 10
"""Requests for each operation and mode; always the same ones."""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_it_does_what_it_says(site: Site, program: Program, mode: GenerationMode) -> None:
    site.add(make_job("0"), make_run(1, "0", state=RunState.FAILED))
    object.__setattr__(
        site.client.application.extensions["dashboard"].settings, "api_rate", 1_000_000
    )
    headers = {"Authorization": f"Bearer {program.key}", "Accept-Encoding": "identity"}
    described = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", site.client.application)
    for found in described.get_all_operations():
        if not isinstance(found, Ok):
            pytest.fail(str(found.err()))

        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=found.ok().as_strategy(mode))
        def send(case: Case[Any]) -> None:
            case.call_and_validate(
                headers=headers,
                # That a task of a name exists, say, no description can tell.
                excluded_checks=[positive_data_acceptance],
            )

        send()
