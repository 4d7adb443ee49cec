"""Cost model and discrete-event simulation of a fleet of daemons: `python -m tools.simulate`."""
