"""Run the media fuzzer: `python -m tools.fuzz.media`."""

import sys

from tools.fuzz.media.campaign import main

if __name__ == "__main__":
    sys.exit(main())
