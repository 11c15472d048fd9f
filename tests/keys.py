"""Keys for tests: the secret of each is known here."""

from hashlib import sha256
from typing import Any

from platoon.settings import ApiKey


def key(secret: str, **fields: Any) -> ApiKey:
    """The key with this secret, named as its first part: `gate-secret` is `gate`'s."""
    return ApiKey(name=secret.split("-")[0], sha256=sha256(secret.encode()).hexdigest(), **fields)


def shown(secret: str) -> dict[str, str]:
    """Headers that show it."""
    return {"Authorization": f"Bearer {secret}"}
