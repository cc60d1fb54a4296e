"""Write docs/SETTINGS.md from the settings themselves; a test checks that it is up to date."""

from __future__ import annotations

from pathlib import Path

from dashboard.settings import PREFIX, Settings

INTRODUCTION = """# Settings

Each setting is an environment variable; those of `run` are also options (`--shutdown-grace`).
Options win.

| variable | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """Return the page as Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is None or default in ("", ()):
            shown = "none"
        elif isinstance(default, bool):
            shown = "on" if default else "off"
        else:
            shown = f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return INTRODUCTION + "\n".join(rows) + "\n"


if __name__ == "__main__":
    page = Path(__file__).parent.parent / "docs" / "SETTINGS.md"
    page.write_text(settings_page(), encoding="utf-8")
    print(f"wrote {page.name}")
