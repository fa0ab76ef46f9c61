"""The proxy of `hosting/Caddyfile`, as it is, before servers of a test."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.browser.server import ROOT, free_port

CONFIGURATION = ROOT / "hosting/Caddyfile"


@dataclass(frozen=True)
class Proxy:
    url: str
    plain_url: str  # without TLS
    trust: ssl.SSLContext  # that knows the proxy's certificate and no other


def _trust(certificate: Path) -> ssl.SSLContext:
    """A client of the tests reads a socket in one thread and writes in another. With TLS 1.3
    tickets come after the handshake, and a write while one is read can wait for ever."""
    trust = ssl.create_default_context(cafile=certificate)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    return trust


def caddy() -> str:
    """The program; without it the test is skipped, unless STRATA_REQUIRE_PROXY is set."""
    found = shutil.which("caddy")
    if found is None:
        reason = "no Caddy on this machine: install the caddy package"
        if os.environ.get("STRATA_REQUIRE_PROXY"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def before(upstreams: Sequence[str], folder: Path) -> Iterator[Proxy]:
    """The proxy before these servers (`host:port`), with a certificate made for it."""
    certificate, key = _certificate(folder)
    port, plain = free_port(), free_port()
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "STRATA_ADDRESS": f"localhost:{port}",
        "STRATA_TLS": f"tls {certificate} {key}",
        "STRATA_UPSTREAMS": " ".join(upstreams),
        "STRATA_HTTP_PORT": str(plain),
        "STRATA_HTTPS_PORT": str(port),
        "STRATA_HEALTH_INTERVAL": "500ms",
    }
    command = [caddy(), "run", "--config", str(CONFIGURATION), "--adapter", "caddyfile"]
    log = folder / "caddy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        proxy = Proxy(
            f"https://localhost:{port}",
            f"http://localhost:{plain}",
            _trust(certificate),
        )
        try:
            _wait(process, proxy, log)
            yield proxy
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], proxy: Proxy, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{proxy.url}/readyz", verify=proxy.trust, timeout=20).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the proxy does not answer:\n{log.read_text()[-3000:]}")


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
