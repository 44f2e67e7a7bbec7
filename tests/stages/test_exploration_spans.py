"""Spans of an exploration: their names and attributes, and how they reach a collector."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from local_fleet import CALLS_PER_TRIAL, ENDPOINT, Model, Run
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, server_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.trace import SpanKind, StatusCode

from ste_ray.config import load_config
from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.records import Message
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.actors import open_collector
from ste_ray.stages.tracking.otlp import Collector
from ste_ray.stages.tracking.spans import ExplorationSpans
from ste_ray.store.artifacts import open_store

OWN = "ste."
KNOWN = {
    value
    for module in (gen_ai_attributes, server_attributes, error_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
OPERATIONS = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
PROVIDERS = {one.value for one in gen_ai_attributes.GenAiProviderNameValues}


def kept_spans(endpoints: Endpoints | None = None) -> tuple[ExplorationSpans, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    endpoints = endpoints or Endpoints(roles={"explorer": ENDPOINT})
    return ExplorationSpans(provider, endpoints, "my-run"), exporter


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[ReadableSpan]]:
    """An exploration of one explorer, and its spans."""
    run = Run(tmp_path_factory.mktemp("traced"), num_tools=2)
    spans, exporter = kept_spans()
    fleet = run.fleet("explore.num_explorers=1")
    fleet.open_spans = lambda *_: spans
    run.explore(fleet)
    return run, list(exporter.get_finished_spans())


def of(spans: list[ReadableSpan], operation: str) -> list[ReadableSpan]:
    return [one for one in spans if (one.attributes or {})["gen_ai.operation.name"] == operation]


def test_each_episode_is_a_trace_with_all_that_was_asked_and_called(explored: Any) -> None:
    run, spans = explored
    agents, chats, calls = (of(spans, one) for one in ("invoke_agent", "chat", "execute_tool"))
    assert len(agents) == 2 * 2  # tools, episodes
    assert len(chats) == len(run.model.asked) == 2 * 2 * 2 * CALLS_PER_TRIAL
    assert len(calls) == 2 * 2 * 2
    assert len(spans) == len(agents) + len(chats) + len(calls)
    by_id = {one.context.span_id: one for one in agents}
    assert len({one.context.trace_id for one in agents}) == len(agents)
    for one in [*chats, *calls]:
        agent = by_id[one.parent.span_id]
        assert one.attributes["gen_ai.conversation.id"] == agent.attributes[
            "gen_ai.conversation.id"
        ]  # fmt: skip
        assert agent.start_time <= one.start_time <= one.end_time <= agent.end_time
    assert {one.attributes["gen_ai.tool.name"] for one in calls} == set(run.tools)


def test_names_and_attributes_are_those_of_the_conventions(explored: Any) -> None:
    _, spans = explored
    for one in spans:
        others = {name for name in one.attributes if not name.startswith(OWN)}
        assert others <= KNOWN
        assert one.attributes["gen_ai.operation.name"] in OPERATIONS
    agent, chat, call = (of(spans, one)[0] for one in ("invoke_agent", "chat", "execute_tool"))
    assert agent.name == "invoke_agent explorer"
    assert agent.kind is SpanKind.INTERNAL
    assert agent.attributes["gen_ai.agent.name"] == "explorer"
    assert agent.attributes["ste.run"] == "my-run"
    assert (agent.attributes["ste.trials"], agent.attributes["ste.trials_solved"]) == (2, 2)
    assert chat.name == "chat m"
    assert chat.kind is SpanKind.CLIENT
    assert {name: chat.attributes[name] for name in (
        "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model",
        "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "server.address", "server.port",
        "ste.role",
    )} == {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "server.address": "127.0.0.1",
        "server.port": 9,
        "ste.role": "explorer",
    }  # fmt: skip
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert chat.attributes["gen_ai.request.max_tokens"] > 0
    assert call.name == f"execute_tool {call.attributes['gen_ai.tool.name']}"
    assert call.kind is SpanKind.INTERNAL
    assert call.attributes["gen_ai.tool.type"] == "function"
    assert all(one.status.status_code is StatusCode.UNSET for one in spans)


def test_no_text_is_in_a_span(explored: Any) -> None:
    _, spans = explored
    written = "".join(one.to_json() for one in spans)
    for text in ("Store record", "Thought: try", "It is stored", "Stores a record"):
        assert text not in written


def test_what_is_replayed_has_no_spans(explored: Any) -> None:
    run, _ = explored
    run.store.delete_folder("explore/parts")  # only the journal is left
    spans, exporter = kept_spans()
    fleet = run.fleet("explore.num_explorers=1")
    fleet.open_spans = lambda *_: spans
    assert run.explore(fleet).counts["replayed"] > 0
    assert {one.name for one in exporter.get_finished_spans()} <= {"invoke_agent explorer"}


def test_providers_are_named_as_the_conventions_do() -> None:
    for provider in ("compatible", "openai", "azure", "bedrock"):
        endpoint = RoleEndpoint(base_url="https://host/v1", model="m", provider=provider)
        (span,) = traced(ModelReply(text="x"), Endpoints(roles={"explorer": endpoint}))
        assert span.attributes["gen_ai.provider.name"] in PROVIDERS
        assert span.attributes["server.port"] == 443


def traced(answer: ModelReply | Exception, endpoints: Endpoints | None = None) -> Any:
    """Ask a model that answers so, and return the spans."""
    spans, exporter = kept_spans(endpoints)

    class Chat:
        async def __aenter__(self) -> Chat:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def ask(self, _: AskModel) -> ModelReply:
            if isinstance(answer, Exception):
                raise answer
            return answer

    async def ask() -> None:
        chat = spans.chat(lambda *_, **__: Chat())(Endpoints(roles={}), None)
        request = AskModel(
            role="explorer",
            messages=(Message(role="user", content="hi"),),
            sampling=Sampling(stop=("Observation:",)),
        )
        async with chat as opened:
            with contextlib.suppress(RuntimeError):
                assert await opened.ask(request) is answer

    asyncio.run(ask())
    return exporter.get_finished_spans()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ModelReply(text="x"), None),
        (ModelReply(text="x", finish_reason="length"), None),
        (ModelReply(text="", finish_reason="context_overflow"), "context_overflow"),
        (ModelReply(text="", finish_reason="failed"), "failed"),
        (RuntimeError("the key sk-secret is refused"), "RuntimeError"),
    ],
)
def test_what_went_wrong_is_told_by_its_kind(answer: Any, kind: str | None) -> None:
    (span,) = traced(answer)
    assert span.attributes.get("error.type") == kind
    assert (span.status.status_code is StatusCode.ERROR) == (kind is not None)
    assert "sk-secret" not in span.to_json()
    assert span.attributes["gen_ai.request.stop_sequences"] == ("Observation:",)


def test_counts_that_an_endpoint_tells_are_told() -> None:
    reply = ModelReply(
        text="x", model="m-1", prompt_tokens=9, cached_tokens=4, completion_tokens=7,
        reasoning_tokens=3,
    )  # fmt: skip
    (span,) = traced(reply)
    assert set(span.attributes) <= KNOWN | {"ste.role"}
    assert span.attributes["gen_ai.usage.cache_read.input_tokens"] == 4
    assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == 3


@pytest.mark.parametrize(
    ("status", "kind"), [("ok", None), ("error", "error"), ("timeout", "timeout")]
)
def test_a_call_that_failed_is_told_by_its_status(status: Any, kind: str | None) -> None:
    spans, exporter = kept_spans()

    class Tools:
        async def call(self, _: CallTool) -> ToolResult:
            return ToolResult(status=status, text="what it said")

    asyncio.run(spans.tools(Tools()).call(CallTool(tool="t", arguments_json='{"a": "secret"}')))
    (span,) = exporter.get_finished_spans()
    assert span.attributes.get("error.type") == kind
    assert span.attributes["ste.observation_source"] == "called"
    assert "secret" not in span.to_json()
    assert "what it said" not in span.to_json()


class _Collector(BaseHTTPRequestHandler):
    """An OTLP collector that keeps what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        self.server.received.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A collector, whose address stands in the environment."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    server.received, server.status = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a-key")
    yield server
    server.shutdown()
    server.server_close()


