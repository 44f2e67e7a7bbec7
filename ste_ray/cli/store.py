"""The command ``ste-ray store check``: whether a storage does what a run needs of it."""

from __future__ import annotations

import argparse
from typing import Any

from ste_ray.process.output import print_json, write_text


def add_store_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``store``."""
    store = commands.add_parser("store", help="check a storage before a run depends on it")
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="try conditional writes, uploads, listing, deleting")
    check.add_argument("uri", metavar="URI", help="a folder or s3://bucket/prefix")
    check.add_argument(
        "--create",
        action="store_true",
        help="make the bucket if it is missing, and have it remove unfinished uploads after a day",
    )
    check.add_argument("--json", action="store_true", help="print the result as JSON")
    check.set_defaults(function=_check)


def _check(options: argparse.Namespace) -> None:
    from ste_ray.store.artifacts import open_store
    from ste_ray.store.checking import check_storage

    found = check_storage(open_store(options.uri), options.create)
    if options.json:
        print_json(found.to_json())
        return
    lines = [
        f"{found.uri}: fit for runs; conditional writes are enforced",
        *(["the bucket was made"] if found.bucket_created else []),
    ]
    if found.uri.startswith("s3://"):
        lines.append(f"unfinished uploads in the bucket: {found.unfinished_uploads}")
        lines.append(f"rule that removes them: {found.upload_rule}")
    write_text("".join(f"{line}\n" for line in lines))
