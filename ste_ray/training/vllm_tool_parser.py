"""Reads the calls of a model with toolkens in vLLM: a file for ``--tool-parser-plugin``.

It stands alone, since vLLM loads it where ste-ray is not installed; a training puts it beside the
model. Replies are read by the rules of ``ste_ray.core.replies``, piece by piece as they come. What
has been sent cannot be taken back, so the last brace of a call is sent once the whole call is known
to count: a call that would be refused never becomes complete.

Written for vLLM 0.29 (that of Ray 2.60) to 0.33, whose interface this is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from vllm.entrypoints.generate.base.protocol import (
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
    FunctionCall,
    ToolCall,
)
from vllm.sampling_params import StructuredOutputsParams
from vllm.tool_parsers import ToolParser, ToolParserManager

NAME = "toolken"  # for --tool-call-parser

_MARKER = re.compile(
    r"[ \t>*_#`-]*(thought|action[ \t]*input|action|observation|final[ \t]*answer)"
    r"[ \t*_`]*[:：](\*\*)?",
    re.IGNORECASE | re.ASCII,
)
_INLINE_INPUT = re.compile(r"action[ \t]input[*_`]*[:：](\*\*)?", re.IGNORECASE | re.ASCII)
_WORDS = ("thought", "actioninput", "observation", "finalanswer")
_SIDE = ("thought", "observation")
_AROUND_OBJECT = " \t\r\n`*"
_OBSERVATION = re.compile(rf"observation[{_AROUND_OBJECT}]*", re.IGNORECASE)
_OUTSIDE_STRINGS = frozenset('{}[]:,"+-.0123456789eEtrufalsn \t\r\n')
_ESCAPED = re.compile(r"<tool\\(\\*)_")
_ESCAPE_BEGUN = re.compile(r"<(?:t(?:o(?:ol?)?)?)?\Z|<tool\\+\Z")
_WRAPPERS = (("<tool_", ">"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("**", "**"))
_MAX_WRAPPERS = 8
_MAX_DEPTH = 64
_SAFE = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MADE = re.compile(r"__[0-9a-f]{8}\Z")


class _More(Exception):  # noqa: N818
    """The text so far does not decide how it is to be read."""


class _Marker(NamedTuple):
    label: str
    start: int
    end: int


@dataclass
class Call:
    """A call: the tool's true name, its arguments as far as they were sent, whether it counts."""

    tool: str
    arguments: str = ""
    complete: bool = False


class Piece(NamedTuple):
    """What a client is to be sent: ``call`` is the number of a call, or -1 for content."""

    call: int
    text: str
    tool: str = ""


