"""What a run has spent: by its journal, by the prices of its models, by earlier stages."""

from __future__ import annotations

import asyncio
import json

import pytest

from ste_ray.core.effects import AskModel, CallTool, ModelReply, Sampling, ToolResult
from ste_ray.core.limits.budget import Bounds, Spending
from ste_ray.core.limits.config import BudgetConfig, BudgetLimits
from ste_ray.core.records import Fault, Message
from ste_ray.llm.config import LLMConfig, PriceConfig
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint
from ste_ray.runtime import journal, segments
from ste_ray.runtime.journal import SegmentJournal
from ste_ray.stages.shared.spending import (
    RoleCosts,
    bounds_of,
    open_budget,
    recorded_spending,
    spent_by_other_stages,
)
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import StageManifest, write_manifest

OWN_PRICES = LLMConfig(
    prices={
        "own": PriceConfig(input_usd=2, output_usd=8, cached_input_usd=0.5),
        "gpt-4o": PriceConfig(input_usd=100, output_usd=100),
    }
)


def costs(config: LLMConfig = OWN_PRICES, **models: str) -> RoleCosts:
    url = "http://localhost/v1"
    roles = {role: RoleEndpoint(base_url=url, model=model) for role, model in models.items()}
    return RoleCosts(Endpoints.model_validate({"roles": roles}), config)


def entry(scope: str = "s", step: int = 0, by: str = "a", **fields):
    """A journal entry as it is read back; a reply of 10 + 5 tokens."""
    answer = {"text": "t", "prompt_tokens": 10, "completion_tokens": 5, **fields.pop("answer", {})}
    made = {"scope": scope, "step": step, "hash": "h", "by": by, "kind": "model"}
    return {**made, "role": "explorer", "answer": answer, **fields}


def free(role: str, prompt: int, cached: int, completion: int) -> float:
    return 0.0


def spent(*entries) -> dict[str, Spending]:
    return recorded_spending(entries, free)


class TestRoleCosts:
    def test_each_role_costs_what_its_model_does(self):
        usd = costs(explorer="own", judge="gpt-4o-mini")
        assert usd("explorer", 1_000_000, 0, 0) == 2
        assert usd("explorer", 0, 0, 1_000_000) == 8
        assert usd("judge", 1_000_000, 0, 1_000_000) == pytest.approx(0.15 + 0.6)

    def test_the_users_price_goes_before_the_table(self):
        assert costs(explorer="gpt-4o")("explorer", 1_000_000, 0, 0) == 100
        assert costs(LLMConfig(), explorer="gpt-4o")("explorer", 1_000_000, 0, 0) == 2.5

    def test_cached_tokens_have_their_own_price_where_there_is_one(self):
        usd = costs(explorer="own", judge="gpt-4o")
        assert usd("explorer", 1_000_000, 400_000, 0) == pytest.approx(0.6 * 2 + 0.4 * 0.5)
        assert usd("judge", 1_000_000, 400_000, 0) == 100

    def test_an_unknown_price_and_an_unknown_role_cost_nothing(self):
        usd = costs(explorer="nobody-knows-it", judge="own")
        assert usd("explorer", 1_000_000, 0, 1_000_000) == 0
        assert usd("scorer", 1_000_000, 0, 1_000_000) == 0
        assert usd("", 1_000_000, 0, 1_000_000) == 0


