"""Reads OpenAPI documents, from a file, a URL or memory, and looks their references up.

A file may refer to other files in its own folder and below, symbolic links followed; nothing above,
and nothing over the network. A document from a URL or from memory may refer to itself only. What
the references of schemas mean is left to ``schemas``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from openapi_pydantic.v3 import v3_0, v3_1
from pydantic import BaseModel, ValidationError
from referencing import Registry, Resource, Specification
from referencing.exceptions import Unresolvable

from ste_ray.core.schemas.dialects import without_ids
from ste_ray.core.schemas.references import UnusableSchemaError, children
from ste_ray.errors import ToolSpecError
from ste_ray.tools.openapi.reading import contents_of, file_text

_Model = TypeVar("_Model", bound=BaseModel)
_MEMORY = "urn:openapi:document"
_IDS = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef")
_MAX_REFERENCES = 50  # references that lead to references


class UnusableError(Exception):
    """A part of the document cannot become a tool; the message says why, in one line."""


class Part:
    """A piece of a document, which knows what its references are relative to.

    Attributes:
        value: the JSON value.
        location: what it was referred to as, a URI with a pointer; empty where it stands inline.
    """

    def __init__(self, value: Any, uri: str, resolver: Any, location: str = "") -> None:
        self.value = value
        self.location = location
        self._uri = uri
        self._resolver = resolver

    def sibling(self, value: Any) -> Part:
        """Return a value that stands in the same file."""
        return Part(value, self._uri, self._resolver)

    def target(self, reference: str) -> Part:
        """Return what a ``$ref`` in the same file points to.

        Raises:
            UnusableError: it points at nothing, or to where it may not.
        """
        try:
            found = self._resolver.lookup(reference)
        except (Unresolvable, ValueError, LookupError, TypeError) as error:
            reason = _refused(error) or "points at nothing"
            raise UnusableError(f"$ref {reference!r} {reason}; correct the document") from None
        uri, _, pointer = reference.partition("#")
        uri = urljoin(self._uri, uri) if uri else self._uri
        return Part(found.contents, uri, found.resolver, f"{uri}#{unquote(pointer)}")

    def resolved(self) -> Part:
        """Return the value itself where this is a reference, else this; see ``target``."""
        part = self
        for _ in range(_MAX_REFERENCES):
            if not isinstance(part.value, Mapping) or not isinstance(part.value.get("$ref"), str):
                return part
            part = part.target(part.value["$ref"])
        raise UnusableError(f"$ref {self.value['$ref']!r} leads in a circle; correct the document")


class Document:
    """An OpenAPI document whose frame is sound: version, title, servers, security.

    Attributes:
        source: as it was named by the user, for messages.
        url: where it was read, if that was a URL; empty otherwise.
        frame: all but paths and components.
        root: the document as it was read.
    """

    def __init__(self, source: str, url: str, contents: dict[str, Any], path: Path | None) -> None:
        self.source = source
        self.url = url
        self.frame = _frame(source, contents)
        uri = path.resolve().as_uri() if path else url or _MEMORY
        folder = path.resolve().parent if path else None
        # Without the cache, a file would be read again for each reference to it.
        retrieve = functools.cache(functools.partial(_retrieve, folder=folder))
        registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
        contents = _without_ids(contents)
        resource = Specification.OPAQUE.create_resource(contents)
        self.root = Part(contents, uri, registry.with_resource(uri, resource).resolver(uri))

    @property
    def paths(self) -> Mapping[str, Any]:
        """The paths, as they were read."""
        paths: Mapping[str, Any] = self.root.value["paths"]
        return paths


def _without_ids(contents: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose schemas refer to each other by pointers alone, if that can be."""
    components = contents.get("components")
    schemas = components.get("schemas") if isinstance(components, dict) else None
    if not isinstance(schemas, dict) or not isinstance(components, dict):
        return contents
    if not any(_has_ids(one) for one in schemas.values()):
        return contents
    try:
        found = without_ids(schemas, contents, "#/components/schemas/")
    except (UnusableSchemaError, RecursionError):
        return contents  # what needs them will be told to point at nothing
    return {**contents, "components": {**components, "schemas": found}}


def _has_ids(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    return any(isinstance(schema.get(key), str) for key in _IDS) or any(
        map(_has_ids, children(schema))
    )


def read_document(
    source: str,
    fetch: Callable[[str], str] | None = None,
) -> Document:
    """Read a document.

    Args:
        source: a file, or an http(s) URL.
        fetch: returns the text behind a URL; needed for URLs only.

    Raises:
        ToolSpecError: it cannot be read, or is no OpenAPI 3.0 or 3.1 document.
    """
    url = source if urlsplit(source).scheme in ("http", "https") else ""
    if not url:
        path = Path(source)
        return Document(source, "", contents_of(source, file_text(path)), path)
    if fetch is None:
        raise ToolSpecError(f"{source!r} is a URL; download the document and give the file")
    return Document(source, url, contents_of(source, fetch(source)), None)


def _frame(source: str, contents: Mapping[str, Any]) -> v3_1.OpenAPI | v3_0.OpenAPI:
    """Check version and frame.

    Raises:
        ToolSpecError: naming what is wrong.
    """
    version = contents.get("openapi")
    if "swagger" in contents and version is None:
        raise ToolSpecError(
            f"{source!r} is a Swagger {contents['swagger']} document; convert it to OpenAPI 3 "
            "first, e.g. with swagger2openapi"
        )
    if not isinstance(version, str | float) or str(version)[:3] not in ("3.0", "3.1"):
        raise ToolSpecError(
            f"{source!r}: openapi={version!r}; give a document of OpenAPI 3.0 or 3.1"
        )
    if not isinstance(contents.get("paths"), Mapping):
        raise ToolSpecError(
            f"{source!r}: paths={contents.get('paths')!r} must be an object with the operations"
        )
    info = contents.get("info")
    frame = {
        # Only the first two numbers decide how it is read.
        "openapi": "3.0.3" if str(version).startswith("3.0") else "3.1.0",
        "info": {
            "title": info.get("title", "") if isinstance(info, Mapping) else "",
            "version": "",
        },
        "servers": contents.get("servers") or [],
        "security": contents.get("security"),
        "paths": {},
    }
    try:
        model = v3_0.OpenAPI if frame["openapi"] == "3.0.3" else v3_1.OpenAPI
        return model.model_validate(frame)
    except ValidationError as error:
        raise ToolSpecError(f"{source!r}: {first_problem(error)}; correct the document") from None


def parsed(model: type[_Model], fields: Mapping[str, Any]) -> _Model:
    """Return an object of a document, read as what OpenAPI says it is.

    Raises:
        UnusableError: it is none; with the first thing that is wrong.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise UnusableError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """Return where a document is wrong, and how, in one line."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}={problem['input']!r:.80}: {problem['msg']}"


class _RefusedError(Exception):
    pass


def _refused(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, _RefusedError):
            return str(error)
        error = error.__cause__ or error.__context__
    return ""


def _retrieve(uri: str, *, folder: Path | None) -> Resource[Any]:
    """Read a file that a document refers to."""
    if not uri.startswith("file:") or folder is None:
        raise _RefusedError("points outside the document, which is not followed")
    path = Path(unquote(urlsplit(uri).path)).resolve()
    if not path.is_relative_to(folder):
        raise _RefusedError("points outside the folder of the document, which is not followed")
    try:
        contents = contents_of(str(path), file_text(path))
    except ToolSpecError as error:
        raise _RefusedError(f"cannot be followed: {error}") from None
    return Specification.OPAQUE.create_resource(contents)
