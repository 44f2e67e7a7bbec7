"""What stands in the page, read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html

from . import synthetic

VOID = {"meta", "link", "input", "br", "wbr", "hr"}
ATTACK = "</script><script>alert('x')</script> & <b onclick=\"x\">"


class Outline(HTMLParser):
    """Collects elements and checks that every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def test_headline_figures_stand_in_the_page(page: str, data: ReportData) -> None:
    assert data.evaluation is not None
    last = data.evaluation.summary.settings[-1]
    for name in ("wellformed", "tool_match", "correct"):
        share = getattr(last.overall, name)
        assert f"{100 * share.share:.1f}%" in page
        assert f"{100 * share.interval.low:.1f}–{100 * share.interval.high:.1f}" in page
    for setting in synthetic.SETTINGS:
        assert setting in page
    assert "n = 285" in page
    assert "n = 15" in page


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    outline = Outline(page)
    assert not re.search(r"https?://|@import|url\(", page)
    assert all("src" not in attributes for _, attributes in outline.elements)
    links = [attributes["href"] for attributes in outline.all("link")]
    assert links == ["data:,"]
    targets = {attributes.get("id") for _, attributes in outline.elements}
    for anchor in outline.all("a"):
        assert anchor["href"] is not None
        assert anchor["href"].startswith("#")
        assert anchor["href"][1:] in targets


def test_tables_have_captions_and_scoped_headings(page: str) -> None:
    outline = Outline(page)
    assert len(list(outline.all("table"))) == len(list(outline.all("caption"))) > 10
    assert all("scope" in attributes for attributes in outline.all("th"))
    names = [attributes.get("id") for _, attributes in outline.elements if "id" in attributes]
    assert len(names) == len(set(names))


def test_size_is_bounded_by_aggregates_not_by_the_run(
    tables: dict[str, Any], page: str, data: ReportData
) -> None:
    assert len(page) < 600_000
    episode = tables[layout.EPISODES][0]
    turn = episode.trials[0].turns[0].model_copy(update={"observation": "x" * 1_000_000})
    trials = tuple(
        episode.trials[0].model_copy(update={"trial_id": f"{number:04}", "turns": (turn,) * 4})
        for number in range(200)
    )
    reader = synthetic.FakeReader(
        {layout.EPISODES: [episode.model_copy(update={"trials": trials})]}
    )
    assembled = assemble_report(reader, 0.0)
    assert assembled.trials_total == 200
    assert len(assembled.trials) == 60
    assert len(render_html(assembled)) < 2_000_000
    assert " of 1000000 characters]" in assembled.trials[0].turns[0].observation


def test_untrusted_text_is_escaped_wherever_it_appears(tables: dict[str, Any]) -> None:
    hostile = f"tool {ATTACK}"
    spec = next(iter(synthetic.specs().values())).model_copy(update={"name": hostile})
    prediction = Prediction(
        example_id="1",
        setting=f"base {ATTACK}",
        tool=hostile,
        query=ATTACK,
        arguments_json="{}",
        candidates=(hostile,),
        output_text=ATTACK,
        error=ATTACK,
    )
    score = score_prediction(prediction, {hostile: spec})
    summary = synthetic.summary_of({prediction.setting: [score]})
    episode = tables[layout.EPISODES][0]
    trial = episode.trials[0].model_copy(
        update={"tool": hostile, "query": ATTACK, "reflection_text": ATTACK, "final_answer": ATTACK}
    )
    hostile_episode = episode.model_copy(update={"trials": (trial,), "models": (ATTACK,)})
    manifests = synthetic.manifests()
    manifests["explore"] |= {"notes": [ATTACK], "counts": {ATTACK: ATTACK}}
    entry = tables[layout.LEDGER][0].model_copy(
        update={"tool": hostile, "status": "dropped", "reason": ATTACK, "step": ATTACK}
    )
    reader = synthetic.FakeReader(
        {
            layout.EPISODES: [hostile_episode],
            layout.LEDGER: [entry],
            layout.PREDICTIONS: [prediction],
            layout.SCORES: [score],
        },
        {
            layout.EVALUATION_SUMMARY: summary.model_dump(mode="json"),
            layout.LEDGER_TOTALS: synthetic.totals([entry], []).model_dump(mode="json"),
        },
        manifests,
    )
    text = render_html(assemble_report(reader, 0.0))
    outline = Outline(text)
    assert len(list(outline.all("script"))) == 1
    assert text.count("</script>") == 1
    assert all("onclick" not in attributes for _, attributes in outline.elements)
    assert text.count("&lt;/script&gt;&lt;script&gt;") > 10


def test_stages_that_have_not_run_are_named() -> None:
    text = render_html(assemble_report(synthetic.FakeReader(), 0.0))
    Outline(text)
    for stage in ("explore", "prepare", "train", "evaluate"):
        assert f"no {stage} artifacts yet" in text
    assert text.count(">not run<") == 6
    assert "A script explored" not in text


def test_the_page_says_that_a_script_explored_a_tiny_model(page: str) -> None:
    assert "A script explored, not a language model" in page
    assert "A tiny model, trained from scratch" in page


@pytest.mark.parametrize(
    ("scripted", "base", "titles"),
    [(True, "", 2), (False, "", 1), (True, "some/model", 1), (False, "some/model", 0)],
)
def test_banners_follow_the_run(
    tables: dict[str, Any], scripted: bool, base: str, titles: int
) -> None:
    model = "scripted-teacher" if scripted else "gpt-x"
    episodes = [tables[layout.EPISODES][0].model_copy(update={"models": (model,)})]
    manifests = synthetic.manifests()
    for manifest in manifests.values():
        manifest |= {"notes": [], "models": {}}
    manifests["train"]["config"]["train"]["model"]["base"] = base
    reader = synthetic.FakeReader({layout.EPISODES: episodes}, {}, manifests)
    cautions = [n for n in assemble_report(reader, 0.0).notices if n.kind == "caution"]
    assert len(cautions) == titles


def test_the_manifest_decides_whether_a_script_explored_and_no_words(
    tables: dict[str, Any],
) -> None:
    manifests = synthetic.manifests()
    words = "our tool is a calculator, not a language model"
    manifests["explore"] |= {"notes": [words], "models": {}}
    manifests["prepare"] |= {"notes": [], "models": {}}
    reader = synthetic.FakeReader({}, {}, manifests)
    notices = assemble_report(reader, 0.0).notices
    assert [one.text for one in notices if one.kind == "note"] == [words]
    assert "A script explored" not in str(notices)
    manifests["explore"]["models"] = {"explorer": {"model": "renamed", "kind": "script"}}
    assert "A script explored" in str(assemble_report(reader, 0.0).notices)
    manifests["explore"]["models"] = {"explorer": {"model": "some-model", "kind": "model"}}
    manifests["prepare"]["models"] = {"judge": {"model": "renamed", "kind": "script"}}
    (caution, *_) = assemble_report(reader, 0.0).notices
    assert caution.title == "A script answered as judge, not a language model"
