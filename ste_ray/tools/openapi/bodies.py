"""Turns the request body of an operation into arguments of a tool.

Of several content types the first that is understood best counts: JSON, then forms, then others,
which take text. The fields of an object become an argument each; whatever else is one argument.
Files are not sent: a form that requires one makes its operation unusable, others go without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ste_ray.core.executor_spec_parts import OpenApiBody, OpenApiField
from ste_ray.tools.openapi.document import Part, UnusableError
from ste_ray.tools.openapi.merging import MergedObject, merged_object
from ste_ray.tools.openapi.parameters import QUERY_STYLES, Arguments
from ste_ray.tools.openapi.schemas import SchemaConverter
from ste_ray.tools.openapi.texts import shortened

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_DESCRIPTION_CHARS = 500
_WHOLE = "body"
_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)


def is_json(content_type: str) -> bool:
    """Whether a content type, without parameters, is JSON."""
    return content_type == "application/json" or content_type.endswith("+json")


class BodyReader:
    """Reads the bodies of operations.

    Args:
        converter: of the schemas in requests.
    """

    def __init__(self, converter: SchemaConverter) -> None:
        self._converter = converter

    def read(self, part: Part, arguments: Arguments) -> OpenApiBody | None:
        """Add a body to the arguments; None: there is nothing to send.

        Raises:
            UnusableError: it cannot be sent as it must be.
        """
        part = part.resolved()
        body = part.value
        content = body.get("content") if isinstance(body, Mapping) else None
        if not isinstance(content, Mapping) or not content:
            raise UnusableError("the request body has no content")
        content_type, media = _chosen(content)
        media_part = part.sibling(media).resolved()
        raw = media_part.value.get("schema", {}) if isinstance(media_part.value, Mapping) else {}
        schema = media_part.sibling(raw)
        merged = (
            merged_object(schema, self._converter.families) if isinstance(raw, Mapping) else None
        )
        if content_type in (FORM, MULTIPART):
            form = self._form(content_type, merged, body, arguments)
            return _with_encoding(form, media_part)
        if not is_json(content_type):
            return self._text(content_type, body, arguments)
        # A body that may be left out, but not in part, must stay in one piece.
        if merged is None or (body.get("required") is False and merged.required):
            return self._whole(content_type, schema, body, arguments)
        return self._fields(content_type, merged, arguments)

    def _fields(
        self, content_type: str, merged: MergedObject, arguments: Arguments
    ) -> OpenApiBody | None:
        fields = {}
        for name, part in merged.properties.items():
            if _is_hidden(part):
                continue
            schema = self._converter.inlined(part)
            required = name in merged.required
            fields[arguments.add(name, "body", schema, required)] = name
        return OpenApiBody(content_type=content_type, fields=fields) if fields else None

    def _form(
        self,
        content_type: str,
        merged: MergedObject | None,
        body: Mapping[str, Any],
        arguments: Arguments,
    ) -> OpenApiBody | None:
        if merged is None:
            raise UnusableError(f"the body of type {content_type} is no object with listed fields")
        files = [name for name, part in merged.properties.items() if _is_file(part)]
        needed = [name for name in files if name in merged.required]
        if needed and body.get("required") is not False:
            raise UnusableError(f"the field {needed[0]!r} takes a file, and files are not sent")
        texts = {name: part for name, part in merged.properties.items() if name not in files}
        required = () if body.get("required") is False else merged.required
        return self._fields(content_type, MergedObject(texts, required), arguments)

    def _whole(
        self, content_type: str, schema: Part, body: Mapping[str, Any], arguments: Arguments
    ) -> OpenApiBody:
        converted = self._converter.inlined(schema)
        return self._argument(content_type, converted, body, arguments)

    def _text(
        self, content_type: str, body: Mapping[str, Any], arguments: Arguments
    ) -> OpenApiBody:
        schema = {"type": "string", "description": f"The body, as text of type {content_type}."}
        return self._argument(content_type, schema, body, arguments)

    def _argument(
        self,
        content_type: str,
        schema: dict[str, Any],
        body: Mapping[str, Any],
        arguments: Arguments,
    ) -> OpenApiBody:
        text = body.get("description")
        if isinstance(text, str) and text:
            schema = {**schema, "description": shortened(text, _DESCRIPTION_CHARS)}
        argument = arguments.add(_WHOLE, "request", schema, body.get("required") is True)
        return OpenApiBody(content_type=content_type, argument=argument)


def _with_encoding(body: OpenApiBody | None, media: Part) -> OpenApiBody | None:
    """Add what the document says of how single fields are written, as far as it can be read."""
    listed = media.value.get("encoding") if isinstance(media.value, Mapping) else None
    if body is None or not isinstance(listed, Mapping):
        return body
    encoding = {}
    for name in body.fields.values():
        field = listed.get(name)
        if isinstance(field, Mapping):
            encoding[name] = _encoded_field(field)
    return body.model_copy(update={"encoding": encoding})


def _encoded_field(field: Mapping[str, Any]) -> OpenApiField:
    style, explode, content_type = map(field.get, ("style", "explode", "contentType"))
    # Of several content types the first counts.
    first = content_type.partition(",")[0].strip() if isinstance(content_type, str) else ""
    return OpenApiField(
        style=style if style in QUERY_STYLES else "",
        explode=explode if isinstance(explode, bool) else None,
        content_type=first if _CONTENT_TYPE.fullmatch(first) else "",
    )


def _chosen(content: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the content type to send, without parameters, and its description."""
    types = {name.partition(";")[0].strip().lower(): media for name, media in content.items()}
    for fits in (
        is_json,
        lambda name: name == FORM,
        lambda name: name == MULTIPART,
        lambda name: name.startswith("text/") and "*" not in name,
        lambda name: "*" not in name,
    ):
        for name, media in types.items():
            if fits(name):
                return name, media
    # Only ranges such as */* are left: JSON is one of them, or the service will say so.
    return "application/json", next(iter(types.values()))


def _is_hidden(part: Part) -> bool:
    value = part.resolved().value
    raw = part.value
    return any(isinstance(one, Mapping) and one.get("readOnly") is True for one in (raw, value))


def _is_file(part: Part) -> bool:
    resolved = part.resolved()
    value = resolved.value
    if not isinstance(value, Mapping):
        return False
    kinds = value.get("type")
    if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
        return _is_file(resolved.sibling(value.get("items", {})))
    alternatives = [one for key in ("anyOf", "oneOf") for one in value.get(key) or ()]
    return (
        value.get("format") == "binary"
        or kinds == "file"
        or value.get("contentMediaType", "application/json") != "application/json"
        or any(_is_file(resolved.sibling(one)) for one in alternatives)
    )
