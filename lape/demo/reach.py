"""From where the page can be reached, and whose calls it answers.

A page that only its owner reaches may do all that the owner may. One that others reach follows the rules of a public
Space, see `Backend.shared` and SECURITY.md. On a loopback address calls for another host, or from a page of another
origin, are refused: by them a website reaches what its visitor's browser reaches (DNS rebinding, forged calls).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

# What proxies and tunnels add. A browser lets no website set them without being asked first, which gradio declines.
FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
FOREIGN = (
    "This page answers only calls to localhost, from its own page. Behind a proxy, start it with "
    "GRADIO_SERVER_NAME=0.0.0.0; then the rules of a shared page hold."
)
SHARED = (
    "Others can reach this page, so the rules of a public Space hold: nothing is pushed with your token, only the "
    "models of the menu load, and only the collections of LAPE_MASKS_REPO are open."
)
OWN = "Only this machine reaches the page: everything can be done on it, also with your token for the Hub."


def server_host() -> str:
    """The address the page is served at, as gradio reads it."""
    return os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1").strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a name or address leads to this machine only.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "localhost.evil.org")]
        [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a call to a loopback address is for another host, or comes from a page that is not this one.

    Args:
        headers: Of the call, with names in lower case.
    """
    if not is_loopback(_host(f"//{headers.get('host', '')}")):
        return True
    origin = headers.get("origin")
    own = origin is None or is_loopback(_host(origin)) or urlsplit(origin).netloc == headers.get("x-forwarded-host")
    return not own


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether a proxy or a tunnel hands the call on."""
    return any(name in headers for name in FORWARDING)


def address_of(peer: str, forwarded_for: str) -> str:
    """The network address of a visitor, as far as the proxies in front of the page tell it.

    Args:
        peer: The address of the connection.
        forwarded_for: The header `X-Forwarded-For`. Anybody may write one, so only what a proxy added counts: the last
            public address, and only when the connection comes from a private one, as a proxy's does.

    Example:
        >>> address_of("10.0.0.7", "6.6.6.6, 93.184.216.34, 10.0.0.2"), address_of("93.184.216.34", "6.6.6.6")
        ('93.184.216.34', '93.184.216.34')
    """
    if _is_public(peer):
        return peer
    return next((hop for hop in reversed(forwarded_for.replace(" ", "").split(",")) if _is_public(hop)), peer)


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _host(url: str) -> str:
    """The host of an address; empty when there is none to be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
