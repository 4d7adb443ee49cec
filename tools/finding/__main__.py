"""Entry point of `python -m tools.finding`."""

from tracker.process import prepare_process


def run() -> int:
    """Run the command; the imports wait, since torch reads the environment when it is loaded."""
    prepare_process()
    from tools.finding.command import main

    return main()


raise SystemExit(run())
