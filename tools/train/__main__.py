"""Entry point of `python -m tools.train`."""

from tracker.process import prepare_process


def run() -> int:
    """Run the command; the imports wait, since torch reads the environment when it is loaded."""
    prepare_process()
    from tools.train.command import main

    return main()


raise SystemExit(run())
