"""Entry point of `python -m tools.bench`."""

import logging
import warnings

from tracker.process import prepare_process


def run() -> int:
    """Run the command; the imports wait, since torch reads the environment when it is loaded."""
    prepare_process()
    warnings.filterwarnings("ignore", module="sam2")
    logging.getLogger().setLevel(logging.ERROR)
    from tools.bench.command import main

    return main()


raise SystemExit(run())
