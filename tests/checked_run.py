"""A run with recorded answers for ``serve check``, and an endpoint that replays them, or not."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from ste_ray.core import layout
from ste_ray.core.preparing.formatting import call_text
from ste_ray.core.records import Example, MessageCall, Neighbor, Prediction, Retrieved
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import declare_stage
from ste_ray.store.tables import write_records

ODD = "Tool%%Endpoint [x]"  # no name that function calling takes
TOOLS = ("double", "note", ODD)
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
Call = tuple[str, str] | str  # tool and arguments, or a text
SETTINGS = ("base/retrieved", "tuned/native", "tuned/toolken")

#: Request, right tool, right arguments, what was recorded.
REQUESTS: tuple[tuple[str, str, str, Call], ...] = (
    ("Double 1", "double", '{"n":1}', ("double", '{"n": 1}')),
    ("Double 2", "double", '{"n":2}', ("double", '{"n": 3}')),
    ("Double <tool_note> 4", "double", '{"n":4}', ("double", '{"n":4}')),
    ("Note ü 5", "note", '{"n":5}', ("note", '{"n":5}')),
    ("Odd 6", ODD, '{"n":6}', (ODD, '{"n":6}')),
    ("Odd 7", ODD, '{"n":7}', "I cannot."),
    ("Hello", "", "", "Hello to you."),
    ("How are you?", "", "", ("note", '{"n":0}')),
)


def specs() -> list[ToolSpec]:
    return [
        ToolSpec(
            name=name,
            description=f"Does {name}.",
            parameters=NUMBER,
            executor={"kind": "python", "target": "m:f"},
        )
        for name in TOOLS
    ]


def make_checked_run(folder: Path, setting_names: tuple[str, ...] = SETTINGS) -> RunStore:
    """Make the run; request ``e3`` shows two candidates, the others all tools."""
    store = open_store(str(folder / "run"))
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs()])
    store.write_json(layout.PREPARED_TOOLS, [{"name": name} for name in TOOLS])
    write_records(
        store, layout.part(layout.EXAMPLES, 0), map(_example, range(len(REQUESTS))), Example
    )
    retrieved = [
        Retrieved(
            example_id=f"e{number}",
            tools=tuple(Neighbor(key=name, score=1.0) for name in candidates(number)),
            demonstrations=(),
        )
        for number in range(len(REQUESTS))
    ]
    write_records(store, layout.part(layout.RETRIEVED, 0), retrieved, Retrieved)
    for setting in setting_names:
        name = setting.replace("/", "-")
        found = [recorded(number, setting) for number in range(len(REQUESTS))]
        write_records(store, layout.part(layout.predictions(name), 0), found, Prediction)
        store.write_json(layout.predictions_marker(name), {"queries": len(found)})
    fields = {"infer": {"max_new_tokens": 77, "temperature": 0.0}}
    declare_stage(store, "infer", fields, {}, started_at=0.0)
    return store


def candidates(number: int) -> tuple[str, ...]:
    return TOOLS[1:] if number == 3 else TOOLS


def _example(number: int) -> Example:
    query, tool, arguments, _ = REQUESTS[number]
    return Example(
        example_id=f"e{number}",
        group_id=f"g{number}",
        trial_id="t",
        tool=tool,
        query=query,
        origin="explored" if tool else "general",
        arguments_json=arguments,
        observation="",
        final_answer="",
        split="test",
    )


def recorded(number: int, setting: str, **changes: Any) -> Prediction:
    """What ``infer`` recorded of a request, in the form of the setting."""
    query, tool, arguments, answer = REQUESTS[number]
    native = setting.endswith("native")
    calls: tuple[MessageCall, ...] = ()
    text = answer if isinstance(answer, str) else ""
    if not isinstance(answer, str):
        name, written = answer
        calls = (MessageCall(id="call00001", name=name, arguments_text=written),)
        text = call_text(toolken(name) if setting.endswith("toolken") else name, written)
    fields: dict[str, Any] = {
        "example_id": f"e{number}",
        "setting": setting,
        "tool": tool,
        "query": query,
        "arguments_json": arguments,
        "candidates": TOOLS if setting.endswith("toolken") else candidates(number),
        "output_text": ("" if calls else text) if native else text,
        "native": native,
        "calls": calls if native else (),
    }
    return Prediction.model_validate(fields | changes)


def _spaced(text: str) -> list[str]:
    """Cut a text into pieces of one character, with empty ones between."""
    return [piece for char in text for piece in ("", char)]


@dataclass
class Endpoint:
    """An endpoint that replies to each request as the run recorded it.

    Attributes:
        changed: replies to some requests in the place of those recorded.
        before: is asked first; what it returns is the response.
        calls_in_text: whether calls are written into the text.
        with_usage: whether tokens are told.
        models: that are listed; None: the listing is absent.
        bodies: of the chat requests.
    """

    changed: dict[str, Call] = field(default_factory=dict)
    before: Callable[[int, dict[str, Any]], web.Response | None] = lambda number, body: None
    calls_in_text: bool = False
    with_usage: bool = True
    cut_streams: int = 0
    models: tuple[str, ...] | None = ("served",)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def reply(self, body: dict[str, Any]) -> Call:
        user = body["messages"][-1]["content"].replace("<tool\\_", "<tool_")
        known: dict[str, Call] = {query: answer for query, _, _, answer in REQUESTS}
        return {**known, **self.changed}.get(user, "Say what?")

    async def list_models(self, _: web.Request) -> web.Response:
        if self.models is None:
            return web.Response(status=404)
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        early = self.before(len(self.bodies), body)
        if early is not None:
            return early
        reply = self.reply(body)
        text, calls = (reply, []) if isinstance(reply, str) else ("", [reply])
        if calls and (self.calls_in_text or "tools" not in body):
            text, calls = call_text(*calls[0]), []
        told = [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": safe_name(one), "arguments": given},
            }
            for one, given in calls
        ]
        end = "tool_calls" if calls else "stop"
        usage = {"prompt_tokens": 9, "completion_tokens": 5} if self.with_usage else None
        if body.get("stream"):
            return await self._stream(request, text, told, end, usage)
        message = {"role": "assistant", "content": text or None, "tool_calls": told or None}
        choice = {"index": 0, "message": message, "finish_reason": end}
        return web.json_response({"model": "served", "choices": [choice], "usage": usage})

    async def _stream(
        self, request: web.Request, text: str, calls: list[Any], end: str, usage: Any
    ) -> web.StreamResponse:
        """Stream a reply in nasty pieces: a character a chunk, cut anywhere on the wire."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in _spaced(text)]
        for call in calls:
            function = call["function"]
            head = {**call, "index": 0, "function": {"name": function["name"], "arguments": ""}}
            deltas.append({"tool_calls": [head]})
            deltas += [
                {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
                for piece in _spaced(function["arguments"])
            ]
        chunks: list[Any] = [[{"index": 0, "delta": delta}] for delta in deltas]
        if self.cut_streams:
            self.cut_streams -= 1
            chunks, usage = chunks[: len(chunks) // 2], None
        else:
            chunks.append([{"index": 0, "delta": {}, "finish_reason": end}])
        events = [{"model": "served", "choices": choices} for choices in chunks]
        events += [{"model": "served", "choices": [], "usage": usage}] if usage else []
        lines = [
            ": a comment\r\n\r\n",
            *(f"data: {json.dumps(one, ensure_ascii=False)}\r\n\r\n" for one in events),
        ]
        data, at, draw = "".join([*lines, "data: [DONE]\n\n"]).encode(), 0, random.Random(0)
        while at < len(data):
            size = draw.choice((1, 2, 3, 50, 400))
            await response.write(data[at : at + size])
            at += size
        return response


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Serve it on a free port of loopback, in a thread."""
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/v1/models", endpoint.list_models)
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
