"""A CA of the tests' own, and what it has signed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.servers.debian import program


def certificates(folder: Path) -> None:
    """A CA, a certificate for `localhost` and one for a client, into that folder. Raises ServerMissing."""
    openssl = program("openssl", "openssl")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name, host in (("server", "localhost"), ("client", "bridge")):
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}")
        key = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key")
        run("req", *key, "-out", f"{name}.csr", "-subj", f"/CN={host}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext", "-days", "2")
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)


def redis_options(folder: Path, port: int) -> list[str]:
    """Options of a Redis, or a sentinel, that listens with TLS there, and wants a client's certificate of that CA."""
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    options = [part for name, file in files.items() for part in (f"--tls-{name}-file", str(folder / file))]
    return ["--tls-port", str(port), *options, "--tls-auth-clients", "yes"]
