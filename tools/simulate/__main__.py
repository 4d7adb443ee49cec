"""Entry point of `python -m tools.simulate`."""

from tools.simulate.command import main

raise SystemExit(main())
