"""Start with: python run.py --tasks examples/tasks_reports.py."""

from datetime import date

from dashboard import current_run, task


@task(name="reports.daily", retries=2)
def daily_report(day: date, recipients: list[str] = [], *, dry_run: bool = False) -> str:  # noqa: B006 - each run gets a copy
    """Collect the figures of a day and send them."""
    with current_run().step("Collect"):
        print(f"figures of {day:%A, %d %B %Y}")
    return "nothing sent" if dry_run else f"sent to {len(recipients)} people"
