"""Fleets: streams placed on several daemons, and moved when one of them dies."""
