"""Calls endpoints behind a ToolBench server, or a StableToolBench one.

Both take a POST with the names of category, tool and endpoint and the arguments, and answer
``{"error": …, "response": …}``. The hosted form wants the arguments as a JSON text; the stable form
keeps its answers under the arguments as they come, so they are sent with sorted keys. What a
server answers is shown as text and never evaluated. A StableToolBench server lets a model answer
where it has nothing better, and does not say when: all its answers count as simulated.

Source of the form: the clients and servers of the public ToolBench and StableToolBench projects.
"""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from collections.abc import Sequence
from typing import Any, Literal

from ste_ray.core.effects import ToolResult
from ste_ray.core.executor_specs import ToolbenchEndpoint
from ste_ray.core.records import ObservationSource
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import HttpCall, HttpClient
from ste_ray.tools.http.executor import RequestExecutor
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets, used_secrets
from ste_ray.tools.toolbench.names import (
    standard_arguments,
    standard_category,
    standard_endpoint,
    standard_tool,
)

ServerForm = Literal["hosted", "stable"]

_PATHS = {"hosted": "/rapidapi", "stable": "/virtual"}
_STRIP = "truncate"  # a long answer is cut, none of its fields is left out
_NO_ERROR: tuple[Any, ...] = ("", None, False, {}, [])


class ToolbenchExecutor(RequestExecutor):
    """Fulfils ``Executor`` for tools of kind ``toolbench``.

    Args:
        client: sends the requests; closed with the executor.
        secrets: looked up at each call.
        url: of the server (``tools.toolbench_url``); where it has no path, its form's is added.
        form: which of the two servers it is (``tools.toolbench_form``).
    """

    def __init__(self, client: HttpClient, secrets: Secrets, url: str, form: ServerForm) -> None:
        super().__init__(client, secrets)
        self._given_url = url
        self._form = form

    def request(self, call: CheckedCall, secrets: Secrets) -> HttpCall:
        """See ``RequestExecutor``."""
        endpoint = call.spec.executor
        assert isinstance(endpoint, ToolbenchEndpoint)
        key = secrets.fill(endpoint.key)
        arguments = dict(sorted(standard_arguments(call.arguments).items()))
        tool_input: Any = arguments
        if self._form == "hosted":
            tool_input = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
        content = {
            "category": standard_category(endpoint.category),
            "tool_name": standard_tool(endpoint.tool_name),
            "api_name": standard_endpoint(endpoint.api_name),
            "tool_input": tool_input,
            "strip": _STRIP,
            "toolbench_key": key,
        }
        body = json.dumps(content, sort_keys=True).encode()
        headers = {"Content-Type": "application/json"}
        return HttpCall("POST", self._url(), (), headers, body)

    async def call(self, call: CheckedCall) -> ToolResult:
        """Call the endpoint; see ``Executor``."""
        kept = call.spec.max_output_chars
        # The answer is found in the whole reply only, which may be longer than what is kept.
        spec = call.spec.model_copy(update={"max_output_chars": 4 * kept + 65_536})
        result = await super().call(dataclasses.replace(call, spec=spec))
        if result.status == "ok":
            source: ObservationSource = "simulated" if self._form == "stable" else "called"
            result = _answer(result).model_copy(update={"source": source})
        return cut_result(result, kept)

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Find what the server could not be asked; it is not called. See ``Executor``."""
        if specs:
            self._url()
        for spec in specs:
            self._verify_one(spec)

    def _verify_one(self, spec: ToolSpec) -> None:
        endpoint = spec.executor
        assert isinstance(endpoint, ToolbenchEndpoint)
        if not endpoint.category.strip():
            raise ToolSpecError(
                f"tool {spec.name!r}: executor.category='' tells the server nothing; write the "
                "category of the tool, such as 'Weather', or import from a folder that has it"
            )
        self._secrets.require(spec.name, used_secrets(spec))

    def _url(self) -> str:
        path = _PATHS[self._form]
        try:
            url = urllib.parse.urlsplit(self._given_url)
        except ValueError:
            url = urllib.parse.SplitResult("", "", "", "", "")
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ToolSpecError(
                f"tools.toolbench_url={self._given_url!r} is not the http or https address of a "
                f"ToolBench server; give tools.toolbench_url=http://host:port{path}"
            )
        return urllib.parse.urlunsplit(url if url.path.strip("/") else url._replace(path=path))


def _answer(result: ToolResult) -> ToolResult:
    """Return what the server says of a call, out of its reply."""
    try:
        reply = json.loads(result.answer)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict) or not {"error", "response"} & reply.keys():
        text = f"the server did not answer in the form of ToolBench: {result.answer}"
        failed = ToolResult(status="error", text=text, seconds=result.seconds, source=result.source)
        return cut_result(failed, len(text), is_part=result.shown_chars is not None)
    error, response = reply.get("error"), _shown(reply.get("response"))
    if error in _NO_ERROR:
        return result.model_copy(update={"text": response})
    text = "\n".join(part for part in (_shown(error), response) if part)
    return result.model_copy(update={"status": "error", "text": text})


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
