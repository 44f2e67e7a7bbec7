"""Documents with something wrong anywhere: they import, or are refused in one line."""

import copy

import pytest
from openapi_documents import imported

from ste_ray.errors import ToolSpecError
from ste_ray.tools.spec.checks import build_spec

SOUND = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "https://{zone}.org", "variables": {"zone": {"default": "eu"}}}],
    "security": [{"key": []}],
    "components": {
        "securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "key"}},
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "enum": ["x"], "nullable": True},
                    "young": {"$ref": "#/components/schemas/Young"},
                },
            },
            "Young": {
                "allOf": [
                    {"$ref": "#/components/schemas/Pet"},
                    {
                        "type": "object",
                        "properties": {
                            "ages": {
                                "type": "array",
                                "items": {
                                    "oneOf": [
                                        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
                                        {"$ref": "#/components/schemas/Pet"},
                                    ]
                                },
                            }
                        },
                    },
                ]
            },
        },
    },
    "paths": {
        "/pets/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
            "post": {
                "operationId": "add",
                "tags": ["pets"],
                "summary": "Add",
                "parameters": [
                    {
                        "name": "tags",
                        "in": "query",
                        "style": "form",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "string"}},
                    }
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Young"}}
                    },
                },
                "responses": {
                    "200": {
                        "description": "fine",
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}
                        },
                    }
                },
            },
        }
    },
}
WRONG = [
    None, True, 7, -1.5, float("inf"), "", "x", "\r\n<", "${HOME}", [], [None], ["a", {}], {},
    {"a": 1}, {"$ref": "#/paths"}, {"$ref": 7}, {"$ref": "https://example.org/x"},
]  # fmt: skip


def places(node, path=()):
    """Yield the path to each value within a document."""
    if path:
        yield path
    entries = enumerate(node) if isinstance(node, list) else ()
    for key, child in node.items() if isinstance(node, dict) else entries:
        yield from places(child, (*path, key))


def with_value(path, value):
    """Return the sound document with another value at ``path``."""
    contents = copy.deepcopy(SOUND)
    node = contents
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return contents


def test_the_document_is_sound_as_it_is():
    result = imported(SOUND)
    assert [spec.name for spec in result.specs] == ["add"]
    assert result.skipped == []


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_wrong_value_anywhere_is_no_crash(wrong):
    num_imported = 0
    for path in places(SOUND):
        try:
            result = imported(with_value(path, wrong))
        except ToolSpecError as error:
            assert "\n" not in str(error), path  # noqa: PT017
            continue
        num_imported += 1
        for spec in result.specs:
            assert build_spec("f", "t", {}, spec.model_dump(mode="json", exclude_defaults=True))
    assert num_imported > 0
