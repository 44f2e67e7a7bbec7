"""Discriminators: a schema that stands for its subtypes becomes a choice among them."""

import pytest
from openapi_documents import body_of, tool

from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.tools.checks.arguments import ArgumentCheck

REFERENCE = "#/components/schemas/{}".format


def reference(name):
    return {"$ref": REFERENCE(name)}


def base(**discriminator):
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"type": "string"}, "name": {"type": "string"}},
        "discriminator": {"propertyName": "kind", **discriminator},
    }


def subtype(parent, *required, **properties):
    own = {"type": "object", "properties": properties, "required": list(required)}
    return {"allOf": [reference(parent), own]}


SUBTYPES = {
    "Cat": subtype("Pet", "meow", meow={"type": "integer"}),
    "Dog": subtype("Pet", day={"type": "string", "format": "date"}),
}
MAPPING = {"cat": REFERENCE("Cat"), "dog": "Dog"}
SCHEMAS = {"Pet": base(mapping=MAPPING), **SUBTYPES}


def posted(schema, schemas, version="3.0.3"):
    return tool("post", version=version, schemas=schemas, requestBody=body_of(schema)).parameters


def problems(schema, schemas, value, version="3.0.3"):
    around = {"type": "object", "required": ["pet"], "properties": {"pet": schema}}
    return ArgumentCheck(posted(around, schemas, version)).problems({"pet": value})


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_a_reference_to_a_base_is_a_choice_among_its_subtypes(version):
    pet = reference("Pet")
    assert problems(pet, SCHEMAS, {"kind": "cat", "meow": 1, "name": "Tom"}, version) == []
    assert problems(pet, SCHEMAS, {"kind": "dog", "day": "2024-03-05"}, version) == []
    assert problems(pet, SCHEMAS, {"kind": "cat"}, version) == [
        "argument 'pet' is {\"kind\": \"cat\"}: 'meow' is a required property"
    ]
    for value in ({"kind": "cat", "meow": "x"}, {"kind": "cow"}, {"meow": 1}):
        assert problems(pet, SCHEMAS, value, version) != []


def test_without_a_mapping_the_names_of_the_schemas_count():
    schemas = {"Pet": base(), **SUBTYPES}
    assert problems(reference("Pet"), schemas, {"kind": "Cat", "meow": 1}) == []
    assert problems(reference("Pet"), schemas, {"kind": "cat", "meow": 1}) != []


def test_as_a_body_it_is_one_argument():
    parameters = posted(reference("Pet"), SCHEMAS)
    check = ArgumentCheck(parameters)
    assert check.problems({"body": {"kind": "cat", "meow": 1}}) == []
    assert check.problems({"body": {"kind": "cat"}}) != []
    gold = {"body": {"kind": "dog", "day": "2024-03-05"}}
    assert not compare_arguments(gold, {"body": {"kind": "dog", "day": "20240305"}}, parameters)


def test_a_subtype_alone_is_of_its_own_kind():
    parameters = posted(reference("Cat"), SCHEMAS)
    assert parameters["properties"]["kind"] == {"type": "string", "enum": ["cat"]}
    assert set(parameters["required"]) == {"kind", "meow"}
    assert problems(reference("Cat"), SCHEMAS, {"kind": "dog", "meow": 1}) != []
    assert problems(reference("Cat"), SCHEMAS, {"kind": "cat", "meow": 1}) == []


def test_subtypes_of_subtypes_are_found():
    schemas = {"Pet": base(), **SUBTYPES, "Lion": subtype("Cat", "roar", roar={"type": "boolean"})}
    lion = {"kind": "Lion", "meow": 1, "roar": True}
    for name in ("Pet", "Cat", "Lion"):
        assert problems(reference(name), schemas, lion) == []
        assert problems(reference(name), schemas, {"kind": "Lion", "meow": 1}) != []
    assert problems(reference("Cat"), schemas, {"kind": "Cat", "meow": 1}) == []
    assert problems(reference("Cat"), schemas, {"kind": "Dog"}) != []


