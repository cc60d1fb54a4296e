"""Which browser it is that says `Mozilla/5.0 (X11; Linux x86_64) …`, in words people know."""

from __future__ import annotations

# The order matters: Edge also says Chrome, and Chrome also says Safari.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("HeadlessChrome/", "Chrome without a window"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_LONGEST = 60


def browser_of(user_agent: str) -> str:
    """Name the browser and its system; what is neither is shown as it calls itself."""
    browser = _first(_BROWSERS, user_agent)
    system = _first(_SYSTEMS, user_agent)
    if browser is None:
        return user_agent[:_LONGEST] or "Unknown browser"
    return f"{browser} on {system}" if system else browser


def _first(known: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for mark, name in known if mark in text), None)