class ReplyReader:
    """Reads one reply, in pieces.

    Text without a call is content; so is the whole of a reply whose first call cannot be read. Of a
    reply with calls the content is the thought before them. "Final Answer:" is taken off, with a
    thought before it that is marked as one. Several calls in a row are all read. What a model
    imagines behind a call (an observation, an answer to it) is left out.

    Args:
        tools: the names that may be called.
    """

    def __init__(self, tools: Collection[str]) -> None:
        self.calls: list[Call] = []
        self._tools = tools
        self._text = ""
        self._phase: Callable[[bool], Any] | None = self._preface
        self._scan, self._at_line = 0, True  # from where markers are looked for
        self._said = 0  # how far the text is content already
        self._holds: bool | None = None  # whether what stands before the first marker waits
        self._tail, self._spoke = "", False
        self._pieces: list[Piece] = []
        self._first = self._name_from = self._input = 0
        self._tool = ""
        self._object = self._at = self._depth = 0
        self._in_string = self._escaped = False
        self._skips_blank = True

    def feed(self, text: str) -> list[Piece]:
        """Return what is known once ``text`` has come too."""
        self._text += text
        return self._run(False)

    def finish(self) -> list[Piece]:
        """Return the rest, at the end of the reply."""
        return self._run(True)

    def _run(self, done: bool) -> list[Piece]:
        try:
            while self._phase is not None:
                self._phase = self._phase(done)
        except _More:
            pass
        self._speak(done or self._phase is None)
        pieces, self._pieces = self._pieces, []
        return pieces

    # What is before the first call or answer.

    def _preface(self, done: bool) -> Any:
        try:
            marker = self._next_marker(done)
        except _More:
            self._say_preface(self._scan, done)
            raise
        if marker is None:
            return self._as_it_is
        if marker.label in _SIDE:
            return self._preface
        self._first = marker.start
        self._say_preface(marker.start, True)
        if marker.label == "finalanswer":
            self._said = marker.end
            return self._answer
        if marker.label == "actioninput":
            return self._as_it_is
        self._name_from = marker.end
        return self._name

    def _say_preface(self, end: int, done: bool) -> None:
        """Send it, unless it is marked as a thought, which a call or an answer decides about."""
        if self._holds is None:
            lead = len(self._text) - len(self._text.lstrip())
            if lead >= end:
                return
            marker = _marker_at(self._text, lead, done)
            self._holds = bool(marker and marker.label in _SIDE) or self._text[lead] == "`"
        if not self._holds:
            self._say(end)

    def _as_it_is(self, done: bool) -> None:
        self._say(len(self._text))
        if not done:
            raise _More

    def _answer(self, done: bool) -> None:
        end = len(self._text)
        try:
            while marker := self._next_marker(done):
                if marker.label in (*_SIDE, "finalanswer"):
                    end = marker.start
                    break
        except _More:
            self._say_answer(self._scan)
            raise
        self._say_answer(end)

    def _say_answer(self, end: int) -> None:
        while self._skips_blank and self._said < end and self._text[self._said].isspace():
            self._said += 1
        self._skips_blank = self._skips_blank and self._said >= end
        self._say(end)

    # A call: its name, then its arguments, then what stands behind them.

    def _name(self, done: bool) -> Any:
        line_end = self._text.find("\n", self._name_from)
        stop = line_end if line_end >= 0 else len(self._text)
        marker: _Marker | None = None
        if found := _INLINE_INPUT.search(self._text, self._name_from, stop):
            _await_stars(self._text, found, 1, done)
            marker = _Marker("actioninput", found.start(), found.end())
        elif line_end < 0 and not done:
            raise _More
        else:
            marker = self._next_marker(done)
        if marker is None or marker.label != "actioninput":
            return self._refuse()
        self._tool = _tool_name(self._text[self._name_from : marker.start], self._tools)
        self._input = marker.end
        return self._arguments if self._tool in self._tools else self._refuse()

    def _arguments(self, done: bool) -> Any:
        brace = self._text.find("{", self._input)
        if brace < 0:
            if not done:
                raise _More
            return self._refuse()
        before = self._text[self._input : brace + 1]
        lines = (self._input + found.end() for found in re.finditer("\n", before))
        if any(_MARKER.match(self._text, line) for line in lines):
            return self._refuse()
        if before.lstrip(" \t\r\n`").removeprefix("json").lstrip()[0] in '["':
            return self._refuse()
        if self.calls:
            self._complete()
        else:
            if self._holds:
                self._tail += _thought(self._text[: self._first])
            self._speak(True)
        self.calls.append(Call(self._tool))
        self._pieces.append(Piece(len(self.calls) - 1, "", self._tool))
        self._object = self._at = brace
        self._depth = 0
        return self._json

    def _json(self, done: bool) -> Any:
        for place in range(self._at, len(self._text)):
            char = self._text[place]
            if self._in_string:
                if char < " ":
                    return self._pour(place)
                self._in_string = self._escaped or char != '"'
                self._escaped = not self._escaped and char == "\\"
                continue
            if char not in _OUTSIDE_STRINGS:
                return self._pour(place)
            self._in_string = char == '"'
            self._depth += (char in "{[") - (char in "}]")
            if self._depth == 0:
                self._pour(place)
                self._scan, self._at_line = place + 1, False
                return self._behind if _is_strict(self._text[self._object : place + 1]) else None
        self._pour(len(self._text))
        if not done:
            raise _More
        return None

    def _pour(self, end: int) -> None:
        text = self._text[self._at : end]
        self._at = end
        if text:
            self.calls[-1].arguments += text
            self._pieces.append(Piece(len(self.calls) - 1, text))

    def _behind(self, done: bool) -> Any:
        start = self._scan
        lead = _skip(self._text, start)
        if lead == len(self._text):
            return self._at_the_end(done)
        if marker := self._marker_of_line(start, lead, done):
            return self._after(marker, True)
        if marker := _marker_at(self._text, lead, done):
            return self._after(marker, False)
        # A reply that was cut at the word may have lost the colon only.
        word = _OBSERVATION.match(self._text, lead)
        if word is None:
            return None
        if word.end() == len(self._text):
            return self._at_the_end(done)
        marker = self._marker_of_line(lead, word.end(), done)
        return self._after(marker, True) if marker else None

    def _marker_of_line(self, start: int, place: int, done: bool) -> _Marker | None:
        line = self._text.rfind("\n", start, place) + 1
        return _marker_at(self._text, line, done) if line else None

    def _at_the_end(self, done: bool) -> None:
        if not done:
            raise _More
        self._complete()

    def _after(self, marker: _Marker, at_line: bool) -> Any:
        self._scan, self._at_line = marker.end, False
        if marker.label == "thought":
            return self._further
        if marker.label == "action" and at_line:
            self._name_from = marker.end
            return self._name
        if not marker.label.startswith("action"):
            self._complete()
        return None

    def _further(self, done: bool) -> Any:
        marker = self._next_marker(done)
        return self._after(marker, True) if marker else self._at_the_end(done)

    def _complete(self) -> None:
        self.calls[-1].arguments += "}"
        self.calls[-1].complete = True
        self._pieces.append(Piece(len(self.calls) - 1, "}"))

    def _refuse(self) -> Any:
        return None if self.calls else self._as_it_is

    # Markers, and what becomes content.

    def _next_marker(self, done: bool) -> _Marker | None:
        while True:
            if self._at_line:
                marker = _marker_at(self._text, self._scan, done)
                self._at_line = False
                if marker:
                    self._scan = marker.end
                    return marker
            line_end = self._text.find("\n", self._scan)
            if line_end < 0:
                self._scan = len(self._text)
                if done:
                    return None
                raise _More
            self._scan, self._at_line = line_end + 1, True

    def _say(self, end: int) -> None:
        self._tail += self._text[self._said : end]
        self._said = max(self._said, end)

    def _speak(self, whole: bool) -> None:
        """Send the content that is there, but for blanks and for what may be half an escape."""
        if not self._spoke:
            self._tail = self._tail.lstrip()
        ready = self._tail.rstrip()
        if not whole and (begun := _ESCAPE_BEGUN.search(ready)):
            ready = ready[: begun.start()].rstrip()
        self._tail = "" if whole else self._tail[len(ready) :]
        if ready:
            self._spoke = True
            self._pieces.append(Piece(-1, _ESCAPED.sub(r"<tool\1_", ready)))


