"""Self-signed certificates, made by openssl; tests are skipped without it."""

import subprocess
from pathlib import Path

import pytest


def self_signed(certificate: Path, key: Path, *, alternative: str) -> None:
    """Write a certificate for a name such as "DNS:localhost" or "IP:127.0.0.1", and its key."""
    try:
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate} "
            f"-subj /CN=test -addext subjectAltName={alternative}".split(),
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
