from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.scheduling.crew import Crew
from tests.factories import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

SIZE = 2


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(SIZE) as made:
        yield made


class Short(ThreadPoolExecutor):
    """Now and then it has no thread to give."""

    short = False

    def submit(self, *arguments: Any, **keywords: Any) -> Future[Any]:
        if self.short:
            raise RuntimeError("can't start new thread")
        return super().submit(*arguments, **keywords)


class TestCrew:
    def test_works_everything_off_however_it_is_handed_over(self, pool: ThreadPoolExecutor) -> None:
        done: list[int] = []
        crew = Crew(pool, SIZE, done.append)
        for first in range(0, 3000, 3):  # threads are just ending their round again and again
            crew.take(range(first, first + 3))
        wait_until(lambda: len(done) == 3000)
        assert sorted(done) == list(range(3000))

    def test_goes_on_in_order_with_as_many_threads_as_there_are(
        self, pool: ThreadPoolExecutor
    ) -> None:
        begun: list[int] = []
        gate = threading.Event()

        def wait(item: int) -> None:
            begun.append(item)
            gate.wait(PATIENCE)

        crew = Crew(pool, SIZE, wait)
        crew.take([1])
        crew.take([2, 3, 4])
        wait_until(lambda: len(begun) == SIZE)
        gate.set()
        wait_until(lambda: len(begun) == 4)
        assert sorted(begun[:SIZE]) == [1, 2]

    def test_what_is_withdrawn_never_begins(self, pool: ThreadPoolExecutor) -> None:
        begun: list[int] = []
        gate = threading.Event()

        def wait(item: int) -> None:
            begun.append(item)
            gate.wait(PATIENCE)

        crew = Crew(pool, SIZE, wait)
        crew.take([1, 2, 3, 4])
        wait_until(lambda: len(begun) == SIZE)
        assert crew.withdraw() == [3, 4]
        assert crew.withdraw() == []
        crew.take([5])
        gate.set()
        wait_until(lambda: 5 in begun)
        assert sorted(begun) == [1, 2, 5]

    def test_an_item_that_fails_does_not_take_its_thread_along(
        self, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        done: list[int] = []

        def work(item: int) -> None:
            if item < SIZE:
                raise SystemExit
            done.append(item)

        crew = Crew(pool, SIZE, work)
        crew.take(range(10))
        wait_until(lambda: len(done) == 10 - SIZE)
        wait_until(lambda: caplog.text.count("a thread of the pool failed") == SIZE)

    def test_a_pool_that_takes_nothing_more_is_told(self, pool: ThreadPoolExecutor) -> None:
        crew = Crew(pool, SIZE, print)
        pool.shutdown()
        with pytest.raises(RuntimeError):
            crew.take([1])
        assert crew.withdraw() == [1]

    def test_what_finds_no_thread_of_its_own_is_taken_by_one_at_work(self) -> None:
        both = threading.Barrier(2)
        done: list[int] = []

        def meet(item: int) -> None:
            both.wait(PATIENCE)
            done.append(item)

        with Short(SIZE) as pool:
            crew = Crew(pool, SIZE, meet)
            crew.take([1])
            pool.short = True
            crew.take([2])
            both.wait(PATIENCE)
            both.wait(PATIENCE)
            wait_until(lambda: done == [1, 2])

    def test_threads_that_cannot_be_had_for_a_while_are_sent_later(self) -> None:
        both = threading.Barrier(SIZE)
        done: list[int] = []

        def meet(item: int) -> None:
            both.wait(PATIENCE)
            done.append(item)

        with Short(SIZE) as pool:
            crew = Crew(pool, SIZE, meet)
            pool.short = True
            with pytest.raises(RuntimeError):
                crew.take([1, 2])
            pool.short = False
            crew.take([3, 4])
            wait_until(lambda: len(done) == 4)
        assert sorted(done) == [1, 2, 3, 4]
