from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web address that keeps what it is sent."""
    with receiving() as receiver:
        yield receiver
