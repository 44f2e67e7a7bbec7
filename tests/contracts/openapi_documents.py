"""Writes small OpenAPI documents for tests, and imports them."""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

from ste_ray.tools.openapi.operations import import_openapi

SERVER = "https://api.example.org/v1"


def document(paths, *, version="3.1.0", schemas=None, **fields):
    """Return a document with these paths."""
    fields.setdefault("servers", [{"url": SERVER}])
    fields.setdefault("info", {"title": "Pet Shop API", "version": "1"})
    components = {**fields.pop("components", {}), "schemas": schemas or {}}
    return {"openapi": version, "paths": paths, "components": components, **fields}


def operation(method="get", path="/pets", **fields):
    """Return the paths of one operation."""
    return {path: {method: {"responses": {"200": {"description": "fine"}}, **fields}}}


def written(contents):
    """Return a document as JSON, however deeply it is nested."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        return json.dumps(contents)
    finally:
        sys.setrecursionlimit(limit)


def imported(contents, source="shop.json", **options):
    """Import a document as what is found at a URL, or in a file of that name."""
    text = written(contents)
    if "://" in source:
        return import_openapi(source, fetch=lambda _: text, **options)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(source).write_text(text)
        return import_openapi(source, **options)


def tool(method="get", path="/pets", *, version="3.1.0", schemas=None, root=None, **fields):
    """Return the tool of a document with one operation."""
    contents = document(
        operation(method, path, **fields), version=version, schemas=schemas, **(root or {})
    )
    (spec,) = imported(contents).specs
    return spec


def body_of(schema, required=True, content_type="application/json"):
    """Return a request body."""
    return {"required": required, "content": {content_type: {"schema": schema}}}
