"""``ste-ray ask``: a request of one's own, answered by a model of a run; in a terminal, many.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import termios
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ste_ray.errors import ConfigError, SteRayError
from ste_ray.process.output import Colour, coloured, print_json, printable, say
from ste_ray.process.stopping import until_told

if TYPE_CHECKING:
    from ste_ray.stages.ask.asking import Asker
    from ste_ray.stages.ask.exchange import Answer, Proposal

Result = TypeVar("Result")
NO_ANSWER = 2
_PROMPT = "> "
_SHOWN_CHARS = 2000  # of what stands above an answer
_OVERRIDE = re.compile(r"([a-z_]+(\.[a-z_0-9]+)+|seed|trust_remote_code|flush_seconds)=")


def add_ask_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``ask``."""
    command = commands.add_parser(
        "ask",
        help="have a model of a run answer your own requests",
        description="Put a request to a model of a run, make the call that it replies with, and"
        " print its answer. Each request stands alone. Nothing is written into the run.",
        epilog='Example: %(prog)s "Which airports does Madrid have?" --run runs/demo',
    )
    command.add_argument(
        "request",
        nargs="?",
        help="what you want to know, in quotes; without it, lines of standard input",
    )
    command.add_argument(
        "--run", required=True, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    command.add_argument(
        "--setting",
        metavar="MODEL/PROMPT",
        help="which model is asked, and how, as in infer.settings, e.g. base/icl (default: the"
        " run's trained model)",
    )
    command.add_argument(
        "--yes",
        action="store_true",
        help="make calls that may change something, of tools that are allowed, without asking",
    )
    command.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    command.add_argument("--json", action="store_true", help="print each answer as JSON")
    command.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="e.g. tools.allow=[send_mail]"
    )
    command.set_defaults(function=_ask)


def _ask(options: argparse.Namespace) -> int:
    request, overrides = _divided(options)
    from ste_ray.config import load_config
    from ste_ray.stages.ask.recorded import recorded_values
    from ste_ray.store.artifacts import open_store

    _decode_anything()
    store = open_store(options.run)
    config = load_config(options.config, overrides, recorded_values(store))
    from ste_ray.stages.ask.opening import open_asker

    with open_asker(store, config, options.setting, say) as asker, asyncio.Runner() as runner:
        person = _Person(asker, runner, options.json, options.yes, one_line=request is None)
        runner.run(asker.open())
        try:
            return person.converse() if request is None else person.ask(request)
        finally:
            runner.run(asker.aclose())