def test_a_base_may_be_wrapped_listed_or_hold_itself():
    litter = {"type": "array", "items": reference("Pet")}
    schemas = {"Pet": base(mapping=MAPPING), **SUBTYPES, "Dog": subtype("Pet", pups=litter)}
    optional = {"nullable": True, "allOf": [reference("Pet")]}
    cat = {"kind": "cat", "meow": 1}
    for schema in (reference("Pet"), optional):
        assert problems(schema, schemas, {"kind": "dog", "pups": [cat, {"kind": "dog"}]}) == []
        assert problems(schema, schemas, {"kind": "dog", "pups": [{"kind": "cat"}]}) != []
    assert problems(optional, schemas, None) == []
    listed = {"type": "array", "items": reference("Pet")}
    assert problems(listed, schemas, [cat]) == []
    assert problems(listed, schemas, [{"kind": "cat"}]) != []


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf"])
def test_alternatives_with_a_discriminator_say_which_value_means_which(keyword):
    schemas = {
        "Card": {"type": "object", "properties": {"how": {"type": "string"}, "no": {}}},
        "Cash": {"type": "object", "properties": {"how": {"type": "string"}}},
    }
    both = [reference("Card"), reference("Cash")]
    mapped = {"propertyName": "how", "mapping": {"card": REFERENCE("Card"), "coins": "Cash"}}
    schema = {keyword: both, "discriminator": mapped}
    for value, fits in (("card", True), ("coins", True), ("Cash", False)):
        assert (problems(schema, schemas, {"how": value}) == []) is fits
    unmapped = {keyword: both, "discriminator": {"propertyName": "how"}}
    for value, fits in (("Card", True), ("Cash", True), ("coins", False)):
        assert (problems(unmapped, schemas, {"how": value}) == []) is fits


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf"])
def test_a_base_may_list_the_subtypes_that_take_over_its_fields(keyword):
    listed = {keyword: [reference("Cat"), reference("Dog")]}
    schemas = {"Pet": {**base(mapping=MAPPING), **listed}, **SUBTYPES}
    for schema in (reference("Pet"), {"allOf": [reference("Pet")], "nullable": True}):
        assert problems(schema, schemas, {"kind": "cat", "meow": 1, "name": "Tom"}) == []
        for value in ({"kind": "cat"}, {"kind": "cow"}, {"kind": "cat", "meow": 1, "name": 5}):
            assert problems(schema, schemas, value) != []
    parameters = posted(reference("Cat"), schemas)
    assert set(parameters["properties"]) == {"kind", "name", "meow"}
    body = posted(reference("Pet"), schemas)
    assert ArgumentCheck(body).problems({"body": {"kind": "dog", "day": "2024-03-05"}}) == []


def test_a_union_without_a_mapping_knows_the_names_of_the_family():
    union = {
        "oneOf": [reference("Cat"), reference("Dog")],
        "discriminator": {"propertyName": "kind"},
    }
    for kind in ("cat", "Cat"):
        assert problems(union, SCHEMAS, {"kind": kind, "meow": 1}) == []
    assert problems(union, SCHEMAS, {"kind": "dog", "meow": 1}) == []
    assert problems(union, SCHEMAS, {"kind": "cow", "meow": 1}) != []


def test_what_the_property_says_itself_counts_first():
    schemas = {
        "CardIn": {"type": "object", "properties": {"how": {"const": "card"}}, "required": ["how"]},
        "CashIn": {
            "type": "object",
            "properties": {"how": {"enum": ["cash"]}},
            "required": ["how"],
        },
    }
    both = [reference("CardIn"), reference("CashIn")]
    schema = {"oneOf": both, "discriminator": {"propertyName": "how"}}
    assert problems(schema, schemas, {"how": "card"}, "3.1.0") == []
    assert problems(schema, schemas, {"how": "cash"}, "3.1.0") == []
    assert problems(schema, schemas, {"how": "CardIn"}, "3.1.0") != []


def test_a_schema_around_any_subtype_is_bound_to_no_name():
    schemas = {**SCHEMAS, "PetWithLinks": subtype("Pet", links={"type": "array"})}
    assert problems(reference("PetWithLinks"), schemas, {"kind": "cat", "links": []}) == []


@pytest.mark.parametrize(
    "discriminator",
    [
        {"propertyName": 5},
        {},
        "kind",
        {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Gone", "x": 3}},
        {"propertyName": "kind", "mapping": []},
    ],
)
def test_a_discriminator_that_says_nothing_is_left_aside(discriminator):
    schemas = {"Pet": {**base(), "discriminator": discriminator}}
    assert problems(reference("Pet"), schemas, {"kind": "cat"}) == []
    assert problems(reference("Pet"), schemas, {"name": "x"}) != []


def test_very_many_subtypes_are_not_written_out():
    many = {f"S{number}": subtype("Pet") for number in range(500)}
    parameters = posted(reference("Pet"), {"Pet": base(), **many})
    assert list(parameters["properties"]) == ["kind", "name"]
