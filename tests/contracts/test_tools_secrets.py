"""Secrets by name: where they are found, and that their values are masked in every form."""

import asyncio
import base64
import json
import urllib.parse

import pytest

from ste_ray.core.effects import ToolResult
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.masking import MaskingExecutor
from ste_ray.tools.run.secrets import FOLDER_VARIABLE, Secrets, references

VALUE = 'p@ss/w"ör d+1'


def test_the_environment_comes_before_the_folder(tmp_path):
    (tmp_path / "A").write_text("from a file\n")
    (tmp_path / "B").write_text("of a file\n")
    secrets = Secrets({"A": "from the environment", FOLDER_VARIABLE: str(tmp_path)})
    assert secrets.get("A") == "from the environment"
    assert secrets.get("B") == "of a file"
    assert secrets.missing(["A", "B", "C", "C"]) == ["C"]


def test_what_is_missing_or_cannot_be_masked_is_refused():
    secrets = Secrets({"SHORT": "abc", "EMPTY": ""})
    with pytest.raises(ToolSpecError, match="'GONE' is not set; put it into the environment"):
        secrets.get("GONE")
    with pytest.raises(ToolSpecError, match="'EMPTY' is not set"):
        secrets.get("EMPTY")
    with pytest.raises(ToolSpecError, match="'SHORT' has 3 characters") as caught:
        secrets.get("SHORT")
    assert "abc" not in str(caught.value)


def test_references_are_filled_once():
    secrets = Secrets({"A": "${B}", "B": "bbbb"})
    assert secrets.fill("x ${A} $A {A} ${B}") == "x ${B} $A {A} bbbb"
    found = references({"k${K}": ["${A}", {"x": "Bearer ${B} ${WORKDIR}"}], "n": 1})
    assert found == {"K", "A", "B"}


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        urllib.parse.quote(VALUE),
        urllib.parse.quote(VALUE, safe=""),
        urllib.parse.quote_plus(VALUE),
        json.dumps({"key": VALUE}),
        json.dumps(VALUE, ensure_ascii=False),
        f"Basic {base64.b64encode(VALUE.encode()).decode()}",
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        f"Basic {base64.b64encode(f'me:{VALUE}'.encode()).decode()}",
        f"Basic {base64.b64encode(f'user:{VALUE}'.encode()).decode()}",
        f"Basic {base64.b64encode(f'{VALUE}:'.encode()).decode()}",
    ],
)
def test_every_form_of_a_value_is_masked(form):
    masked = Secrets({"KEY": VALUE}).mask(f"before {form} after", ["KEY", "OTHER"])
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "[secret KEY]" in masked
    for part in ("p@ss", "p%40ss", base64.b64encode(VALUE.encode()).decode()[:8]):
        assert part not in masked


class Echo:
    """Fulfils ``Executor``: says what it was told to say."""

    def __init__(self, answer):
        self.answer = answer

    async def call(self, call):
        if isinstance(self.answer, Exception):
            raise self.answer
        return ToolResult(status="error", text=self.answer)

    async def verify(self, specs):
        raise ToolSpecError(f"cannot log in with {self.answer}")

    def preview(self, call):
        return str(self.answer)


def test_an_executor_lets_no_secret_through():
    spec = ToolSpec(
        name="t",
        description="d",
        parameters={"type": "object"},
        executor={"kind": "http", "url": "https://x.test"},
        secrets=("KEY",),
    )
    call = CheckedCall(spec, {})
    echo = Echo(f"denied: {VALUE}")
    masking = MaskingExecutor(echo, Secrets({"KEY": VALUE}))
    assert asyncio.run(masking.call(call)).text == "denied: [secret KEY]"
    assert masking.preview(call) == "denied: [secret KEY]"
    with pytest.raises(ToolSpecError, match=r"cannot log in with denied: \[secret KEY\]"):
        asyncio.run(masking.verify([spec]))
    echo.answer = ToolSpecError("the secret 'KEY' is not set")
    result = asyncio.run(masking.call(call))
    assert (result.status, result.text) == ("crashed", "the secret 'KEY' is not set")


