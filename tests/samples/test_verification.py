from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from dashboard.runcontext import ProgressChange
from tests.sinks import Sink, run

if TYPE_CHECKING:
    from pathlib import Path

    from dashboard.runcontext import Outcome
    from dashboard.settings import Settings


def steps_for(*paths: Path) -> list[dict[str, Any]]:
    return [{"kind": "file", "path": str(path), "name": path.name} for path in paths]


def verify(settings: Settings, steps: list[dict[str, Any]], **more: Any) -> tuple[Outcome, Sink]:
    sink = Sink()
    parameters = {"steps": steps, **more.pop("parameters", {})}
    return run("verification.pipeline", parameters, settings=settings, sink=sink, **more), sink


def kept(settings: Settings) -> list[Path]:
    return list((settings.data / "verification").iterdir())


def test_one_step_is_verified_in_each_run_until_the_job_finishes(
    settings: Settings, tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.touch()
    first, sink = verify(settings, steps_for(*paths))
    assert (first.state, first.result) == ("succeeded", "1 of 3 steps are verified.")
    assert sink.steps() == [("a", "succeeded")]
    progress = sink.of(ProgressChange)
    assert [(change.done, change.total) for change in progress] == [(0, 3), (1, 3)]
    assert sink.texts()[0].startswith("Step 1 of 3, “a”, is verified: 0 bytes")
    second, sink = verify(settings, steps_for(*paths))
    assert second.result == "2 of 3 steps are verified."
    assert sink.steps() == [("b", "succeeded")]
    third, sink = verify(settings, steps_for(*paths))
    assert sink.steps() == [("c", "succeeded")]
    assert (third.state, third.finish_reason) == ("succeeded", "All 3 steps are verified.")
    assert third.pause_reason is None
    assert kept(settings) == [], "a pipeline that has ended begins anew"


def test_a_failing_step_pauses_the_job_and_is_tried_again_after(
    settings: Settings, tmp_path: Path
) -> None:
    there, late = tmp_path / "there", tmp_path / "late"
    there.touch()
    verify(settings, steps_for(there, late))
    failed, sink = verify(settings, steps_for(there, late))
    assert failed.state == "failed"
    assert failed.error_type == "dashboard.samples.checks.CheckFailed"
    assert failed.pause_reason == (
        f"Step 2 of 2, “late”, failed: {late} is not there: No such file or directory."
    )
    assert failed.finish_reason is None
    assert sink.steps() == [("late", "failed")]
    late.touch()
    resumed, sink = verify(settings, steps_for(there, late))
    assert sink.steps() == [("late", "succeeded")], "what was verified stays verified"
    assert resumed.finish_reason == "All 2 steps are verified."


def test_several_steps_can_be_verified_in_one_run(settings: Settings, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcde"]
    for path in paths:
        path.touch()
    outcome, sink = verify(settings, steps_for(*paths), parameters={"steps_per_run": 4})
    assert len(sink.steps()) == 4
    assert outcome.result == "4 of 5 steps are verified."
    outcome, _ = verify(settings, steps_for(*paths), parameters={"steps_per_run": 4})
    assert outcome.finish_reason


def test_what_was_verified_before_a_failure_in_the_same_run_is_kept(
    settings: Settings, tmp_path: Path
) -> None:
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.touch()
    verify(settings, steps_for(there, gone), parameters={"steps_per_run": 2})
    _, sink = verify(settings, steps_for(there, gone), parameters={"steps_per_run": 2})
    assert sink.steps() == [("gone", "failed")]


def test_each_job_has_a_pipeline_of_its_own(settings: Settings, tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.touch()
    for job_id in ("one", "../../two", "drei: ü"):
        _, sink = verify(settings, steps_for(*paths), job_id=job_id)
        assert sink.steps() == [("a", "succeeded")]
    assert len(kept(settings)) == 3
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept(settings))


def test_a_changed_step_is_verified_again(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12")
    steps = steps_for(tmp_path / "a", tmp_path / "b")
    verify(settings, steps)
    steps[0]["min_bytes"] = 1
    _, sink = verify(settings, steps)
    assert sink.steps() == [("a", "succeeded")]


def test_a_damaged_file_means_that_all_is_verified_again(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "a").touch()
    steps = steps_for(tmp_path / "a", tmp_path / "b")
    verify(settings, steps)
    [file] = kept(settings)
    for content in (b"", b"{", b'{"job_id": "job", "verified": {"x": 1}}', b"\xff\0", b"[]"):
        file.write_bytes(content)
        outcome, sink = verify(settings, steps)
        assert sink.steps() == [("a", "succeeded")]
        assert outcome.state == "succeeded"
        assert sink.told()[0][0] == "WARNING"
        assert "all steps are verified again" in sink.texts()[0]


def test_the_same_check_twice_is_verified_once_for_both(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    outcome, _ = verify(settings, steps_for(tmp_path / "a", tmp_path / "a"))
    assert outcome.finish_reason == "All 2 steps are verified."


def test_steps_that_make_no_sense_are_refused(settings: Settings) -> None:
    outcome, _ = verify(settings, [])
    assert outcome.error_message == "parameters.steps: Must have at least 1 items; it has 0."
    outcome, _ = verify(settings, [{"kind": "ftp"}])
    assert outcome.error_message is not None
    assert "'kind' must be one of: 'http', 'file'" in outcome.error_message
