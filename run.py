"""Run the dashboard alone: `python run.py --help`."""

from __future__ import annotations

import sys

from dashboard.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
