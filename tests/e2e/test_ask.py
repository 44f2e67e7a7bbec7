"""``ste-ray ask`` as people and scripts use it, on a run whose tiny model knows a few replies."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import pty
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Retrieved
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import declare_stage
from tests.asked_run import BROKEN, HELLO, NOTE, ROMAN, declare, make_run
from tests.native_templates import HERMES

ALLOWED = "tools.allow=[note]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_run(tmp_path_factory.mktemp("asked"))
    torch.set_num_threads(threads)


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run, of the test's own."""
    return copied(made, str(tmp_path / "run"))


def copied(source, uri):
    store = open_store(uri)
    for path in source.list():
        store.write_bytes(path, source.read_bytes(path))
    return store


def content(store):
    return {path: store.read_bytes(path) for path in store.list()}


@pytest.fixture
def ask(run, capsys):
    """Run the command on the run; gives exit code, standard output and standard error."""

    def asked(*arguments):
        code = main(["ask", "--run", run.uri, *arguments])
        return code, *capsys.readouterr()

    return asked


def piped(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_the_call_is_made_and_the_model_answers(run, ask):
    before = content(run)
    code, out, err = ask(ROMAN)
    assert code == 0
    assert out == (
        "call: roman_encode(number=12)\n"
        'tool\'s result: {"number": 12, "roman": "XII"}\n'
        "answer in the model's words: It is XII.\n"
    )
    assert "setting 'tuned/toolken'" in err
    assert content(run) == before  # nothing is written into a run that is asked


def test_a_request_that_needs_no_tool_gets_the_model_s_own_answer(ask):
    assert ask(HELLO)[:2] == (
        0,
        "answer in the model's words, without a tool: Hello to you.\n",
    )


def test_a_cut_answer_is_told_as_such(ask):
    code, out, _ = ask(HELLO, "infer.max_new_tokens=4")
    assert code == 0
    answer, note = out.splitlines()
    assert answer.startswith("answer in the model's words, without a tool, cut off: ")
    assert note == (
        "note: cut at 4 tokens; raise infer.max_new_tokens to see the rest, such as"
        " infer.max_new_tokens=8"
    )
    found = json.loads(ask(HELLO, "--json", "infer.max_new_tokens=4")[1])
    assert found["cut"] is True
    assert "cut at 4 tokens" in found["problem"]
    assert json.loads(ask(HELLO, "--json")[1])["cut"] is False


def test_a_cut_call_is_told_as_such(ask):
    code, out, _ = ask(ROMAN, "infer.max_new_tokens=8")
    assert code == 2
    assert out.startswith("the model wrote, cut off: Action:")
    assert "cut at 8 tokens; raise infer.max_new_tokens" in out


def test_bytes_that_are_no_text_are_replaced(ask):
    code, out, err = ask("\udcff\udcfe odd", "--json", "infer.max_new_tokens=2")
    assert json.loads(out)["request"] == "\ufffd\ufffd odd"
    assert code in (0, 2)
    assert "Traceback" not in err


def test_machines_get_all_of_it(ask):
    code, out, _ = ask(ROMAN, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["status"] == "answered"
    assert found["call"] == {"tool": "roman_encode", "arguments": {"number": 12}}
    assert found["observation"] == {"status": "ok", "text": '{"number": 12, "roman": "XII"}'}
    assert (found["answer"], found["answer_from"]) == ("It is XII.", "model")
    assert found["tokens"]["completion"] > 10


def test_of_a_model_not_trained_on_answers_the_tool_s_is_the_answer(run, ask):
    declare(run, tool_responses=False)
    code, out, err = ask(ROMAN)
    assert code == 0
    assert out == (
        "call: roman_encode(number=12)\n"
        'answer, the tool\'s own result: {"number": 12, "roman": "XII"}\n'
    )
    assert "prepare.tool_responses" in err


def test_a_reply_that_is_no_call_is_shown_with_what_is_wrong(ask):
    code, out, _ = ask(BROKEN)
    assert code == 2
    assert out.startswith("the model wrote: Action: <tool_roman_encode>\nAction Input: {")
    assert 'no call: the "Action Input:" is no valid JSON' in out


def test_what_nobody_allowed_is_shown_and_not_called(ask):
    code, out, _ = ask(NOTE, "--yes")
    assert code == 2
    assert out.startswith('call: note(obj="the cat")\nnot made: it may change something')
    assert "tools.allow=[note]" in out


def test_outside_a_terminal_a_change_needs_yes(ask, monkeypatch):
    piped(monkeypatch, "y\n")  # no person has seen the call
    code, out, _ = ask(NOTE, ALLOWED)
    assert code == 2
    assert out.startswith('call: note(obj="the cat")\nnot made: ')
    assert "--yes" in out
    code, out, _ = ask(NOTE, ALLOWED, "--yes")
    assert (code, out) == (
        0,
        'call: note(obj="the cat")\ntool\'s result: "the cat"\n'
        "answer in the model's words: Noted.\n",
    )


def test_with_closed_standard_input_a_change_is_not_confirmed(run):
    command = [sys.executable, "-m", "ste_ray", "ask", NOTE, "--run", run.uri, ALLOWED]
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    done = subprocess.run(closed, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "--yes" in done.stdout
    assert "Traceback" not in done.stderr


def test_each_line_of_a_pipe_is_answered(ask, monkeypatch):
    piped(monkeypatch, f"{HELLO}\n\n{BROKEN}\n{NOTE}\n{ROMAN}")
    code, out, err = ask("--json", ALLOWED)
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["request"] for one in found] == [HELLO, BROKEN, NOTE, ROMAN]
    assert [one["status"] for one in found] == ["no_call", "malformed", "unconfirmed", "answered"]
    assert "> " not in err


@pytest.mark.parametrize("setting", ["base/retrieved", "base/icl", "tuned/plain", "mine/retrieved"])
def test_any_setting_of_infer_can_be_asked(run, ask, setting):
    models = f"infer.models={{mine: {run.path(layout.BASE_MODEL)}}}"
    # Whatever it has not learnt to read there, under constraints it calls.
    options = ["infer.constrained=true", "infer.max_new_tokens=64", models, "--yes", ALLOWED]
    code, out, _ = ask("Write 3", "--setting", setting, "--json", *options)
    found = json.loads(out)
    assert (found["setting"], code) == (setting, 0)
    assert found["status"] in ("answered", "tool_failed")
    assert found["tokens"]["prompt"] > 100  # the tools stand in the prompt


def test_a_prompt_shows_what_the_run_would_retrieve(run, ask, monkeypatch):
    fields = {"seed": 0, "retrieve": {"num_tools": 2, "num_demonstrations": 3, "search": "auto"}}
    fields["retrieve"]["candidates"] = "oracle"
    declare_stage(run, "retrieve", fields, {}, started_at=0.0)
    found: list[Retrieved] = []
    from ste_ray.retrieval.index import RetrievalIndex

    retrieve = RetrievalIndex.retrieve
    monkeypatch.setattr(
        RetrievalIndex, "retrieve", lambda *given: found.extend(retrieve(*given)) or found
    )
    ask("Write 5 in Roman numerals", "--setting", "base/icl", "infer.max_new_tokens=4")
    (shown,) = found
    assert shown.demonstrations[0].key == "e5"
    assert len(shown.demonstrations) == 3  # as the stage had it, and of the train split alone
    assert {"e6", "e7"}.isdisjoint(hit.key for hit in shown.demonstrations)
    # Of a request of one's own nobody knows the right tool.
    assert shown.tools[0].key == "roman_encode"
    assert len(shown.tools) == 2
    found.clear()
    options = ["infer.max_new_tokens=4", "retrieve.num_demonstrations=1"]
    ask("Write 5 in Roman numerals", "--setting", "base/icl", *options)
    assert len(found[0].demonstrations) == 1  # what is given counts more


def test_an_endpoint_is_asked_and_nothing_is_kept(run, ask):
    before = content(run)
    reply = 'Action: roman_encode\nAction Input: {"number": 9}'
    with running_teacher(TeacherSettings(fixed_reply=reply)) as url:
        options = ["--setting", "endpoint/icl", f"llm.base_url={url}"]
        code, out, _ = ask("What is 9?", *options)
    assert code == 0
    # It says the same again after the tool has answered.
    assert out.startswith("call: roman_encode(number=9)\ntool's result: ")
    assert '"IX"' in out
    assert content(run) == before


def test_a_script_that_stands_in_for_an_endpoint_is_named_in_every_answer(ask, monkeypatch):
    for name in ("OPENAI_API_KEY", "STE_LLM_BASE_URL", "STE_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
    _, out, err = ask("Write 9 in Roman numerals", "--setting", "endpoint/icl")
    assert "a script and not a language model, answers" in err
    assert "answer in the script's words: " in out
    assert "model's" not in out
    found = json.loads(ask("Write 9 in Roman numerals", "--setting", "endpoint/icl", "--json")[1])
    assert found["answer_from"] == "script"


def test_nothing_is_loaded_for_no_request(ask, monkeypatch):
    monkeypatch.setattr("ste_ray.stages.ask.opening.open_asker", None)
    piped(monkeypatch, "\n  \n")
    code, out, err = ask()
    assert (code, out) == (2, "")
    assert "standard input holds no line" in err


def test_the_day_that_tools_take_for_today_is_said_where_they_look_at_it(ask):
    assert "tools take 2026-03-02 for today" in ask(HELLO)[2]
    today = datetime.date.today().isoformat()
    assert "for today" not in ask(HELLO, f"tools.today={today}")[2]


@pytest.mark.parametrize("setting", ["tuned/toolken", "base/plain"])
def test_a_setting_that_the_run_lacks_all_for_names_those_that_would_do(run, ask, setting):
    run.delete(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}")
    run.delete_folder(layout.BASE_MODEL)
    code, _, err = ask("q", "--setting", setting)
    assert code == 2
    natively = "tuned/native, tuned/native_plain, tuned/native_icl"
    assert f"tuned/plain, tuned/retrieved, tuned/icl, {natively}, endpoint/plain" in err
    possible = err.partition("--setting can be")[2]
    assert "toolken" not in possible
    assert "base" not in possible


def test_a_run_in_object_storage_is_asked(made, s3_bucket, capsys, monkeypatch):
    store = copied(made, f"s3://{s3_bucket}/runs/one")
    fetched = []
    download = RunStore.download_folder
    monkeypatch.setattr(
        RunStore,
        "download_folder",
        lambda self, path, to: fetched.append(path) or download(self, path, to),
    )
    piped(monkeypatch, f"{HELLO}\n{HELLO}\n")
    assert main(["ask", "--run", store.uri]) == 0
    assert capsys.readouterr().out == (
        f"request: {HELLO}\nanswer in the model's words, without a tool: Hello to you.\n\n" * 2
    )
    assert fetched == [layout.TUNED_MODEL]


def test_without_toolkens_the_tools_stand_in_the_prompt(run, ask):
    run.delete(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}")
    _, out, err = ask("Write 3", "--json", "infer.max_new_tokens=4")
    assert json.loads(out)["setting"] == "tuned/retrieved"
    assert "'tuned/retrieved'" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["q", "--setting", "tuned/toolkin"],
            "in --setting (did you mean 'tuned/toolken'?)",
        ),
        (["q", "--setting", "mine/plain"], "'mine/plain' in --setting"),
        (["q", "--setting", "tuned/dialog"], "another prompt"),
        (["q", "--setting", "endpoint/plain", "llm.model=m"], "STE_LLM_BASE_URL"),
        (["q", "infer.max_new_tokens=2000"], "leaves no room"),
        (["q", "tools.files=[gone.yaml]"], "gone.yaml"),
        (["q", "infer.max_tokens=3"], "infer.max_tokens"),
        ([" "], "the request is ' '"),
        (["two", "words"], "quotes"),
        (
            ["q", "--setting", "My-Model/plain", "infer.models.My-Model=/m"],
            "infer.models names a model 'My-Model'; use letters, digits and _",
        ),
        (
            ["q", "--setting", "Mine2/plain", "infer.models.Mine2=/gone"],
            "Mine2='/gone' is no folder",
        ),
        (["q", "--config", "gone.yaml"], "gone.yaml"),
    ],
)
def test_mistakes_are_told(ask, arguments, expected, monkeypatch):
    for name in ("OPENAI_API_KEY", "STE_LLM_BASE_URL", "STE_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert expected in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_run_without_a_model_says_what_to_do(run, ask, tmp_path, capsys):
    run.delete_folder("train")
    assert ask("q")[0] == 2
    assert main(["ask", "q", "--run", run.uri]) == 2
    assert f"ste-ray train --run {run.uri}" in capsys.readouterr().err
    assert ask("q", "--setting", "base/icl")[0] == 2
    assert main(["ask", "q", "--run", str(tmp_path / "nowhere")]) == 2
    assert "there is no run at" in capsys.readouterr().err


def asked_of(teacher):
    """How many requests the teacher has been sent."""
    with urllib.request.urlopen(f"{teacher.removesuffix('/v1')}/stats") as reply:
        return json.load(reply)["requests"]


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, *arguments, stdout=None):
        self._end, end = pty.openpty()
        names = ("FORCE_COLOR", "NO_COLOR", "OPENAI_API_KEY", "STE_LLM_MODEL", "STE_LLM_BASE_URL")
        clean = {name: value for name, value in os.environ.items() if name not in names}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ste_ray", "ask", *arguments],
            stdin=end,
            stdout=end if stdout is None else stdout,
            stderr=end,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # becomes its own
            env={**clean, "TERM": "dumb", "OMP_NUM_THREADS": "1"},
        )
        os.close(end)
        self.text = ""

    def type(self, text):
        os.write(self._end, text.encode())

    def until(self, expected, seconds=120.0):
        """Read what comes up to a text; return it."""
        deadline = time.monotonic() + seconds
        while expected not in self.text:
            assert time.monotonic() < deadline, self.text
            try:
                self.text += os.read(self._end, 4096).decode(errors="replace")
            except OSError:  # the other end is closed
                raise AssertionError(f"it has ended: {self.text}") from None
        before, _, self.text = self.text.partition(expected)
        return before + expected

    def end(self):
        with contextlib.suppress(OSError):
            while os.read(self._end, 4096):
                pass
        os.close(self._end)
        return self.process.wait(60)


