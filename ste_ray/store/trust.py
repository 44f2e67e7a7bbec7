"""Whose certificates the storage clients trust: one file, the same for all of them.

boto3 would trust the bundle that comes with it and pyarrow that of the machine, and only the former
reads ``AWS_CA_BUNDLE``: a run could then write its lock and not its tables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ste_ray.errors import ConfigError

# The AWS tools' own, then those of other libraries and of OpenSSL; the first that is set counts.
CA_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_OF_THE_MACHINE = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian and its kin, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def trusted_ca_file(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the file of certificates to trust; None: there is none, the clients use their own.

    Raises:
        ConfigError: the file that the environment names is not there.
    """
    values = os.environ if environment is None else environment
    for name in CA_VARIABLES:
        path = values.get(name)
        if not path:
            continue
        if not os.path.isfile(path):
            kind = "is a folder" if os.path.isdir(path) else "does not exist"
            raise ConfigError(f"{name}={path!r} {kind}; set it to a file of certificates (PEM)")
        return path
    return next((path for path in _OF_THE_MACHINE if os.path.isfile(path)), None)
