"""A run in an S3 bucket, or in any store that speaks S3 (endpoint in ``AWS_ENDPOINT_URL``).

boto3 is used rather than pyarrow wherever a condition is needed: pyarrow overwrites silently where
``If-None-Match`` is asked for. boto3 is imported on first use, because it is slow to load and
local runs never need it. Credentials come from where the AWS tools look for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow.fs as pafs

from ste_ray.errors import ConfigError, SteRayError, StoreError
from ste_ray.store.objects import is_hidden
from ste_ray.store.trust import trusted_ca_file

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_CONDITION_FAILED = {"412", "PreconditionFailed"}
_CONFLICT = {"409", "ConditionalRequestConflict"}  # two conditional writes met; S3 asks for a retry
_REFUSED = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_MAX_CONDITIONAL_ATTEMPTS = 5
_MAX_ATTEMPTS = 6  # with growing waits in between: about half a minute of trouble is sat out


class S3Settings(NamedTuple):
    """Where S3 is: an own endpoint or none for AWS, and the region if one is set."""

    endpoint: str | None
    region: str | None

    @classmethod
    def from_environment(cls) -> S3Settings:
        """Read the variables that the AWS tools read."""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if endpoint and not re.match(r"https?://[^/]", endpoint):
            raise ConfigError(
                f"AWS_ENDPOINT_URL={endpoint!r} is no address; write http://host:port or https://host"
            )
        # Own servers rarely have regions, but requests are signed with one.
        return cls(endpoint or None, region or ("us-east-1" if endpoint else None))

    def ca_file(self) -> str | None:
        """Return the file of certificates that both clients trust; None: their own, or no TLS."""
        if (self.endpoint or "").startswith("http://"):
            return None
        own = _configured_bundle()
        return trusted_ca_file({**os.environ, "AWS_CA_BUNDLE": own} if own else None)

    def filesystem(self) -> pafs.FileSystem:
        """Return the pyarrow file system of the same place."""
        options: dict[str, Any] = {"region": self.region} if self.region else {}
        if self.endpoint:
            scheme, _, host = self.endpoint.partition("://")
            options |= {"scheme": scheme, "endpoint_override": host.rstrip("/")}
        if trusted := self.ca_file():
            options["tls_ca_file_path"] = trusted
        retries = pafs.AwsStandardS3RetryStrategy(max_attempts=_MAX_ATTEMPTS)
        return pafs.S3FileSystem(
            connect_timeout=10, request_timeout=60, retry_strategy=retries, **options
        )


class S3Objects:
    """Objects below ``prefix`` (may be empty) in a bucket; a version is an ETag."""

    def __init__(self, bucket: str, prefix: str, settings: S3Settings) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._settings = settings

    @cached_property
    def client(self) -> Any:
        """The boto3 client of the place."""
        import boto3
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": _MAX_ATTEMPTS}
        options: dict[str, Any] = {"retries": retries, "max_pool_connections": 50}
        if self._settings.endpoint:
            # Own servers often know neither the newer checksums nor buckets as host names.
            options["s3"] = {"addressing_style": "path"}
            options["request_checksum_calculation"] = "when_required"
            options["response_checksum_validation"] = "when_required"
        config = Config(connect_timeout=10, read_timeout=60, **options)
        session = boto3.session.Session(region_name=self._settings.region)
        return session.client(
            "s3",
            endpoint_url=self._settings.endpoint,
            config=config,
            verify=self._settings.ca_file(),  # None: as the AWS tools are configured
        )

    def read(self, path: str) -> tuple[bytes, str]:
        """Return content and version. Raises FileNotFoundError when absent."""
        with self.failures("read", path):
            reply = self.client.get_object(Bucket=self._bucket, Key=self._key(path))
            return reply["Body"].read(), reply["ETag"]

    def write(self, path: str, data: bytes) -> None:
        """Write in one request, so that readers see all of it or nothing."""
        with self.failures("write", path):
            self.client.put_object(Bucket=self._bucket, Key=self._key(path), Body=data)

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; return whether this call wrote.

        False may also mean that this call did write, but the connection broke and was retried:
        callers that must know put something unique into ``data`` and read it back.
        """
        return self._write_if(path, data, {"IfNoneMatch": "*"})

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Write only if the content still has that version; return as ``create`` does."""
        return self._write_if(path, data, {"IfMatch": version})

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        key = self._key(path)
        with self.failures("look for", path):
            # Not a HEAD request: its 404 has no body to tell a missing bucket from a missing key.
            reply = self.client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in reply.get("Contents", ()))

    def age(self, path: str) -> float | None:
        """Return the seconds since an object was written, by the storage's own clock.

        None where the storage does not say. Raises FileNotFoundError when absent.
        """
        with self.failures("look for", path):
            reply = self.client.head_object(Bucket=self._bucket, Key=self._key(path))
        now = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
        try:
            return float((parsedate_to_datetime(now) - reply["LastModified"]).total_seconds())
        except (KeyError, TypeError, ValueError):
            return None

    def list(self, prefix: str) -> list[str]:
        """Return the paths of all objects in the folder ``prefix``, at any depth, sorted."""
        start = f"{self._prefix}/" if self._prefix else ""
        # Keys that end in a slash are how pyarrow and other clients mark folders.
        paths = [key.removeprefix(start) for key in self._keys(prefix) if not key.endswith("/")]
        return sorted(path for path in paths if not is_hidden(path))

    def delete(self, path: str) -> None:
        """Delete the object, if there."""
        with self.failures("delete", path):
            self.client.delete_object(Bucket=self._bucket, Key=self._key(path))

    def delete_folder(self, prefix: str) -> None:
        """Delete all objects in the folder, if any."""
        keys = self._keys(prefix)
        for start in range(0, len(keys), 1000):  # the most that one request may name
            names = [{"Key": key} for key in keys[start : start + 1000]]
            with self.failures("delete", prefix):
                reply = self.client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": names, "Quiet": True},
                )
            for refused in reply.get("Errors", ())[:1]:
                raise StoreError(
                    f"cannot delete 's3://{self._bucket}/{refused.get('Key')}': "
                    f"{refused.get('Message')}; check the permissions and run it again"
                )

    def upload(self, local_file: str, path: str) -> None:
        """Copy a local file into the bucket, in parts if it is large."""
        with self.failures("write", path), open(local_file, "rb") as file:
            self.client.upload_fileobj(file, self._bucket, self._key(path))

    def download(self, path: str, local_file: str) -> None:
        """Copy an object to ``local_file``."""
        with self.failures("read", path), open(local_file, "wb") as file:
            self.client.download_fileobj(self._bucket, self._key(path), file)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}".strip("/")

    def _keys(self, prefix: str) -> Sequence[str]:
        folder = self._key(prefix)
        with self.failures("list", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{folder}/" if folder else ""
            )
            return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def _write_if(self, path: str, data: bytes, condition: dict[str, Any]) -> bool:
        from botocore.exceptions import ClientError

        with self.failures("write", path):
            for attempt in range(1, _MAX_CONDITIONAL_ATTEMPTS + 1):
                try:
                    self.client.put_object(
                        Bucket=self._bucket, Key=self._key(path), Body=data, **condition
                    )
                except ClientError as error:
                    code = _code(error)
                    if code in _CONDITION_FAILED or (code in _ABSENT and "IfMatch" in condition):
                        return False
                    if code not in _CONFLICT or attempt == _MAX_CONDITIONAL_ATTEMPTS:
                        raise
                else:
                    return True
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def failures(self, action: str, path: str) -> Iterator[None]:
        """Turn what boto3 raises into our errors; a missing object into FileNotFoundError."""
        from botocore.exceptions import BotoCoreError, ClientError
        from s3transfer.exceptions import RetriesExceededError

        url = f"s3://{self._bucket}/{self._key(path)}"
        try:
            yield
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise FileNotFoundError(url) from error
            raise self._explain_refusal(error, action, url) from error
        except (BotoCoreError, RetriesExceededError) as error:
            raise self._explain_failure(error, action, url) from error
        except OSError as error:
            raise StoreError(f"cannot {action} {url!r}: {error}; run it again") from error

    def _explain_refusal(self, error: Any, action: str, url: str) -> SteRayError:
        code = _code(error)
        message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
        at = f" at {self._settings.endpoint}" if self._settings.endpoint else ""
        if code == "NoSuchBucket":
            return ConfigError(
                f"there is no bucket {self._bucket!r}{at}; make it with 'ste-ray store check "
                f"s3://{self._bucket} --create', or give another run URI"
            )
        if code in ("InvalidBucketName", "PermanentRedirect", "301", "IllegalLocationConstraint"):
            return ConfigError(
                f"bucket {self._bucket!r} cannot be used{at}: {code}: {message} "
                "Check its name and AWS_REGION"
            )
        if code in _REFUSED:
            return ConfigError(
                f"cannot {action} {url!r}: refused{at} ({code}: {message}); "
                "check the AWS credentials, their permissions and AWS_REGION"
            )
        return StoreError(f"cannot {action} {url!r}: {code}: {message}; run it again")

    def _explain_failure(self, error: Exception, action: str, url: str) -> SteRayError:
        from botocore import exceptions

        reason = " ".join(str(error).split())
        if isinstance(
            error,
            exceptions.NoCredentialsError
            | exceptions.PartialCredentialsError
            | exceptions.ProfileNotFound
            | exceptions.ParamValidationError
            | exceptions.NoRegionError,
        ):
            return ConfigError(
                f"cannot {action} {url!r}: {reason}; set AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_REGION, or AWS_PROFILE"
            )
        if isinstance(error, exceptions.SSLError):
            return ConfigError(
                f"cannot {action} {url!r}: boto3 does not trust the server's certificate "
                f"({reason}); set AWS_CA_BUNDLE to the file of its authority"
            )
        return StoreError(f"cannot {action} {url!r}: {reason}; run it again once it answers")


def _configured_bundle() -> str:
    """Return what the AWS tools are told to trust, in the environment or in a profile."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        return str(botocore.session.get_session().get_config_variable("ca_bundle") or "")
    except BotoCoreError:  # a profile that is not there is told by the first request
        return ""


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
