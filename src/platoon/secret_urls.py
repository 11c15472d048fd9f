"""Addresses in settings that may hold a secret, so that no message about them repeats what they say."""

from urllib.parse import urlsplit

from pydantic import SecretStr


def of_redis(url: SecretStr) -> SecretStr:
    """One of a Redis. Raises ValueError."""
    if not url.get_secret_value().startswith(("redis://", "rediss://")):
        raise ValueError("is no redis:// or rediss:// address")
    try:
        urlsplit(url.get_secret_value()).port  # noqa: B018
    except ValueError:  # its text repeats what may be a password, as would that of whoever connects
        raise ValueError("is malformed; '/', '?', '#' and '@' in a password are written %2F, %3F, %23, %40") from None
    return url


def of_webhook(url: SecretStr) -> SecretStr:
    """One that may be posted to. Raises ValueError."""
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # its text may repeat what is secret in the address
        fits = False
    if not fits or not text.isascii() or parts.username is not None or parts.fragment:
        raise ValueError("is no http:// or https:// address in ASCII, without a login and without '#'") from None
    return url