def tracking_context(tmp_path: Path, *track: str) -> StageContext:
    config = load_config(None, [f"track=[{','.join(track)}]"])
    return StageContext(config, open_store(str(tmp_path / "my-run")), print)


def test_spans_reach_the_collector_that_the_environment_names(
    tmp_path: Path, collector: Any
) -> None:
    run = Run(tmp_path / "run", num_tools=1)
    fleet = run.fleet("explore.num_explorers=1")
    open_spans = open_collector(tracking_context(tmp_path, "otel", "wandb"))
    assert open_spans is not None
    fleet.open_spans = pickle.loads(pickle.dumps(open_spans))  # it travels to explorers
    run.explore(fleet)
    names, services = set(), set()
    for path, headers, body in collector.received:
        assert path == "/v1/traces"
        assert headers["x-key"] == "a-key"
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            services |= {
                one.value.string_value
                for one in group.resource.attributes
                if one.key == "service.name"
            }
            names |= {span.name for scope in group.scope_spans for span in scope.spans}
    assert names == {"invoke_agent explorer", "chat m", "execute_tool tool_0"}
    assert services == {"ste-ray"}
    assert not [line for line in run.said if "spans" in line]


def test_a_collector_that_refuses_is_said_once_and_the_exploration_goes_on(
    tmp_path: Path, collector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    collector.status = 400
    run = Run(tmp_path / "run", num_tools=2)
    fleet = run.fleet("explore.num_explorers=1")
    fleet.open_spans = open_collector(tracking_context(tmp_path, "otel"))
    assert run.explore(fleet).tools_done == 2
    assert len(collector.received) > 1
    (line,) = (line for line in run.said if "spans cannot be sent" in line)
    assert line.startswith("explorer-0000: spans cannot be sent (the collector did not take them)")


def test_what_cannot_send_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    endpoints = Endpoints(roles={"explorer": ENDPOINT})
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    assert Collector.of("r", {}).open(endpoints, said.append) is None
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' must be one of" in said.pop()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert Collector.of("r", {}).open(endpoints, said.append) is None
    assert "opentelemetry-exporter-otlp-proto-grpc is not installed" in said.pop()


def test_a_service_that_the_environment_names_keeps_its_name(
    monkeypatch: pytest.MonkeyPatch, collector: Any
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    spans = Collector.of("r", {}).open(Endpoints(roles={}), print)
    assert spans is not None
    with spans.episode("t", 0, "scope"):
        pass
    spans.close()
    ((_, _, body),) = collector.received
    (group,) = ExportTraceServiceRequest.FromString(body).resource_spans
    found = {one.key: one.value.string_value for one in group.resource.attributes}
    assert found["service.name"] == "mine"


def test_only_otel_makes_spans_and_secrets_are_not_shown(tmp_path: Path) -> None:
    assert open_collector(tracking_context(tmp_path, "wandb")) is None
    shown = repr(Collector.of("r", {"OTEL_EXPORTER_OTLP_HEADERS": "key=secret", "PATH": "/bin"}))
    assert "secret" not in shown
    assert "PATH" not in shown


def test_a_model_that_explores_untraced_is_asked_the_same(tmp_path: Path, explored: Any) -> None:
    run = Run(tmp_path, Model(), num_tools=2)
    run.explore(run.fleet("explore.num_explorers=1"))
    assert run.episodes() == explored[0].episodes()
