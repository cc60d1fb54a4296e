from __future__ import annotations

import json

from dashboard.web.strips import RUNS, draw_strip, strip_of, success_rate


def run(state: str, seconds: float | None = 1.0) -> list[object]:
    return [1, state, seconds, "2027-03-01T12:00:00+00:00"]


def test_every_outcome_is_one_path() -> None:
    strip = draw_strip([run("succeeded"), run("failed"), run("succeeded"), run("missed", None)])
    paths = dict(strip.paths)
    assert set(paths) == {"succeeded", "failed", "missed"}
    assert paths["succeeded"].count("M") == 2
    assert strip.text == "Last 4 runs: 2 succeeded, 1 failed, 1 missed; the newest missed."


def test_height_is_duration_and_shape_is_outcome() -> None:
    paths = dict(draw_strip([run("succeeded", 1.0), run("succeeded", 2.0)]).paths)
    assert paths["succeeded"] == "M2 24v-14M7 24v-24"
    shapes = {
        state: draw_strip([run(state)]).paths[0][1] for state in ("succeeded", "failed", "skipped")
    }
    assert len(set(shapes.values())) == 3


def test_no_durations_at_all() -> None:
    assert draw_strip([run("missed", None)]).paths
    assert draw_strip([run("succeeded", 0.0)]).paths == (("succeeded", "M2 24v-4"),)


def test_only_the_last_runs_are_drawn() -> None:
    strip = draw_strip([run("failed")] * 5 + [run("succeeded")] * RUNS)
    assert dict(strip.paths).keys() == {"succeeded"}
    assert (strip.runs, strip.success_rate) == (RUNS, 1.0)


def test_nothing_to_draw() -> None:
    assert strip_of("[]") is None
    assert success_rate([]) is None
    assert strip_of(json.dumps([run("failed")])) == draw_strip([run("failed")])
