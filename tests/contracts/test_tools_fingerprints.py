"""Tools that earlier versions stored are read as they were, and keep their identity.

The first tools of ``stored/tools.json``, with their fingerprints below, were written by a version
that kept an executor as a mapping of unknown shape. A new kind adds a tool and a line; whoever
changes what stands here makes recordings and journals of all runs useless.
"""

import asyncio
import json
from pathlib import Path

import pytest
from tool_specs import load_tool_specs

from ste_ray.core.effects import CallTool
from ste_ray.core.executor_specs import EXECUTOR_SPECS
from ste_ray.core.records import fingerprint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.store.artifacts import open_store
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run.opening import Simulator, Surroundings, open_toolbox
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.simulation import simulated_specs

STORED = json.loads(Path(__file__).with_name("stored").joinpath("tools.json").read_text("utf-8"))
# Of each tool: its own fingerprint, and that of the tool a model plays in its place.
FINGERPRINTS = {
    "Tides%%Get": ("8db2570b76284ed0", "6b955b5d1b7aae2a"),
    "add days": ("62364934a462aa3e", "9f11010dce463310"),
    "far": ("c2a53ece3d4c8c20", "4bec928ea449162c"),
    "forecast": ("21943d020dd4e5dc", "fd5b8fffe32cbee4"),
    "list files": ("a75f9f7ae33bae5c", "cacbaeae014d5b3d"),
    "meet": ("a37babd18bb0fd18", "1cb16300bd9caddf"),
    "pet": ("7ae655be4e61a457", "3cd3dafb46b18104"),
    "played": ("34e2d9f59e164558", "34e2d9f59e164558"),
    "post note": ("f8f0b644974d7650", "091a7e137c1aed2a"),
    "rapid": ("3845145339d9d6cd", "ae096de16ab512b2"),
    "tide": ("dc7e0ff8818a5ae8", "17313830daf26640"),
    "told": ("adcfddac0d57e84e", "adcfddac0d57e84e"),
}
NO_LINE = ("no line yet", "no line yet")
SHIPPED = {"builtin": "d3e840490bac145e", "general": "c24b40429535ae44"}


@pytest.mark.parametrize("item", STORED, ids=lambda item: item["name"])
def test_a_stored_tool_is_read_as_it_was_and_written_alike(item):
    spec = ToolSpec.model_validate(item)
    assert spec.fingerprint == FINGERPRINTS.get(spec.name, NO_LINE)[0]
    assert spec.model_dump(mode="json") == item
    again = ToolSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.fingerprint == spec.fingerprint


def test_there_is_a_stored_tool_of_each_kind():
    assert {item["executor"]["kind"] for item in STORED} == set(EXECUTOR_SPECS)


@pytest.mark.parametrize("item", STORED, ids=lambda item: item["name"])
def test_each_kind_that_can_be_called_has_what_calls_it(item, tmp_path):
    """A simulated tool included, with what an exploration has for it."""
    spec = ToolSpec.model_validate(item)
    config = ToolsConfig(toolbench_url="http://127.0.0.1:1")
    around = Surroundings(Secrets({}), simulator=Simulator(None, None, open_store(str(tmp_path))))
    toolbox = open_toolbox({spec.name: spec}, config, around)
    shown = {"city": "Rome", "q": "a", "id": ["1"], "note": "n"}
    if spec.executor.can_be_called:
        assert toolbox.preview_of(spec.name, shown)
    else:
        with pytest.raises(ToolSpecError, match="cannot be called"):
            asyncio.run(toolbox.preview(CallTool(tool=spec.name, arguments_json="{}")))
    assert spec.executor.where


@pytest.mark.parametrize("item", STORED, ids=lambda item: item["name"])
def test_a_tool_that_a_model_plays_keeps_its_identity_too(item):
    spec = ToolSpec.model_validate(item)
    played = simulated_specs({spec.name: spec}, "always", Secrets({}))
    assert played[spec.name].fingerprint == FINGERPRINTS.get(spec.name, NO_LINE)[1]


@pytest.mark.parametrize(("name", "expected"), SHIPPED.items())
def test_the_shipped_tools_keep_their_identity(name, expected):
    shipped = Path(__file__).parents[2] / "tool_metadata"
    specs = load_tool_specs([name], shipped=shipped)
    assert fingerprint({name: spec.fingerprint for name, spec in specs.items()}) == expected
