"""One's own requests: what is called, what is not and why, and whose words the answer is."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from flow_examples import PROMPTS

from ste_ray.config import Config
from ste_ray.core.effects import ToolResult
from ste_ray.core.inferring.settings import PromptMaterial, Query, parse_settings
from ste_ray.core.records import Example, Prediction
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.fakes import FakeToolbox, FunctionTools
from ste_ray.stages.ask.asking import Asker
from ste_ray.stages.ask.exchange import SETTLED, Reply, call_shown
from ste_ray.stages.ask.local import LocalAssistant

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TEXT = {"type": "object", "properties": {"obj": {"type": "string"}}}
PYTHON = {"kind": "python", "target": "m:f"}


def spec(name, **fields):
    given = {"executor": PYTHON, "effect": "read_only", "parameters": NUMBER, **fields}
    return ToolSpec(name=name, description="d", **given)


SPECS = {
    one.name: one
    for one in (
        spec("double"),
        spec("free", lenient=True),
        spec("played", executor={"kind": "simulated"}),
        spec("told", executor={"kind": "bmtools", "function": "f"}),
        spec("slow", requests_per_minute=600),
        spec("note", effect="writes", parameters=TEXT),
    )
}


class Scripted:
    """Fulfils ``Assistant`` with a reply, and words for what comes back."""

    def __init__(self, text, final="Final words", cut=False, answerer="model", **fields):
        self.text, self.final, self.fields = text, final, fields
        self.cut, self.answerer = cut, answerer
        self.concluded = []

    @asynccontextmanager
    async def opened(self):
        yield

    async def reply(self, query):
        found = Prediction(
            example_id=query.example.example_id,
            setting="tuned/toolken",
            tool="",
            query=query.example.query,
            arguments_json="{}",
            candidates=(),
            output_text=self.text,
            **self.fields,
        )

        async def conclude(result):
            self.concluded.append(result)
            return found.model_copy(
                update={
                    "observation": result.text,
                    "observation_status": result.status,
                    "final_answer": self.final,
                    "final_cut": self.cut,
                    "final_completion_tokens": 3,
                }
            )

        return Reply(found, conclude)


def query(request):
    fields = dict.fromkeys(("trial_id", "tool", "observation", "final_answer"), "")
    example = Example(
        example_id="e",
        group_id="e",
        query=request,
        origin="explored",
        arguments_json="{}",
        split="test",
        **fields,
    )
    return Query(example=example)


def broken(n):
    raise ValueError("no such number")


class Asked:
    """What came of a request, and what was called for it."""

    def __init__(self, text, *, words=True, allow=(), consent=None, function=None, **reply):
        tools = FunctionTools(dict.fromkeys(SPECS, function or (lambda **given: "it is 6")))
        self.assistant = Scripted(text, **reply)
        self.calls = tools.calls

        async def ask():
            material = PromptMaterial(SPECS, {}, PROMPTS)
            toolbox = FakeToolbox(tools)
            asker = Asker(self.assistant, material, query, toolbox, allow, words)
            await asker.open()
            proposal = await asker.propose("what is it?")
            assert not self.calls  # nothing is called before it could be shown
            answer = await asker.complete(proposal, consent)
            await asker.aclose()
            return proposal, answer

        self.proposal, self.answer = asyncio.run(ask())


def call(tool, arguments='{"n": 3}'):
    return f"Action: {tool}\nAction Input: {arguments}"


def test_a_tool_that_only_reads_is_called_and_the_model_answers():
    asked = Asked(f"Thought: double it\n{call('double')}")
    assert [(one.tool, one.arguments_json) for one in asked.calls] == [("double", '{"n":3}')]
    found = asked.answer
    assert (found.status, found.answer, found.answer_from) == ("answered", "Final words", "model")
    assert asked.proposal.thought == "double it"
    assert found.prediction.observation == "it is 6"
    assert found.problem == ""


def test_what_the_tool_returned_is_told_before_the_model_s_words_are_awaited():
    order = []
    assistant = Scripted(call("double"))
    reply = assistant.reply

    async def replying(query):
        found = await reply(query)

        async def conclude(result):
            order.append("words")
            return await found.conclude(result)

        return Reply(found.prediction, conclude)

    assistant.reply = replying

    async def ask(words):
        toolbox = FakeToolbox(FunctionTools({"double": lambda n: 2 * n}))
        material = PromptMaterial(SPECS, {}, PROMPTS)
        asker = Asker(assistant, material, query, toolbox, (), words)
        proposal = await asker.propose("q")
        await asker.complete(proposal, observed=lambda result: order.append(result.text))

    asyncio.run(ask(words=True))
    assert order == ["6", "words"]
    order.clear()
    asyncio.run(ask(words=False))
    assert order == []  # it is the answer


def test_an_answer_that_was_cut_says_so_and_what_to_set():
    asked = Asked(call("double"), final="Final wo", cut=True, completion_tokens=5, output_cut=True)
    found = asked.answer
    assert (found.status, found.answer, found.cut) == ("answered", "Final wo", True)
    assert found.problem.startswith("cut at 3 tokens; raise infer.max_new_tokens")
    assert found.problem.endswith("infer.max_new_tokens=6")
    # The tool's own result is whole, whatever became of the reply.
    assert not Asked(call("double"), words=False, output_cut=True).answer.cut
    assert not Asked(call("note", "{}"), output_cut=True).answer.cut  # its call is complete


def test_who_stands_in_for_a_model_is_named_as_whose_words_the_answer_is():
    assert Asked(call("double"), answerer="script").answer.answer_from == "script"
    assert Asked("Paris", answerer="script").answer.answer_from == "script"
    assert Asked(call("double"), words=False, answerer="script").answer.answer_from == "tool"


def test_an_unknown_tool_is_told_with_the_nearest_and_few_of_many(monkeypatch):
    many = {f"tool_{number}": spec(f"tool_{number}") for number in range(30)}
    monkeypatch.setattr(f"{__name__}.SPECS", SPECS | many)
    problem = Asked(call("dobule_")).answer.problem
    assert "(did you mean 'double'?)" in problem
    assert "and 28 more (explore/tools.json of the run shows all)" in problem


def test_what_the_tool_says_is_the_answer_of_a_model_that_was_not_trained_to_answer():
    asked = Asked(call("double"), words=False)
    assert (asked.answer.answer, asked.answer.answer_from) == ("it is 6", "tool")
    assert asked.answer.problem == ""
    assert asked.assistant.concluded == []
    assert asked.answer.prediction.observation_status == "ok"


def test_without_words_of_the_model_the_tool_s_are_the_answer_and_it_is_said():
    asked = Asked(call("double"), final="")
    assert (asked.answer.answer, asked.answer.answer_from) == ("it is 6", "tool")
    assert asked.answer.problem == "the model gave no final answer"


@pytest.mark.parametrize(
    ("consent", "status", "calls"),
    [(True, "answered", 1), (False, "declined", 0), (None, "unconfirmed", 0)],
)
def test_what_may_change_something_is_called_only_with_consent(consent, status, calls):
    asked = Asked(call("note", '{"obj": "x"}'), allow=("note",), consent=consent)
    assert asked.proposal.changes
    assert asked.proposal.status is None
    assert (asked.answer.status, len(asked.calls)) == (status, calls)
    assert ("--yes" in asked.answer.problem) == (status == "unconfirmed")


def test_consent_does_not_stand_in_for_permission():
    asked = Asked(call("note", '{"obj": "x"}'), consent=True)
    assert (asked.answer.status, asked.calls) == ("not_allowed", [])
    assert "effect 'writes'" in asked.answer.problem
    assert "tools.allow=[note]" in asked.answer.problem


@pytest.mark.parametrize(
    ("tool", "reason"), [("played", "a model plays it"), ("told", "cannot be called")]
)
def test_what_nothing_can_call_is_not_called(tool, reason):
    asked = Asked(call(tool), allow=(tool,), consent=True)
    assert (asked.answer.status, asked.calls) == ("not_allowed", [])
    assert reason in asked.answer.problem


def test_arguments_that_do_not_fit_are_not_tried():
    asked = Asked(call("double", '{"m": "x"}'))
    assert (asked.answer.status, asked.calls) == ("wrong_arguments", [])
    assert "unknown argument 'm'" in asked.answer.problem
    assert "argument 'n' is missing" in asked.answer.problem
    assert asked.answer.as_json()["call"] == {"tool": "double", "arguments": {"m": "x"}}


def test_a_lenient_tool_judges_its_arguments_itself():
    asked = Asked(call("free", '{"m": "x"}'))
    assert (asked.answer.status, len(asked.calls)) == ("answered", 1)


def test_arguments_that_the_tool_itself_refuses_were_wrong():
    asked = Asked(call("double"))
    asked.assistant.concluded.clear()

    class Refusing:
        async def call(self, request):
            return ToolResult(status="rejected", text="n is too small")

    async def ask():
        material = PromptMaterial(SPECS, {}, PROMPTS)
        asker = Asker(asked.assistant, material, query, FakeToolbox(Refusing()), (), True)
        return await asker.complete(await asker.propose("q"))

    found = asyncio.run(ask())
    assert (found.status, found.problem) == ("wrong_arguments", "n is too small")
    assert asked.assistant.concluded == []


@pytest.mark.parametrize(
    ("text", "status", "problem"),
    [
        (call("double2"), "unknown_tool", "'double'"),
        (call("double", '{"n": '), "malformed", "no valid JSON"),
        (call("double", "[3]"), "malformed", "no object"),
        ("Action: double", "malformed", "Action Input"),
        ("Thought: hm", "malformed", "neither"),
        ("", "malformed", "empty"),
        ("Final Answer:", "malformed", "nothing stands behind"),
        (f"{call('double')}\n{call('double')}", "malformed", "more than one call"),
    ],
)
def test_a_reply_that_cannot_be_used_is_told(text, status, problem):
    asked = Asked(text)
    assert (asked.answer.status, asked.calls) == (status, [])
    assert problem in asked.answer.problem
    assert asked.answer.answer == ""
    assert asked.answer.as_json()["output"] == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Final Answer: Paris, and <tool\\_double> too", "Paris, and <tool_double> too"),
        ("Paris, of course.\n", "Paris, of course."),
    ],
)
def test_the_model_s_own_answer_is_one(text, answer):
    asked = Asked(text)
    found = asked.answer
    assert (found.status, found.answer, found.answer_from) == ("no_call", answer, "model")
    assert found.as_json()["call"] is None
    assert found.as_json()["observation"] is None


def test_a_tool_that_fails_was_called():
    asked = Asked(call("double"), words=False, function=broken)
    assert asked.answer.status == "tool_failed"
    assert asked.answer.as_json()["observation"] == {
        "status": "error",
        "text": "ValueError: no such number",
    }


def test_a_reply_that_did_not_come_says_why():
    asked = Asked("", error="no prompt: it is too long")
    assert (asked.answer.status, asked.answer.problem) == (
        "no_reply",
        "no prompt: it is too long",
    )


def test_a_tool_is_called_within_its_limits():
    gates = []

    class Gated(FakeToolbox):
        def episode(self, episode, gate=None):
            gates.append(gate)
            return super().episode(episode, gate)

    async def ask():
        toolbox = Gated(FunctionTools({"slow": abs, "double": abs}))
        material = PromptMaterial(SPECS, {}, PROMPTS)
        for text in (call("slow"), call("double")):
            asker = Asker(Scripted(text), material, query, toolbox, (), False)
            for _ in range(2):
                await asker.complete(await asker.propose("q"))

    asyncio.run(ask())
    limited, again, *others = gates
    assert limited is again is not None
    assert others == [None, None]


def test_what_nobody_waits_for_is_not_generated_to_its_end(monkeypatch):
    begun = threading.Event()

    class Endless:
        def __init__(self, *given):
            self.on_tokens = given[-1]

        def prompts(self, queries):
            return queries

        def answer(self, queries, prompts):
            while True:
                self.on_tokens(1)
                begun.set()

    monkeypatch.setattr("ste_ray.stages.ask.local.Predictor", Endless)
    (setting,) = parse_settings(["tuned/toolken"])
    assistant = LocalAssistant(None, setting, PromptMaterial(SPECS, {}, PROMPTS), Config())

    async def ask():
        asking = asyncio.create_task(assistant.reply(query("q")))
        await asyncio.to_thread(begun.wait, 30)
        (thread,) = [one for one in threading.enumerate() if one.name == "watched"]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return thread

    thread = asyncio.run(ask())
    thread.join(30)
    assert not thread.is_alive()


def test_what_machines_get_holds_all_of_it():
    asked = Asked(call("double"), reasoning="hm", prompt_tokens=7, completion_tokens=5)
    assert {**asked.answer.as_json(), "seconds": 0.0} == {
        "request": "what is it?",
        "setting": "tuned/toolken",
        "status": "answered",
        "output": call("double"),
        "thought": "",
        "reasoning": "hm",
        "call": {"tool": "double", "arguments": {"n": 3}},
        "observation": {"status": "ok", "text": "it is 6"},
        "answer": "Final words",
        "answer_from": "model",
        "cut": False,
        "problem": "",
        "tokens": {"prompt": 7, "completion": 8, "reasoning": 0},
        "seconds": 0.0,
    }
    assert asked.answer.status in SETTLED


def test_a_call_cannot_be_shown_as_another_one():
    text = call("free", '{"a": 1, "x) free(b": "\\" \\n)"}')
    assert call_shown(Asked(text).proposal.call) == ('free(a=1, "x) free(b"="\\" \\n)")')
