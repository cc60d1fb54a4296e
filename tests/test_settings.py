"""Settings: one place for names, defaults and complaints."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dashboard.errors import Invalid
from dashboard.settings import Settings, load_settings
from scripts.settings_page import settings_page

ROOT = Path(__file__).parent.parent


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "SETTINGS.md").read_text(encoding="utf-8")
    assert page == settings_page(), "run `python -m scripts.settings_page`"


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHBOARD_PORT", "9000")
    monkeypatch.setenv("DASHBOARD_TIMEZONE", "Europe/Helsinki")
    settings = load_settings(port=9001, timezone=None)
    assert (settings.port, settings.timezone) == (9001, "Europe/Helsinki")


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHBOARD_PORT", "")
    assert load_settings().port == Settings.model_fields["port"].default


def test_tasks_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHBOARD_TASKS", "one, two.three ,,four.py")
    assert load_settings().tasks == ("one", "two.three", "four.py")


def test_limits_of_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHBOARD_TAG_LIMITS", "billing=2, heavy=1,")
    assert load_settings().tag_limits == {"billing": 2, "heavy": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "-1"),
        ("port", "65536"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../etc/passwd"),
        ("threads", "0"),
        ("shutdown_grace", "-1"),
        ("lease_seconds", "nan"),
        ("demo", "perhaps"),
        ("retention_days", "0"),
        ("tag_limits", "billing"),
        ("tag_limits", "billing=0"),
        ("tag_limits", "=2"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DASHBOARD_{name.upper()}", value)
    with pytest.raises(Invalid) as caught:
        load_settings()
    assert [error.field for error in caught.value.errors] == [name]


def test_plain_postgresql_means_psycopg() -> None:
    settings = load_settings(database="postgresql://someone@host/name")
    assert settings.database_url == "postgresql+psycopg://someone@host/name"


def test_secrets_do_not_show() -> None:
    settings = load_settings(admin_password="open sesame", secret_key="k" * 32)
    assert "sesame" not in repr(settings)
    assert "kkkk" not in repr(settings)


def test_the_secret_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path / "data")
    settings.prepare_data_folder()
    key = settings.load_secret_key()
    assert len(key) >= 32
    assert load_settings(data=tmp_path / "data").load_secret_key() == key
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert os.listdir(tmp_path / "data") == ["secret_key"]  # noqa: PTH208 -- names, drafts too
