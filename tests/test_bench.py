"""Every benchmark runs at a tiny size and finds figures; how fast anything is, nobody asks."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from bench import __main__ as program
from bench import results, scale
from bench.results import Figure, Target
from tests import servers
from tests.conftest import unavailable


@pytest.mark.parametrize("name", program.BENCHMARKS)
def test_finds_figures_at_a_tiny_size(name: str) -> None:
    if name in {"postgresql", "failover"} and servers.find_postgresql() is None:
        unavailable("PostgreSQL")

    if name == "celery" and not (servers.find_postgresql() and servers.find_redis()):
        unavailable("PostgreSQL or Redis")

    figures = list(import_module(f"bench.{name}").measure(scale.TINY))

    assert figures
    assert {figure.benchmark for figure in figures} == {name}
    assert all(figure.what and figure.value == figure.value for figure in figures)


def test_table_shows_each_target_and_whether_it_is_met() -> None:
    figures = [
        Figure("drain", "due jobs", 1.72, "x", Target(at_least=1.5), "8,000 runs/s"),
        Figure("pages", "Jobs", 4.0, "x", Target(at_most=3)),
        Figure("recording", "lines", 23_714.2, "lines/s"),
    ]

    head, _, drain, pages, recording = results.table(figures).splitlines()

    assert head.split() == ["benchmark", "what", "value", "target", "met", "detail"]
    assert drain.split()[3:] == ["1.72", "x", ">=", "1.5", "yes", "8,000", "runs/s"]
    assert pages.split()[2:] == ["4.00", "x", "<=", "3", "NO"]
    assert recording.split()[2:] == ["23,714", "lines/s"]


def test_json_has_one_object_a_figure_and_no_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "QUICK", scale.TINY)

    status = program.main(["--quick", "--json", "--only", "preview"])

    slowest, all_of_them = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert status == 0
    assert {slowest["benchmark"], all_of_them["benchmark"]} == {"preview"}
    assert slowest["met"] in {True, False}
    assert all_of_them["met"] is None
