"""How much of an allowed rate prepare uses: filter and six paraphrases, at 50 ms latency."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from harness import Teacher, teacher
from tables import Row

RATE = 60  # requests a second that the server admits
LATENCY_SECONDS = 0.05
GOAL, MAX_REFUSED = 0.95, 0.02
TOOLS = (
    "add_date", "airport", "airports_by_city", "calendar_convert", "card_check", "convert_time",
    "date_difference", "flight_distance", "iban_check", "isbn_convert", "number_to_words",
    "roman_encode", "timezone_at", "unit_convert", "vat_check",
)  # fmt: skip
_EXPLORE = ("explore.episodes_per_tool=10", "explore.trials_per_episode=4")
_PREPARE = ("prepare.target_per_tool=100000", "prepare.max_paraphrases=6")
_ENDS = 0.1  # share of the requests at both ends that is not in the steady window


def measure(folder: Path) -> list[Row]:
    """Prepare the same trials with the limit known, and told by headers."""
    folder.mkdir(parents=True)
    tools = f"tools.include=[{','.join(TOOLS)}]"
    rows = []
    for how in ("known", "headers"):
        run = folder / how
        with teacher() as server:
            _stage("explore", run, server, tools, *_EXPLORE).wait()
        options = ["--latency-seconds", str(LATENCY_SECONDS), "--rpm", str(RATE * 60)]
        options += ["--rate-headers"] if how == "headers" else []
        given = [f"llm.requests_per_minute={RATE * 60}"] if how == "known" else []
        with teacher(*options) as server:
            stage = _stage("prepare", run, server, *_PREPARE, *given)
            rows.append(_watch(stage, server, how))
            counts = json.loads((run / "prepare/manifest.json").read_text())["counts"]
            assert counts["examples"] > 5 * counts["judgments"] * 0.5, counts
    return rows


def _stage(stage: str, run: Path, server: Teacher, *overrides: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ste_ray", stage, "--run", str(run), "--json"]
    command += [f"llm.base_url={server.url}", *overrides]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _watch(stage: subprocess.Popen[bytes], server: Teacher, how: str) -> Row:
    """Follow what the server answers until the stage ends; return the steady rate."""
    points: list[tuple[float, int]] = []
    while stage.poll() is None:
        points.append((time.monotonic(), server.get("/stats")["answered"]))
        time.sleep(0.1)
    if stage.returncode:
        raise RuntimeError(f"prepare ended with exit code {stage.returncode}")
    stats = server.get("/stats")
    total = stats["answered"]
    inner = [one for one in points if _ENDS * total <= one[1] <= (1 - _ENDS) * total]
    (begun, first), (ended, last) = inner[0], inner[-1]
    rate = (last - first) / (ended - begun)
    refused = sum(stats["refused"].values()) / total
    asked = [at for at, answered in points if 0 < answered < total]
    whole = total / (asked[-1] - asked[0])
    return Row(
        f"limit {'known' if how == 'known' else 'told by headers'}: allowed rate used; refused",
        f"{rate / RATE:.1%} (from first to last request {whole / RATE:.1%}; {total:,} requests); "
        f"{refused:.2%}",
        f"≥ {GOAL:.0%}; ≤ {MAX_REFUSED:.0%}",
        rate / RATE >= GOAL and refused <= MAX_REFUSED,
    )
