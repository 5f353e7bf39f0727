"""Address that a server listens on, and the certificate that it shows."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path

from accomplice.data.errors import InputError

#: Environment variable of the address of a proxy, whose connections are not counted by address.
PROXY_VARIABLE = "ACCOMPLICE_PROXY"


def check_address(host: str, *, tokens: bool) -> None:
    """Refuse an address that a server may not listen on.

    Args:
        host: IP address.
        tokens: whether the server asks for access tokens.

    Raises:
        InputError: ``host`` is no IP address, or other machines can reach it and there are no
            tokens.
    """
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InputError(f"--host {host}: give an address such as 127.0.0.1") from None
    if not loopback and not tokens:
        raise InputError(
            f"--host {host}: other machines can reach it, so it needs --tokens FILE "
            "(accomplice token NAME makes one)"
        )


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the server's side of TLS, from version 1.2 on.

    Args:
        certificate: PEM file of the certificate, followed by those that it was signed with.
        key: PEM file of the private key, without a passphrase.

    Raises:
        InputError: a file cannot be read, is no certificate or key, or the two do not belong
            together.
    """
    for path in (certificate, key):
        try:
            # Reading a FIFO can wait.
            if not stat.S_ISREG(path.stat().st_mode):
                raise InputError(f"{path}: is no file")
            path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty passphrase, so that OpenSSL does not ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
        raise InputError(
            f"--tls-cert {certificate}, --tls-key {key}: no certificate (PEM) and its key, "
            "without a passphrase"
        ) from None
    return context


def read_proxy(environ: Mapping[str, str]) -> str | None:
    """Return the address of a proxy that environment variables set; None without one.

    Args:
        environ: the environment variables.

    Raises:
        InputError: it is no address.
    """
    proxy = environ.get(PROXY_VARIABLE)
    try:
        return None if proxy is None else str(ipaddress.ip_address(proxy))
    except ValueError:
        raise InputError("--proxy: give an address such as 127.0.0.1") from None