def _marker_at(text: str, place: int, done: bool) -> _Marker | None:
    if found := _MARKER.match(text, place):
        _await_stars(text, found, 2, done)
        label = re.sub(r"[ \t]", "", found[1].lower())
        return _Marker(label, found.start(), found.end())
    if not done and text.find("\n", place) < 0:
        line = re.sub(r"[ \t*_`]", "", text[place:].lstrip(" \t>*_#`-").lower())
        if any(word.startswith(line) for word in _WORDS):
            raise _More
    return None


def _await_stars(text: str, marker: re.Match[str], group: int, done: bool) -> None:
    if not done and not marker[group] and text[marker.end() :] in ("", "*"):
        raise _More


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _AROUND_OBJECT:
        place += 1
    return place


def _thought(text: str) -> str:
    text = text.strip().removeprefix("```").lstrip()
    found = _MARKER.match(text)
    return text[found.end() if found and found[1].lower() == "thought" else 0 :].strip()


def _tool_name(written: str, tools: Collection[str]) -> str:
    name = written.strip().partition("\n")[0].rstrip()
    for _ in range(_MAX_WRAPPERS):
        if name in tools:
            return name
        for left, right in _WRAPPERS:
            if (
                len(name) > len(left) + len(right)
                and name.startswith(left)
                and name.endswith(right)
            ):
                name = name[len(left) : -len(right)].strip()
                break
        else:
            break
    bare = name.removesuffix("**").rstrip()
    if bare in tools:
        return bare
    return _spaced(name, tools) or _spaced(bare, tools) or name


def _spaced(name: str, tools: Iterable[str]) -> str:
    """Return the one tool whose name differs in nothing but white space."""
    words = name.split()
    found = [tool for tool in tools if words and tool.split() == words]
    return found[0] if len(found) == 1 else ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        raise ValueError(digits)
    return float(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
)


def _is_strict(text: str) -> bool:
    """Whether a text is one JSON object, of what JSON knows and can be stored."""
    try:
        value, end = _DECODER.raw_decode(text)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
    return end == len(text) and not any(isinstance(node, (dict, list)) for node in level)


def _children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def safe_name(name: str) -> str:
    """Return the name by which clients that take letters, digits, _ and - alone call a tool."""
    if _SAFE.fullmatch(name) and not _MADE.search(name):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    text = re.sub(r"[^a-zA-Z0-9_-]+", "_", plain).strip("_")
    return f"{text[:54] or 'tool'}__{digest}"


@lru_cache(maxsize=4)
def _true_names(tokenizer: Any) -> Mapping[str, str]:
    """Return how clients may call the tools of a model's toolkens -> their true names."""
    tokens = [token for token in tokenizer.get_added_vocab() if token.startswith("<tool_")]
    names = [token[6:-1] for token in tokens if token.endswith(">") and len(token) > 7]
    return {safe_name(name): name for name in names} | {name: name for name in names}


