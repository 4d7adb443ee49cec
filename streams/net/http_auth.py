"""HTTP logins as cameras ask for them: Basic (RFC 7617) and Digest (RFC 7616, 2069)."""

import base64
import hashlib
import os
import re
from dataclasses import dataclass, field
from urllib.request import parse_http_list, parse_keqv_list

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_CHALLENGE = re.compile(r"(?:^|,)\s*(Basic|Digest)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password, for one host only."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    def answer(self, challenges: list[str], method: str, target: str) -> str | None:
        """The value of `Authorization`; None where no challenge is of a kind that is known.

        Args:
            challenges: The values of `WWW-Authenticate`.
            method: Of the request.
            target: Path and query of the request.
        """
        offered = [offer for text in challenges for offer in _split(text)]
        for scheme, parameters in offered:
            if scheme == "digest":
                answer = self._digest(_parameters(parameters), method, target, os.urandom(8).hex())
                if answer is not None:
                    return answer
        if any(scheme == "basic" for scheme, _ in offered):
            both = f"{self.user}:{self.password}".encode()
            return f"Basic {base64.b64encode(both).decode()}"
        return None

    def _digest(
        self, asked: dict[str, str], method: str, target: str, client_nonce: str
    ) -> str | None:
        algorithm = asked.get("algorithm", "MD5")
        family, _, session = algorithm.upper().partition("-SESS")
        hash_ = _HASHES.get(family)
        if hash_ is None or session or "nonce" not in asked or "realm" not in asked:
            return None
        quality = [word.strip() for word in asked.get("qop", "").split(",")]
        if quality != [""] and "auth" not in quality:
            return None

        def digest(*parts: str) -> str:
            return hash_(":".join(parts).encode()).hexdigest()

        secret = digest(self.user, asked["realm"], self.password)
        request, nonce = digest(method, target), asked["nonce"]
        fields = {"username": self.user, "realm": asked["realm"], "nonce": nonce, "uri": target}
        unquoted = {"algorithm": algorithm} if "algorithm" in asked else {}
        if "auth" in quality:
            unquoted |= {"qop": "auth", "nc": "00000001"}
            fields["cnonce"] = client_nonce
            fields["response"] = digest(secret, nonce, "00000001", client_nonce, "auth", request)
        else:
            fields["response"] = digest(secret, nonce, request)
        if "opaque" in asked:
            fields["opaque"] = asked["opaque"]
        quoted = [f'{name}="{_quotable(value)}"' for name, value in fields.items()]
        return "Digest " + ", ".join(quoted + [f"{k}={v}" for k, v in unquoted.items()])


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _split(text: str) -> list[tuple[str, str]]:
    """Schemes and their parameters: a server may offer several in one line."""
    parts = _CHALLENGE.split(text)[1:]
    return [(parts[i].lower(), parts[i + 1]) for i in range(0, len(parts), 2)]


def _parameters(text: str) -> dict[str, str]:
    items = [item for item in parse_http_list(text) if "=" in item]
    return {name.lower(): value for name, value in parse_keqv_list(items).items()}
