"""Entry point of `python -m tools.policies`."""

from tracker.threads import wait_politely


def run() -> int:
    """Run the command; the imports wait, since torch reads the environment when it is loaded."""
    wait_politely()
    from tools.policies.command import main

    return main()


raise SystemExit(run())
