"""A bucket as its owner sees it: whether it is there, and what becomes of unfinished uploads.

Runs themselves never need this; ``ste-ray store check`` does.
"""

from __future__ import annotations

from typing import Any, Literal

from ste_ray.store.s3 import S3Objects

UploadRule = Literal["set", "there", "none", "not supported"]
_RULE_ID = "ste-ray-unfinished-uploads"
_DAYS = 1
_NOT_SUPPORTED = ("NotImplemented", "MethodNotAllowed", "501", "405")


class S3Bucket:
    """A bucket, reached through the client of the objects in it."""

    def __init__(self, objects: S3Objects, name: str) -> None:
        self._objects = objects
        self._name = name

    def create(self) -> bool:
        """Make the bucket if it is missing; return whether it was.

        Raises:
            ConfigError: it belongs to somebody else, or may not be made.
        """
        from botocore.exceptions import ClientError

        client = self._objects.client
        region = client.meta.region_name
        elsewhere = region not in (None, "us-east-1", "aws-global")
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        with self._objects.failures("look for the bucket of", ""):
            try:
                client.head_bucket(Bucket=self._name)
                return False
            except ClientError as error:
                if _code(error) not in ("404", "NoSuchBucket"):
                    raise
        with self._objects.failures("make the bucket of", ""):
            client.create_bucket(Bucket=self._name, **place)
        return True

    def upload_rule(self) -> UploadRule:
        """Say whether a rule of the bucket removes unfinished uploads."""
        rules = self._rules()
        if rules is None:
            return "not supported"
        return "there" if any(map(_removes_all_uploads, rules)) else "none"

    def expire_unfinished_uploads(self) -> UploadRule:
        """Have unfinished uploads removed after a day, unless a rule does already."""
        from botocore.exceptions import ClientError

        if (state := self.upload_rule()) != "none":
            return state
        ours = {
            "ID": _RULE_ID,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _DAYS},
        }
        rules = [*(self._rules() or []), ours]
        with self._objects.failures("set a rule for the bucket of", ""):
            try:
                self._objects.client.put_bucket_lifecycle_configuration(
                    Bucket=self._name, LifecycleConfiguration={"Rules": rules}
                )
            except ClientError as error:
                # Some servers know expiry of objects only, and remove old uploads by themselves.
                if _code(error) in (*_NOT_SUPPORTED, "MalformedXML", "InvalidArgument"):
                    return "not supported"
                raise
        return "set"

    def num_unfinished_uploads(self) -> int:
        """Count the uploads in parts that nobody has finished; also those that are going on."""
        with self._objects.failures("list the uploads of", ""):
            pages = self._objects.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._name
            )
            return sum(len(page.get("Uploads", ())) for page in pages)

    def _rules(self) -> list[dict[str, Any]] | None:
        """Return the bucket's rules; None where the server has none or does not show them."""
        from botocore.exceptions import ClientError

        with self._objects.failures("read the rules of the bucket of", ""):
            try:
                reply = self._objects.client.get_bucket_lifecycle_configuration(Bucket=self._name)
            except ClientError as error:
                if _code(error) == "NoSuchLifecycleConfiguration":
                    return []
                if _code(error) in (*_NOT_SUPPORTED, "AccessDenied", "403"):
                    return None
                raise
        rules: list[dict[str, Any]] = reply.get("Rules", [])
        return rules


def _removes_all_uploads(rule: dict[str, Any]) -> bool:
    everywhere = not rule.get("Prefix") and rule.get("Filter", {}) in ({}, {"Prefix": ""})
    return (
        rule.get("Status") == "Enabled" and everywhere and "AbortIncompleteMultipartUpload" in rule
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
