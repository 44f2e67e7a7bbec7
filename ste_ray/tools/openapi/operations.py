"""Turns the operations of an OpenAPI document into tools, one each.

What an operation does to the world is guessed from its method: a person confirms it. Callbacks,
webhooks and links are left alone. An operation that cannot be called is skipped with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from openapi_pydantic.v3 import v3_1

from ste_ray.core.executor_specs import OpenApiOperation
from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.openapi.auth import Credentials, SecuritySchemes
from ste_ray.tools.openapi.bodies import BodyReader, is_json
from ste_ray.tools.openapi.document import (
    Document,
    Part,
    UnusableError,
    parsed,
    read_document,
)
from ste_ray.tools.openapi.families import Families
from ste_ray.tools.openapi.parameters import Arguments, ParameterReader
from ste_ray.tools.openapi.schemas import SchemaConverter
from ste_ray.tools.openapi.servers import Servers
from ste_ray.tools.openapi.texts import described, tool_name, unique
from ste_ray.tools.run.secrets import executor_secrets
from ste_ray.tools.spec.imported import Imported

_EFFECTS = {
    "get": "read_only",
    "head": "read_only",
    "options": "read_only",
    "put": "writes",
    "post": "writes",
    "patch": "writes",
    "delete": "destructive",
}
_METHODS = (*_EFFECTS, "trace")
_OWN_FIELDS = ("summary", "description", "operationId", "deprecated", "tags", "security")
_DESCRIPTION_CHARS = 1000
_OUTPUT_CHARS = 20_000
_ERROR_CHARS = 300
_UNEXPECTED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError)


def import_openapi(
    source: str,
    *,
    fetch: Callable[[str], str] | None = None,
    base_url: str = "",
    prefix: str = "",
    include_tags: Sequence[str] = (),
) -> Imported:
    """Return the operations of an OpenAPI 3.0 or 3.1 document as tools.

    Args:
        source: a JSON or YAML file, or its http(s) URL, from which relative servers are taken.
        fetch: returns the text behind a URL.
        base_url: of the server, in place of the document's.
        prefix: put before the name of each tool.
        include_tags: only operations with one of these tags; empty: all.

    Raises:
        ToolSpecError: the document cannot be used, or holds no usable operation.
    """
    read = read_document(source, fetch)
    return _Import(read, base_url, prefix, frozenset(include_tags)).run()


class _Import:
    def __init__(
        self, document: Document, base_url: str, prefix: str, tags: frozenset[str]
    ) -> None:
        self._document = document
        self._prefix = prefix
        self._tags = tags
        self._servers = Servers(document, base_url)
        self._security = SecuritySchemes(document, self._servers.host())
        families = Families(document.root)
        self._requests = SchemaConverter("request", families)
        self._responses = SchemaConverter("response", families)
        self._parameters = ParameterReader(self._requests)
        self._bodies = BodyReader(self._requests)
        self._names: set[str] = set()
        self._meanings: dict[str, str] = {}

    def run(self) -> Imported:
        specs: list[ToolSpec] = []
        skipped: list[tuple[str, str]] = []
        seen_tags: set[str] = set()
        num_found = 0
        for label, entry in self._operations():
            num_found += 1
            label = tool_name(label)  # it is shown on terminals
            if isinstance(entry, str):
                skipped.append((label, entry))
                continue
            tags = _tags(entry.raw)
            seen_tags |= tags
            if self._tags and not self._tags & tags:
                continue
            try:
                specs.append(self._tool(entry))
            except UnusableError as error:
                skipped.append((label, str(error)))
            except _UNEXPECTED as error:  # one operation must not keep the others out
                detail = " ".join(str(error).split())[:_ERROR_CHARS]
                skipped.append((label, f"it is not of the expected form: {detail}"))
        self._refuse_nothing(specs, skipped, seen_tags, num_found)
        notes = [f"{name} holds {meaning}" for name, meaning in sorted(self._meanings.items())]
        return Imported(specs, skipped, notes)

    def _refuse_nothing(
        self,
        specs: Sequence[ToolSpec],
        skipped: Sequence[tuple[str, str]],
        seen_tags: set[str],
        num_found: int,
    ) -> None:
        source = self._document.source
        if specs:
            return
        if skipped:
            label, reason = skipped[0]
            raise ToolSpecError(
                f"{source!r}: none of {num_found} operations can be used; {label}: {reason}"
            )
        if num_found:
            hints = "".join(did_you_mean(tag, seen_tags) for tag in sorted(self._tags))
            known = listed([repr(tag) for tag in sorted(seen_tags)], "the document", most=20)
            raise ToolSpecError(
                f"{source!r} has no operation with a tag of {sorted(self._tags)}{hints}; its tags:"
                f" {known}"
            )
        raise ToolSpecError(
            f"{source!r} describes no operations under paths; give another document"
        )

    def _operations(self) -> Iterator[tuple[str, _Entry | str]]:
        """Yield each operation with its label; in place of an unusable one, the reason."""
        for path, raw in self._document.paths.items():
            if path.startswith("x-"):
                continue
            try:
                item = self._document.root.sibling(raw).resolved()
            except UnusableError as error:
                yield path, str(error)
                continue
            if not isinstance(item.value, Mapping):
                yield path, f"the path holds {item.value!r:.80}, not an object"
                continue
            for method in _METHODS:
                if method not in item.value:
                    continue
                label = f"{method.upper()} {path}"
                if not isinstance(item.value[method], Mapping):
                    yield label, "the operation is not an object"
                elif method not in _EFFECTS:
                    yield label, f"the method {method.upper()} is not sent"
                else:
                    yield label, _Entry(path, method, item)

    def _tool(self, entry: _Entry) -> ToolSpec:
        operation = parsed(
            v3_1.Operation, {key: entry.raw[key] for key in _OWN_FIELDS if key in entry.raw}
        )
        address = self._servers.address(entry.raw, entry.item.value)
        given = self._security.credentials(operation.security)
        arguments = Arguments()
        executor = self._executor(entry, address, given, arguments)
        parameters = self._requests.complete(arguments.schema())
        _check(parameters, executor, given)
        for name, meaning in given.secrets.items():
            self._meanings[name] = meaning
        name = tool_name(operation.operationId or "") or _name_of(entry)
        name = unique(tool_name(f"{self._prefix}{name}"), self._names)
        self._names.add(name)
        fallback = f"{entry.method.upper()} {entry.path}"
        text = described(operation.summary, operation.description, fallback, _DESCRIPTION_CHARS)
        return ToolSpec.model_validate(
            {
                "name": name,
                "description": f"(deprecated) {text}" if operation.deprecated else text,
                "parameters": parameters,
                "output_schema": self._output_schema(entry),
                "executor": executor,
                "secrets": tuple(sorted(given.secrets)),
                "effect": _EFFECTS[entry.method],
            }
        )

    def _executor(
        self, entry: _Entry, address: str, given: Credentials, arguments: Arguments
    ) -> OpenApiOperation:
        """Return the executor, and fill ``arguments``."""
        if not entry.path.startswith("/") or "#" in entry.path:
            raise UnusableError(f"the path {entry.path!r} must begin with '/' and hold no '#'")
        parameters = self._parameters.read(entry.path, entry.parameters(), given, arguments)
        body = entry.raw.get("requestBody")
        operation = OpenApiOperation.model_validate(
            {
                "method": entry.method.upper(),
                "url": f"{address}{entry.path}",
                "parameters": parameters,
                "body": self._bodies.read(entry.item.sibling(body), arguments) if body else None,
                "headers": given.headers,
                "query": given.query,
                "cookies": given.cookies,
            }
        )
        return operation.in_short()

    def _output_schema(self, entry: _Entry) -> dict[str, Any] | None:
        """Return the schema of what a call returns, where it is described and not too long."""
        responses = entry.raw.get("responses")
        if not isinstance(responses, Mapping):
            return None
        try:
            for status, raw in responses.items():
                schema = _json_schema(entry.item.sibling(raw)) if status[:1] == "2" else None
                if schema is not None:
                    converted = self._responses.inlined(schema)
                    completed = self._responses.complete(converted, _OUTPUT_CHARS)
                    return completed or None
        except UnusableError:
            return None  # the tool can be called all the same
        return None


class _Entry:
    """An operation as the document holds it."""

    def __init__(self, path: str, method: str, item: Part) -> None:
        self.path = path
        self.method = method
        self.item = item
        self.raw: Mapping[str, Any] = item.value[method]

    def parameters(self) -> list[Part]:
        """Return the parameters of the path, then those of the operation."""
        listed = []
        for holder in (self.item.value, self.raw):
            some = holder.get("parameters") or []
            if not isinstance(some, list):
                raise UnusableError(f"parameters={some!r:.80} is no list")
            listed += [self.item.sibling(one) for one in some]
        return listed


def _tags(raw: Mapping[str, Any]) -> set[str]:
    tags = raw.get("tags")
    return {tag for tag in tags if isinstance(tag, str)} if isinstance(tags, list) else set()


def _name_of(entry: _Entry) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{entry.method}_{entry.path}").strip("_")


def _check(parameters: dict[str, Any], executor: OpenApiOperation, given: Credentials) -> None:
    try:
        check_parameters(parameters)
    except ValueError as error:
        raise UnusableError(str(error)) from None
    except RecursionError:
        raise UnusableError("a schema is nested too deeply; simplify it") from None
    # A document must not be able to ask for secrets other than those of its security schemes.
    others = set(executor_secrets(executor)) - set(given.secrets)
    if others:
        raise UnusableError(
            f"the document writes ${{{min(others)}}}, which would be a secret's name"
        )


def _json_schema(part: Part) -> Part | None:
    """Return the schema of a response in JSON, if it has one."""
    response = part.resolved()
    content = response.value.get("content") if isinstance(response.value, Mapping) else None
    if not isinstance(content, Mapping):
        return None
    for name, media in content.items():
        if is_json(name.partition(";")[0].strip().lower()) and isinstance(media, Mapping):
            return response.sibling(media["schema"]) if "schema" in media else None
    return None