def test_a_person_is_asked_before_something_is_changed(run):
    terminal = Terminal("--run", run.uri, ALLOWED)
    try:
        terminal.until("> ")
        terminal.type(f"{NOTE}\ny\n")  # pasted: nobody has seen the call yet
        shown = terminal.until("make this call? [y/N] ")
        assert "\x1b[33mcall:\x1b[0m note(obj=" in shown
        terminal.type("\n")
        assert "not made:" in terminal.until("> ")
        terminal.type(f"{NOTE}\n")
        terminal.until("make this call? [y/N] ")
        terminal.type("\x03")
        assert "not made:" in terminal.until("> ")
        terminal.type(f"{NOTE}\n")
        terminal.until("make this call? [y/N] ")
        terminal.type("y\n")
        assert "Noted." in terminal.until("> ")
        terminal.type("\n")
        assert terminal.end() == 0
    finally:
        terminal.process.kill()


def test_a_person_who_decides_sees_the_call_wherever_answers_go(run, tmp_path):
    with (tmp_path / "answers").open("w+") as answers:
        terminal = Terminal("--run", run.uri, ALLOWED, NOTE, stdout=answers)
        try:
            assert 'call: note(obj="the cat")' in terminal.until("make this call? [y/N] ")
            terminal.type("y\n")
            assert terminal.end() == 0
        finally:
            terminal.process.kill()
        answers.seek(0)
        assert "answer in the model's words: Noted." in answers.read()


