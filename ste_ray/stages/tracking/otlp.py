"""Sends spans to a collector by OTLP, as the standard ``OTEL_…`` variables say.

What the exporter cannot send is dropped; that is said once, and nothing else comes of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ste_ray.llm.endpoint import Endpoints
from ste_ray.stages.tracking.spans import ExplorationSpans
from ste_ray.stages.tracking.tracker import NotUsableError

SERVICE = "ste-ray"
_PREFIX = "OTEL_"
_PROTOCOLS = ("http/protobuf", "grpc")
# What these log of each failure, an exporter of a collector that is away repeats for ever.
_LOGGERS = ("opentelemetry.exporter", "opentelemetry.sdk")


@dataclass(frozen=True)
class Collector:
    """Where the spans of a run go; it can be sent to explorers.

    Attributes:
        run: name of the run.
        variables: that say it, of the driver; some may be secret.
    """

    run: str
    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, run: str, environment: Mapping[str, str]) -> Collector:
        """Return the one that an environment names."""
        variables = {n: v for n, v in environment.items() if n.startswith(_PREFIX)}
        return cls(run, variables)

    def open(self, endpoints: Endpoints, say: Callable[[str], None]) -> ExplorationSpans | None:
        """Return what makes spans in this process; None: they cannot be sent, which is said.

        Args:
            endpoints: who answers in which role.
            say: says a line to the person who waits; perhaps from another thread.
        """
        for name, value in self.variables.items():
            os.environ.setdefault(name, value)
        try:
            provider = otlp_provider(
                lambda reason: say(
                    f"spans cannot be sent ({reason}), which is not said again; see the variables "
                    "OTEL_EXPORTER_OTLP_…"
                )
            )
        except NotUsableError as error:
            say(f"no spans are made: {error}")
            return None
        return ExplorationSpans(provider, endpoints, self.run)


def otlp_provider(on_failure: Callable[[str], None]) -> TracerProvider:
    """Return what sends spans in the background, as the environment of this process says.

    Args:
        on_failure: is told once, in another thread, why spans could not be sent.

    Raises:
        NotUsableError: the exporter is not installed, or the protocol is another one.
    """
    exporter = _Watched(_exporter(), on_failure)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    provider = TracerProvider(resource=Resource.create(_service()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter() -> SpanExporter:
    protocol = os.environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", _PROTOCOLS[0]),
    )
    if protocol not in _PROTOCOLS:
        raise NotUsableError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r} must be one of {', '.join(_PROTOCOLS)}"
        )
    try:
        if protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
                OTLPSpanExporter as GrpcExporter,
            )

            over_grpc: SpanExporter = GrpcExporter()
            return over_grpc
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        package = f"opentelemetry-exporter-otlp-proto-{protocol.partition('/')[0]}"
        raise NotUsableError(
            f"{package} is not installed: pip install 'ste-ray[otel]' for http/protobuf, or "
            "that package"
        ) from None
    return OTLPSpanExporter()


def _service() -> dict[str, str]:
    """Return the name of the service, unless the environment has one, which ours would hide."""
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in given:
        return {}
    return {"service.name": SERVICE}


class _Watched(SpanExporter):
    """An exporter whose first failure is told."""

    def __init__(self, exporter: SpanExporter, on_failure: Callable[[str], None]) -> None:
        self._exporter = exporter
        self._on_failure = on_failure
        self._told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        reason = "the collector did not take them"
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            result, reason = SpanExportResult.FAILURE, type(error).__name__
        if result is not SpanExportResult.SUCCESS and not self._told:
            self._told = True
            self._on_failure(reason)
        return result

    def shutdown(self) -> None:
        """End it."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what it holds back."""
        return self._exporter.force_flush(timeout_millis)
