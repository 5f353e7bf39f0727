"""Addresses that are listened on, and certificates."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from accomplice.data.errors import InputError
from accomplice.serving.deployment.listener import check_address, tls_context
from accomplice.training.processes import HOST, free_port, listen


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A certificate of this machine, its key, and the key under a passphrase."""
    key, name = ec.generate_private_key(ec.SECP256R1()), NameOID.COMMON_NAME
    subject = x509.Name([x509.NameAttribute(name, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = {
        "cert.pem": made.public_bytes(pem),
        "key.pem": key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "locked.pem": key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        ),
    }
    for file, content in written.items():
        (tmp_path / file).write_bytes(content)
    certificate, plain, locked = (tmp_path / file for file in written)
    return certificate, plain, locked


def test_other_addresses_need_tokens() -> None:
    check_address("127.0.0.2", tokens=False)
    check_address("::1", tokens=False)
    check_address("0.0.0.0", tokens=True)
    with pytest.raises(InputError, match="needs --tokens"):
        check_address("::", tokens=False)
    with pytest.raises(InputError, match="give an address"):
        check_address("example", tokens=True)


def test_a_certificate_is_shown(files: tuple[Path, Path, Path]) -> None:
    certificate, key, _ = files
    context = tls_context(certificate, key)
    port = free_port()

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2

    def answer(listener: socket.socket) -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(1)

    with listen(port, HOST) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        trusting = ssl.create_default_context(cafile=certificate)
        plain = socket.create_connection((HOST, port))
        with trusting.wrap_socket(plain, server_hostname=HOST) as connection:
            assert connection.version() == "TLSv1.3"
        thread.join()


def test_wrong_files_are_one_line(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    certificate, key, locked = files
    for pair in ((certificate, locked), (key, certificate), (certificate, certificate)):
        with pytest.raises(InputError, match="no certificate"):
            tls_context(*pair)
    with pytest.raises(InputError, match="cannot be read"):
        tls_context(certificate, tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    for pair in ((tmp_path / "pipe", key), (certificate, tmp_path / "pipe"), (tmp_path, key)):
        with pytest.raises(InputError, match="is no file"):
            tls_context(*pair)