def test_a_question_that_nobody_sees_is_not_asked(ask, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, out, err = ask(NOTE, ALLOWED)  # standard error is no terminal
    assert code == 2
    assert "--yes" in out
    assert "make this call?" not in err


def test_ctrl_c_ends_an_answer_and_ctrl_d_the_conversation(run):
    with running_teacher(TeacherSettings(latency_seconds=600)) as url:
        options = ["--setting", "endpoint/plain", f"llm.base_url={url}"]
        terminal = Terminal("--run", run.uri, *options)
        try:
            terminal.until("> ")
            terminal.type("What is 9?\n")
            terminal.until("What is 9?")
            while not asked_of(url):  # earlier, the prompt would be interrupted
                time.sleep(0.05)
            terminal.type("\x03")
            assert "Traceback" not in terminal.until("interrupted")
            terminal.until("> ")
            terminal.type("\x04")
            assert terminal.end() == 0
        finally:
            terminal.process.kill()


def test_a_model_whose_template_knows_no_tools_is_given_one_that_does(ask):
    pytest.importorskip("llguidance")
    bound = "infer.constrained=true", "infer.tool_choice=required", "infer.max_new_tokens=250"
    _, out, err = ask(ROMAN, "--setting", "base/native_plain", "--json", *bound)
    assert "ask: base/native_plain: the model's chat template shows no tools" in err
    assert json.loads(out)["call"]["tool"] in ("add_date", "note", "roman_encode")
    assert "Traceback" not in err


def test_a_local_model_is_asked_natively(run, ask):
    pytest.importorskip("llguidance")
    run.write_bytes(f"{layout.BASE_MODEL}/chat_template.jinja", HERMES.encode())
    bound = "infer.constrained=true", "infer.tool_choice=required", "infer.max_new_tokens=250"
    _, out, err = ask(ROMAN, "--setting", "base/native_plain", "--json", *bound)
    answer = json.loads(out)
    assert answer["call"]["tool"] in ("add_date", "note", "roman_encode"), err
    assert answer["output"].startswith("Action: ")
    code, out, err = ask(ROMAN, "--setting", "base/native_plain", *bound[1:])
    assert (code, out) == (2, "")
    assert "infer.tool_choice='required' cannot bind" in err
