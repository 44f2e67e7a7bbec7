"""Calls endpoints behind a ToolBench server, or a StableToolBench one.

Both take a POST with the names of category, tool and endpoint and the arguments, and answer
``{"error": …, "response": …}``. The hosted form wants the arguments as a JSON text; the stable form
keeps its answers under the arguments as they come, so they are sent with sorted keys. What a
server answers is shown as text and never evaluated. A StableToolBench server lets a model answer
where it has nothing better, and does not say when: all its answers count as simulated.

Source of the form: the clients and servers of the public ToolBench and StableToolBench projects.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any, Literal

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.executor import ToolCall, cut_text
from ste_ray.tools.http.client import (
    BlockedAddressError,
    HttpCall,
    HttpClient,
    HttpFailureError,
    HttpReply,
)
from ste_ray.tools.http.results import reply_result
from ste_ray.tools.kinds import ToolbenchEndpoint
from ste_ray.tools.secrets import Secrets, references
from ste_ray.tools.toolbench.names import (
    standard_arguments,
    standard_category,
    standard_endpoint,
    standard_tool,
)

ServerForm = Literal["hosted", "stable"]

_PATHS = {"hosted": "/rapidapi", "stable": "/virtual"}
_STRIP = "truncate"  # a long answer is cut, none of its fields is left out
_ENVELOPE_BYTES = 65_536
_BYTES_PER_CHAR = 6  # a character may come as a JSON escape


class ToolbenchExecutor:
    """Fulfils ``Executor`` for tools of kind ``toolbench``.

    Args:
        client: sends the requests; closed with the executor.
        secrets: looked up at each call.
        url: of the server (``tools.toolbench_url``); without a path, that of its form is added.
        form: which of the two servers it is (``tools.toolbench_form``).
    """

    def __init__(self, client: HttpClient, secrets: Secrets, url: str, form: ServerForm) -> None:
        self._client = client
        self._secrets = secrets
        self._form = form
        self._url = _full_url(url, form)

    async def call(self, call: ToolCall) -> ToolResult:
        """See ``Executor``."""
        started = time.monotonic()
        result = await self._send(call.spec, self._request(call))
        return result.model_copy(update={"seconds": time.monotonic() - started})
