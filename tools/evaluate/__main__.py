"""Entry point of `python -m tools.evaluate`."""

from tracker.threads import wait_politely


def run() -> int:
    """Run the command; the imports wait, since torch reads the environment when it is loaded."""
    wait_politely()
    from tools.evaluate.command import main

    return main()


raise SystemExit(run())
