"""The server of a model in Ray Serve LLM that lets vLLM know the model's own tool parser.

Ray 2.60 hands ``tool_parser_plugin`` on to vLLM, which reads it in its own command line alone.
"""

from __future__ import annotations

from typing import Any

from ray.serve.llm import LLMConfig, LLMServer


class ToolkenServer(LLMServer):
    """Registers the parser in the process that reads replies, before its engine starts."""

    async def __init__(self, llm_config: LLMConfig, **options: Any) -> None:
        # Not where the application is put together, which has no GPU.
        from vllm.tool_parsers import ToolParserManager

        ToolParserManager.import_tool_parser(llm_config.engine_kwargs["tool_parser_plugin"])
        await super().__init__(llm_config, **options)
