"""Remedies for what OpenSSL says of a connection that was to be encrypted, by the settings of that end."""

from __future__ import annotations

_REMEDIES = {
    "certificate is not valid for": "the URL has to have a name that is in the server's certificate",
    "certificate has expired": "the server's certificate has to be renewed",
    "CERTIFICATE_VERIFY_FAILED": "{prefix}_CA has to be the file of the CA that has signed its certificate",
    "X509": "look at the files of {prefix}_CA, {prefix}_CERT and {prefix}_KEY",
    "WRONG_VERSION_NUMBER": "{no_tls}",
    "RECORD_LAYER_FAILURE": "{no_tls}",
    "EOF occurred in violation of protocol": "does it want a client's certificate, {prefix}_CERT and _KEY?",
    "CERTIFICATE_REQUIRED": "it wants a client's certificate: set {prefix}_CERT and {prefix}_KEY",
    "alert": "does it accept the client's certificate, {prefix}_CERT?",
}
"""By a part of the error's text, the first one that is there."""


def tls_remedy(text: str, prefix: str, no_tls: str) -> str:
    """Return what to do where TLS has failed with that text; else the empty text.

    `prefix` begins the names of the settings, such as `BRIDGE_REDIS_TLS`; `no_tls` says what to do where the port
    speaks none.
    """
    found = next((remedy for part, remedy in _REMEDIES.items() if part in text), "")
    return found.format(prefix=prefix, no_tls=no_tls)
