"""``ste-ray ask``: a request of one's own, answered by a model of a run; in a terminal, many.

What runs imports the rest only then, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import termios
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from ste_ray.cli import answers
from ste_ray.errors import ConfigError, SteRayError
from ste_ray.process.output import print_json, say
from ste_ray.process.stopping import until_told

if TYPE_CHECKING:
    from ste_ray.stages.ask.asking import Asker
    from ste_ray.stages.ask.exchange import Proposal

Result = TypeVar("Result")
NO_ANSWER = 2
_PROMPT = "> "


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
    lines = _waiting_lines() if request is None else iter(())
    from ste_ray.stages.ask.opening import open_asker

    with open_asker(store, config, options.setting, say) as asker, asyncio.Runner() as runner:
        person = _Person(asker, runner, options.json, options.yes, one_line=request is None)
        runner.run(asker.open())
        try:
            return person.converse(lines) if request is None else person.ask(request)
        finally:
            runner.run(asker.aclose())


def _divided(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Return the request, None if there is none, and the overrides, in whichever order they are.

    Raises:
        ConfigError: the request is empty, or there are several.
    """
    from ste_ray.config import is_override

    given = [*([] if options.request is None else [options.request]), *options.overrides]
    # Bytes of an argument that are no text, as in lines of standard input.
    given = [one.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for one in given]
    requests = [one for one in given if not is_override(one)]
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
    return requests[0] if requests else None, [one for one in given if is_override(one)]


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

    def converse(self, piped: Iterator[str]) -> int:
        """Answer line by line until there are no more; return the exit code.

        Args:
            piped: the lines, if they do not come from a terminal.
        """
        if not sys.stdin.isatty():
            for line in piped:
                self._ask_echoed(line)
            return 0
        say("ask: one request a line; an empty line or Ctrl-D ends, Ctrl-C ends an answer")
        seen = sys.stdout.isatty()  # what is typed stands among the answers
        for line in _typed(on_output=seen and not self.as_json):
            try:
                self.ask(line) if seen else self._ask_echoed(line)
            except KeyboardInterrupt:
                say("interrupted")
            except SteRayError as error:
                say(f"error: {' '.join(str(error).split())}")
        return 0

    def _ask_echoed(self, request: str) -> None:
        """Answer a request under a line that says which it is."""
        if not self.as_json:
            answers.show_request(request)
        self.ask(request)
        if not self.as_json:
            sys.stdout.write("\n")

    def ask(self, request: str) -> int:
        """Answer a request and print what comes of it; return the exit code."""
        proposal = self._run(self.asker.propose(request))
        observed = None
        if not self.as_json:
            answers.show_proposal(proposal)
            observed = answers.show_result
        consent = self._consent(proposal)
        answer = self._run(self.asker.complete(proposal, consent, observed))
        if self.as_json:
            print_json(answer.as_json(), one_line=self.one_line)
        else:
            answers.show_answer(answer)
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


def _waiting_lines() -> Iterator[str]:
    """Return the lines of a pipe as they come, but for empty ones, once the first is there.

    Before that nothing needs to be loaded. What a person types is read later.

    Raises:
        ConfigError: there is none.
    """
    if sys.stdin.isatty():
        return iter(())
    lines = (line.strip() for line in sys.stdin if line.strip())
    first = next(lines, None)
    if first is None:
        raise ConfigError(
            "there is no request: none was given, and standard input holds no line; give one in"
            " quotes, or one a line on standard input"
        )
    return chain([first], lines)


def _decode_anything() -> None:
    """Let standard input hold bytes that are no text; possible only before the first is read."""
    if (reconfigure := getattr(sys.stdin, "reconfigure", None)) is not None:
        reconfigure(errors="replace")