class TestRecordedSpending:
    def test_nothing_recorded_is_nothing_spent(self):
        assert spent() == {}

    def test_replies_are_summed_by_account(self):
        found = spent(
            entry("one", 0, account="add"),
            entry("one", 2, account="add"),
            entry("two", 0, account="subtract"),
            entry("judging", 0),
        )
        assert found == {
            "add": Spending(tokens=30, calls=2),
            "subtract": Spending(tokens=15, calls=1),
            "": Spending(tokens=15, calls=1),
        }

    def test_calls_of_tools_cost_nothing(self):
        call = {"scope": "s", "step": 1, "hash": "h", "by": "a"}
        answered = {**call, "kind": "tool", "answer": {"status": "ok", "text": ""}}
        assert spent(call, answered) == {}

    def test_an_entry_that_comes_twice_is_counted_once(self):
        one, other = entry("s", 0, account="add"), entry("s", 1, account="add")
        assert spent(one, other, one, dict(one), other) == {"add": Spending(tokens=30, calls=2)}

    def test_only_the_same_place_by_the_same_writer_is_the_same_entry(self):
        # Two writers that both asked were both paid for, though only one answer counts.
        entries = [entry("s", 0, "a"), entry("s", 0, "b"), entry("s", 1, "a"), entry("x", 0, "a")]
        assert spent(*entries) == {"": Spending(tokens=60, calls=4)}

    def test_entries_without_a_writer_are_told_apart_by_their_place(self):
        entries = [entry("s", 0), entry("s", 1), entry("s", 0)]
        for one in entries:
            del one["by"]
        assert spent(*entries) == {"": Spending(tokens=30, calls=2)}

    def test_cost_is_by_role_with_cached_tokens(self):
        tokens = {"prompt_tokens": 1000, "cached_tokens": 400, "completion_tokens": 100}
        entries = [
            entry(step=0, answer=tokens),
            entry(step=1, answer=tokens, role="judge"),
            entry(step=2, answer=tokens, role="scorer"),
        ]
        found = recorded_spending(entries, costs(explorer="own", judge="gpt-4o"))[""]
        own, judge = (600 * 2 + 400 * 0.5 + 100 * 8) / 1e6, 1100 * 100 / 1e6
        assert found.usd == pytest.approx(own + judge)
        assert (found.tokens, found.calls) == (3300, 3)

    @pytest.mark.parametrize(
        ("answer", "calls"),
        [
            ({}, 1),
            ({"faults": [{"kind": "server_error"}, {"kind": "timeout"}]}, 3),
            ({"faults": [{"kind": "connection"}, {"kind": "bad_reply"}]}, 3),
            ({"faults": [{"kind": "rate_limited"}] * 9}, 1),  # refused, not tried
            ({"finish_reason": "length", "faults": [{"kind": "length"}]}, 1),
            ({"finish_reason": "failed", "faults": [{"kind": "timeout"}, {"kind": "failed"}]}, 1),
        ],
    )
    def test_every_request_that_was_sent_counts_as_a_call(self, answer, calls):
        assert spent(entry(answer=answer))[""].calls == calls

    def test_an_answer_without_counts_of_tokens_is_a_call(self):
        one = entry()
        one["answer"] = {"text": "t"}
        assert spent(one) == {"": Spending(calls=1)}

    def test_reads_what_the_journal_wrote(self, tmp_path):
        store = open_store(str(tmp_path / "run"))
        segments.seal(store, "j", 1)
        ask = AskModel(
            role="judge",
            messages=(Message(role="user", content="q"),),
            sampling=Sampling(),
            account="add",
        )
        reply = ModelReply(
            text="a",
            prompt_tokens=1000,
            cached_tokens=400,
            completion_tokens=100,
            faults=(Fault(kind="timeout"),),
        )
        call = CallTool(tool="add", arguments_json="{}", account="add")

        async def main() -> None:
            writing = SegmentJournal(store, "j", epoch=1, writer="a", flush_seconds=1)
            await writing.record("s", 0, ask, reply)
            await writing.intend("s", 1, call)
            await writing.record("s", 1, call, ToolResult(status="ok", text=""))
            await writing.close()

        asyncio.run(main())
        # As if a merge had ended before it deleted what it merged.
        written = segments.accepted(store, "j")
        merged = b"".join(store.read_bytes(segment.path) for segment in written)
        path = segments.segment_path("j", 1, segments.MERGER, 0, journal.EXTENSION)
        store.write_bytes(path, merged)
        entries = list(journal.iter_entries(store, "j"))
        assert len(entries) == 6
        found = recorded_spending(entries, costs(judge="own"))
        assert found == {"add": Spending(usd=pytest.approx(0.0022), tokens=1100, calls=2)}


def finish(store: RunStore, stage: str, **counts) -> None:
    manifest = StageManifest(
        stage=stage,
        config={},
        config_fingerprint="c",
        code_version="0",
        started_at=0,
        seconds=1,
        seed=0,
        counts=counts,
    )
    write_manifest(store, manifest)


class TestOtherStages:
    def test_nothing_is_spent_where_nothing_is_finished(self, tmp_path):
        assert spent_by_other_stages(open_store(str(tmp_path / "run")), "explore") == Spending()

    def test_sums_what_the_others_spent(self, tmp_path):
        store = open_store(str(tmp_path / "run"))
        finish(store, "explore", spent={"usd": 1.5, "tokens": 100, "calls": 10}, episodes=4)
        finish(store, "prepare", spent={"usd": 0.25, "tokens": 30, "calls": 3})
        finish(store, "train", steps=7)
        finish(store, "evaluate", spent={"usd": 0.125, "tokens": 1, "calls": 1})
        assert spent_by_other_stages(store, "prepare") == Spending(1.625, 101, 11)
        assert spent_by_other_stages(store, "explore") == Spending(0.375, 31, 4)
        assert spent_by_other_stages(store, "infer") == Spending(1.875, 131, 14)

    def test_a_stage_that_is_not_finished_does_not_count(self, tmp_path):
        store = open_store(str(tmp_path / "run"))
        store.write_bytes("prepare/started.json", json.dumps({"stage": "prepare"}).encode())
        finish(store, "explore", spent={"usd": 1.0, "tokens": 1, "calls": 1})
        assert spent_by_other_stages(store, "infer") == Spending(1.0, 1, 1)


class TestOpenBudget:
    def test_goes_on_from_what_was_spent(self):
        config = BudgetConfig(max_calls=10, per_tool=BudgetLimits(max_tokens=100))
        budget = open_budget(config, {"add": Spending(tokens=95, calls=4)}, Spending(calls=5))
        assert budget.spent == Spending(tokens=95, calls=9)
        assert budget.reserve("add", Spending(tokens=6, calls=1)) == "exhausted"
        assert "budget.per_tool.max_tokens=100" in budget.why("add")
        assert budget.reserve("subtract", Spending(tokens=6, calls=1)) == "granted"
        assert budget.reserve("subtract", Spending(tokens=6, calls=1)) == "wait"

    def test_bounds_are_those_of_the_configuration(self):
        limits = BudgetLimits(max_usd=1.5, max_tokens=2, max_calls=3)
        assert bounds_of(limits) == Bounds(max_usd=1.5, max_tokens=2, max_calls=3)
        assert not bounds_of(BudgetLimits()).limited
