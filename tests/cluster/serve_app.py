"""Puts together what a RayService is given, with Ray's own classes; a process of its own.

vLLM's modules are those that were fetched, the rest of it stand-ins, which should stay with nobody.
Standard input: the service's ``serveConfigV2``. Arguments: the folder of its module, and the file
that stands for the model's tool parser. Standard output: JSON of what came of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import yaml

from tests.vllm_modules import vllm_modules
from tests.vllm_wheel import VERSIONS


class Engine:
    """Stands for vLLM's, and looks which tool parsers there are when it starts."""

    seen: tuple[str, ...] = ()

    def __init__(self, _: Any) -> None:
        pass

    async def start(self) -> None:
        from vllm.tool_parsers import ToolParserManager

        Engine.seen = tuple(ToolParserManager.list_registered())


async def served(config: Any, plugin: str) -> dict[str, Any]:
    from ray.serve.llm import LLMServer, LLMServingArgs
    from ray.serve.schema import ServeDeploySchema

    deployed = ServeDeploySchema.model_validate(config)
    (application,) = deployed.applications
    (model,) = LLMServingArgs.model_validate(application.args).llm_configs
    assert issubclass(model.server_cls, LLMServer)
    named = model.engine_kwargs["tool_parser_plugin"]
    model.engine_kwargs["tool_parser_plugin"] = plugin
    server = model.server_cls.__new__(model.server_cls)  # as Ray Serve makes one
    await server.__init__(model, engine_cls=Engine)  # type: ignore[misc]
    return {
        "builder": application.import_path,
        "source": model.model_loading_config.model_source,
        "plugin": named,
        "parser": model.engine_kwargs["tool_call_parser"],
        "parsers": Engine.seen,
    }


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    with vllm_modules(VERSIONS[0]):
        found = asyncio.run(served(yaml.safe_load(sys.stdin), sys.argv[2]))
    sys.stdout.write(json.dumps(found))
