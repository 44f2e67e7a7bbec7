"""Whether two argument objects mean the same, where no rule can tell: what the scorer is asked.

It is asked only of calls whose rules left nothing but free texts open (``Score.undecided``), and
its verdict is three-valued.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.scoring.asking import Question
from ste_ray.core.tool_specs import ToolSpec

Equivalence = Literal["same", "different", "unsure"]
EQUIVALENCE = Question(get_args(Equivalence), again="score_again")


@dataclass(frozen=True)
class Pair:
    """Two argument objects of one tool that a request was answered with.

    Attributes:
        tool: name of the tool.
        query: the request.
        gold_json: the right arguments, as canonical JSON.
        predicted_json: the arguments of the call.
        names: of the arguments that differ.
    """

    tool: str
    query: str
    gold_json: str
    predicted_json: str
    names: tuple[str, ...]


def scoring_prompt(pair: Pair, spec: ToolSpec, prompts: PromptSet) -> str:
    """Return what the scorer is asked; with the model it is the identity of a verdict."""
    return prompts.render(
        "score",
        tool=describe_tool(spec),
        query=pair.query,
        gold=pair.gold_json,
        predicted=pair.predicted_json,
        names=", ".join(pair.names),
    )