def test_the_longer_of_two_secrets_is_masked_whole():
    secrets = Secrets({"A": "abcd1234", "B": "abcd1234-extended"})
    assert secrets.mask("abcd1234-extended abcd1234", ["A", "B"]) == "[secret B] [secret A]"


def test_a_value_that_was_given_out_is_masked_after_it_changed():
    environment = {"A": "old-value"}
    secrets = Secrets(environment)
    secrets.get("A")
    environment["A"] = "new-value"
    assert secrets.mask("old-value new-value", ["A"]) == "[secret A] [secret A]"
    del environment["A"]
    assert secrets.mask("old-value", ["A"]) == "[secret A]"


@pytest.mark.parametrize("before", range(60, 140))
def test_a_secret_at_the_cut_is_not_shown_in_part(before):
    value = "sk-canary-0123456789abcdef"

    class Cutting(Echo):
        async def call(self, call):
            text = "x" * before + value + value + "y" * 1000
            return cut_result(ToolResult(status="ok", text=text), call.spec.max_output_chars)

    spec = ToolSpec(
        name="t",
        description="d",
        parameters={"type": "object"},
        executor={"kind": "python", "target": "a:b"},
        secrets=("KEY",),
        max_output_chars=100,
    )
    masking = MaskingExecutor(Cutting(""), Secrets({"KEY": value}))
    text = asyncio.run(masking.call(CheckedCall(spec, {}))).text
    assert "canary" not in text
    assert "sk-c" not in text
    assert "[cut: " in text
    assert len(text.split("… [cut")[0]) <= 100


SPEC = ToolSpec(
    name="t",
    description="d",
    parameters={"type": "object"},
    executor={"kind": "python", "target": "a:b"},
    secrets=("KEY",),
    max_output_chars=100,
)


class Answering(Echo):
    """Answers a text as executors do, in the length that is asked for."""

    async def call(self, call):
        result = ToolResult(status="ok", text=self.answer)
        return cut_result(result, call.spec.max_output_chars)


def answered(text, value="sk-canary-0123456789abcdef", max_chars=100):
    masking = MaskingExecutor(Answering(text), Secrets({"KEY": value}))
    spec = SPEC.model_copy(update={"max_output_chars": max_chars})
    return asyncio.run(masking.call(CheckedCall(spec, {})))


@pytest.mark.parametrize(
    "mark", ["… [cut]", "… [cut: 3 of 900 characters]", "...", " ... [cut: 12 characters in all]"]
)
def test_a_tool_keeps_its_own_mark_of_a_cut(mark):
    result = answered(f"a page of text{mark}")
    assert result.text == f"a page of text{mark}"
    assert result.shown_chars is None


@pytest.mark.parametrize("mark", ["", "…", "… [cut]", "...", " [truncated]", '..."}'])
@pytest.mark.parametrize("num", range(8, 26))
def test_a_secret_that_the_tool_itself_cut_is_masked(num, mark):
    result = answered(f"denied: {'sk-canary-0123456789abcdef'[:num]}{mark}")
    assert result.text == f"denied: [secret KEY]{mark}"


def test_how_long_an_answer_was_is_known_after_masking():
    value = "sk-canary-0123456789abcdef"
    result = answered(f"{value} {'x' * 5000} {value}")
    assert result.text == f"[secret KEY] {'x' * 87}… [cut: 100 of 5054 characters]"
    assert (result.shown_chars, result.total_chars) == (100, 5054)
    assert result.num_chars == 5054
    # Marks are longer than some secrets: then not all is shown of what was not cut.
    short = answered("pass-1 " * 14, value="pass-1")
    assert short.text == ("[secret KEY] " * 8)[:100] + "… [cut: 100 of 182 characters]"


def test_the_same_masker_is_used_while_the_secrets_are_the_same():
    environment = {"KEY": "value-1"}
    secrets = Secrets(environment)
    assert secrets.masker(["KEY"]) is secrets.masker(["KEY"])
    secrets.get("KEY")
    environment["KEY"] = "value-2"
    assert secrets.mask("value-1 value-2", ["KEY"]) == "[secret KEY] [secret KEY]"