class ToolkenParser(ToolParser):  # type: ignore[misc]
    """The tool parser: ``vllm serve … --tool-call-parser toolken``."""

    # vLLM's own way of forcing a call is a form that the model never learned.
    supports_required_and_named = False
    # So vLLM takes the content from here, and asks for what is left at the end of a stream.
    engine_based_streaming = True

    def __init__(self, tokenizer: Any, tools: Any = None) -> None:
        super().__init__(tokenizer, tools)
        self._reader: ReplyReader | None = None
        self._called: Mapping[str, str] = {}

    def adjust_request(self, request: Any) -> Any:
        """Bind a reply that must be a call to the form of one, and to the tool's schema."""
        if not request.tools or not (request.tool_choice == "required" or _named(request)):
            return request
        functions = {one.name: one.parameters for one in map(_function, self.tools)}
        learned = set(_true_names(self.model_tokenizer).values())
        # Tools that the model never learned are described in the prompt by their names.
        written = {
            tool: f"<tool_{tool}>" if tool in learned else tool for tool in self._offered(request)
        }
        forms = [
            {
                "type": "sequence",
                "elements": [
                    {"type": "const_string", "value": f"Action: {written[tool]}\nAction Input: "},
                    {
                        "type": "json_schema",
                        "json_schema": functions[called] or {"type": "object"},
                    },
                ],
            }
            for tool, called in self._offered(request).items()
        ]
        if forms:
            form = forms[0] if len(forms) == 1 else {"type": "or", "elements": forms}
            tag = json.dumps({"type": "structural_tag", "format": form})
            request.structured_outputs = StructuredOutputsParams(structural_tag=tag)
            setattr(request, "response_format" if hasattr(request, "messages") else "text", None)
        return request

    def _offered(self, request: Any) -> dict[str, str]:
        """Return the true name of each tool that may be called -> how the client calls it."""
        if request.tool_choice == "none":
            return {}
        named = _named(request)
        true = _true_names(self.model_tokenizer)
        names = [one.name for one in map(_function, self.tools) if named in ("", one.name)]
        return {true.get(name, name): name for name in names}

    def extract_tool_calls(self, model_output: str, request: Any) -> ExtractedToolCallInformation:
        """Read a whole reply."""
        called = self._offered(request)
        reader = ReplyReader(called)
        pieces = reader.feed(model_output) + reader.finish()
        content = "".join(piece.text for piece in pieces if piece.call < 0)
        read = reader.calls
        if not all(call.complete for call in read):
            read, content = [], _ESCAPED.sub(r"<tool\1_", model_output.strip())
        calls = [
            ToolCall(function=FunctionCall(name=called[call.tool], arguments=call.arguments))
            for call in read
        ]
        # vLLM 0.29 takes the content from here only where calls are said to be there.
        return ExtractedToolCallInformation(
            tools_called=bool(calls) or content != model_output,
            tool_calls=calls,
            content=content or None,
        )

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> DeltaMessage | None:
        """Read on with ``delta_text``; all else that is given can be known from before."""
        if self._reader is None:
            self._called = self._offered(request)
            self._reader = ReplyReader(self._called)
        return self._message(self._reader.feed(delta_text))

    def finish_streaming(self) -> DeltaMessage | None:
        """Return what waited for the end of the stream."""
        return self._message(self._reader.finish()) if self._reader else None

    def _message(self, pieces: Iterable[Piece]) -> DeltaMessage | None:
        content = ""
        deltas: list[DeltaToolCall] = []
        for piece in pieces:
            if piece.call < 0:
                content += piece.text
                continue
            if piece.tool:
                deltas.append(self._begun(piece))
                continue
            if not deltas or deltas[-1].index != piece.call:
                function = DeltaFunctionCall(arguments="")
                deltas.append(DeltaToolCall(index=piece.call, function=function))
            deltas[-1].function.arguments += piece.text
            self.streamed_args_for_tool[piece.call] += piece.text
            self.prev_tool_call_arr[piece.call]["arguments"] += piece.text
        if not content and not deltas:
            return None
        return DeltaMessage(content=content or None, tool_calls=deltas)

    def _begun(self, piece: Piece) -> DeltaToolCall:
        name = self._called[piece.tool]
        self.current_tool_id, self.current_tool_name_sent = piece.call, True
        self.prev_tool_call_arr.append({"name": name, "arguments": ""})
        self.streamed_args_for_tool.append("")
        return DeltaToolCall(
            index=piece.call,
            id=f"call_{uuid.uuid4().hex}",
            type="function",
            function=DeltaFunctionCall(name=name, arguments=""),
        )


def _function(tool: Any) -> Any:
    """Return what has a tool's name: in chats it is within, in responses it is the tool."""
    return getattr(tool, "function", tool)


def _named(request: Any) -> str:
    """Return the one tool that a request asks for; empty: it leaves that to the model."""
    name = getattr(_function(request.tool_choice), "name", "")
    return name if isinstance(name, str) else ""


ToolParserManager.register_module(NAME, module=ToolkenParser)
