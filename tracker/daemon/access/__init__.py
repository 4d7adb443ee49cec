"""Who may connect, and what each client may do: ZAP authentication, CURVE keys, roles."""