def _divided(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Return the request, None if there is none, and the overrides, in whichever order they are.

    Raises:
        ConfigError: the request is empty, or there are several.
    """
    given = [*([] if options.request is None else [options.request]), *options.overrides]
    # Bytes of an argument that are no text, as in lines of standard input.
    given = [one.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for one in given]
    requests = [one for one in given if not _OVERRIDE.match(one)]
    if len(requests) > 1:
        raise ConfigError(
            f"{requests[0]!r} and {requests[1]!r} are two requests; put a request into quotes, and"
            " write overrides as section.key=value"
        )
    if requests and not requests[0].strip():
        raise ConfigError(
            f"the request is {requests[0]!r}; say what you want to know, or leave it out to be"
            " asked for it"
        )
    return requests[0] if requests else None, [one for one in given if _OVERRIDE.match(one)]


@dataclass(frozen=True)
class _Person:
    """Whoever asks, at a terminal or through a pipe.

    Attributes:
        asker: answers.
        runner: of the event loop that the asker is opened in.
        as_json: whether answers are printed for machines.
        yes: whether calls that may change something are made without asking.
        one_line: whether an answer for machines takes one line.
    """

    asker: Asker
    runner: asyncio.Runner
    as_json: bool
    yes: bool
    one_line: bool

    def converse(self) -> int:
        """Answer line by line until there are no more; return the exit code."""
        if not sys.stdin.isatty():
            for line in _piped():
                self.ask(line)
            return 0
        say("ask: one request a line; an empty line or Ctrl-D ends, Ctrl-C ends an answer")
        for line in _typed(on_output=sys.stdout.isatty() and not self.as_json):
            try:
                self.ask(line)
            except KeyboardInterrupt:
                say("interrupted")
            except SteRayError as error:
                say(f"error: {' '.join(str(error).split())}")
        return 0

    def ask(self, request: str) -> int:
        """Answer a request and print what comes of it; return the exit code."""
        proposal = self._run(self.asker.propose(request))
        if proposal.call is not None and not self.as_json:
            from ste_ray.stages.ask.exchange import call_shown

            _show("call", "yellow", call_shown(proposal.call))
        answer = self._run(self.asker.complete(proposal, self._consent(proposal)))
        if self.as_json:
            print_json(answer.as_json(), one_line=self.one_line)
        else:
            _print(answer)
        sys.stdout.flush()
        from ste_ray.stages.ask.exchange import SETTLED

        return 0 if answer.status in SETTLED else NO_ANSWER

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(until_told(work))

    def _consent(self, proposal: Proposal) -> bool | None:
        """Return whether a call may be made that may change something; None: nobody can say."""
        if self.yes:
            return True
        if self.as_json or not proposal.changes or proposal.status or proposal.call is None:
            return None
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        if not sys.stdout.isatty():  # a file has the call; who decides has not seen it
            from ste_ray.stages.ask.exchange import call_shown

            say(f"call: {call_shown(proposal.call)}")
        # What was typed or pasted before the question is no answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        try:
            sys.stderr.write("make this call? [y/N] ")
            sys.stderr.flush()
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except KeyboardInterrupt:
            say("")
            return False


def _typed(on_output: bool) -> Iterator[str]:
    """Yield the lines that a person types, up to an empty one.

    Args:
        on_output: whether the prompt may stand among the answers; else it goes to standard error.
    """
    with suppress(ImportError):
        import readline  # noqa: F401  # lines can be edited, and those before brought back
    read: Callable[[], str] = (lambda: input(_PROMPT)) if on_output else _prompted
    while True:
        try:
            line = read()
        except EOFError:
            say("")
            return
        if not line.strip():
            return
        yield line.strip()


def _prompted() -> str:
    sys.stderr.write(_PROMPT)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _piped() -> Iterator[str]:
    """Yield the lines of standard input as they come, but for empty ones."""
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def _decode_anything() -> None:
    """Let standard input hold bytes that are no text; possible only before the first is read."""
    if (reconfigure := getattr(sys.stdin, "reconfigure", None)) is not None:
        reconfigure(errors="replace")


def _print(answer: Answer) -> None:
    """Print for a person what became of a call, or why there is none, and the answer."""
    from ste_ray.core.texts.cutting import ellipsed

    found = answer.prediction
    if answer.answer_from == "model" and found.observation_status != "none":
        _show_observation(answer, ellipsed(found.observation, _SHOWN_CHARS))
    if answer.answer_from == "tool" and answer.status == "tool_failed":
        _show_observation(answer, answer.answer)
    elif answer.answer_from:
        whose = " (the tool's own)" if answer.answer_from == "tool" else ""
        _show(f"answer{whose}", "cyan", answer.answer)
    elif answer.status in ("malformed", "unknown_tool"):
        _show("the model wrote", "yellow", ellipsed(found.output_text, _SHOWN_CHARS))
        _show("no call", "red", answer.problem)
    else:
        _show("no reply" if answer.status == "no_reply" else "not made", "red", answer.problem)
    if answer.answer_from and answer.problem:
        _show("no words of the model", "red", answer.problem)


def _show_observation(answer: Answer, text: str) -> None:
    status = answer.prediction.observation_status
    good = status == "ok"
    _show("tool" if good else f"tool ({status})", "green" if good else "red", text)


def _show(label: str, colour: Colour, text: str) -> None:
    sys.stdout.write(f"{coloured(f'{label}:', colour)} {printable(text.strip())}\n")
    sys.stdout.flush()
