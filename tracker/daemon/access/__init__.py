"""Access control: ZAP authentication, CURVE keys, roles, and bounds on connections."""
