"""The general tools: what they ask of their services, and what they make of the answers.

The services are not reached: a local server answers in the shapes that they document, with content
written for the test.
"""

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from tool_specs import load_tool_specs

from ste_ray.core.effects import CallTool
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.http.executor import HttpExecutor
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.toolbox import Toolbox

SHIPPED = Path(__file__).parents[2] / "tool_metadata"
SPECS = load_tool_specs(["general"], shipped=SHIPPED)
DECLARED = [name for name, spec in SPECS.items() if spec.executor.kind == "http"]
VALUES = {
    "WEATHERAPI_KEY": "key-of-weather",
    "WOLFRAM_APP_ID": "id-of-wolfram",
    "BRAVE_API_KEY": "token-of-brave",
}
WIKIPEDIA = "https://en.wikipedia.org/w/api.php"
AGENT = "ste-ray/general-tools"

WEATHER_PLACE = {
    "name": "Lisbon",
    "region": "Lisboa",
    "country": "Portugal",
    "lat": 38.72,
    "lon": -9.13,
    "tz_id": "Europe/Lisbon",
    "localtime_epoch": 1772460000,
    "localtime": "2026-03-02 14:00",
}
WEATHER_NOW = {
    "last_updated": "2026-03-02 13:45",
    "temp_c": 16.2,
    "temp_f": 61.2,
    "is_day": 1,
    "condition": {"text": "Partly cloudy", "icon": "//cdn/116.png", "code": 1003},
    "wind_mph": 8.1,
    "wind_kph": 13.0,
    "wind_degree": 310,
    "wind_dir": "NW",
    "pressure_mb": 1019.0,
    "precip_mm": 0.0,
    "humidity": 63,
    "cloud": 50,
    "feelslike_c": 16.2,
    "uv": 4.0,
}
WEATHER_DAY = {
    "date": "2026-03-02",
    "date_epoch": 1772409600,
    "day": {
        "maxtemp_c": 17.0,
        "mintemp_c": 9.5,
        "avgtemp_c": 13.1,
        "maxwind_kph": 20.2,
        "totalprecip_mm": 1.4,
        "avghumidity": 70,
        "daily_chance_of_rain": 80,
        "condition": {"text": "Patchy rain nearby", "icon": "//cdn/176.png", "code": 1063},
    },
    "astro": {"sunrise": "07:06 AM", "sunset": "06:31 PM", "moon_phase": "Full Moon"},
    "hour": [{"time": "2026-03-02 00:00", "temp_c": 11.0}] * 24,
}


def atom(*entries):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<feed xmlns="http://www.w3.org/2005/Atom" '
        'xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" '
        'xmlns:arxiv="http://arxiv.org/schemas/atom">'
        "<title>arXiv Query</title><id>http://arxiv.org/api/x</id>"
        f"<opensearch:totalResults>{len(entries)}</opensearch:totalResults>"
        f"{''.join(entries)}</feed>"
    )


def entry(title, *authors):
    written = "".join(f"<author><name>{author}</name></author>" for author in authors)
    return (
        f"<entry><id>http://arxiv.org/abs/2601.00001v1</id><published>2026-01-01T00:00:00Z"
        f"</published><title>{title}</title><summary>Of &lt;tides&gt;.</summary>{written}"
        '<arxiv:primary_category term="cs.CL" scheme="http://arxiv.org/schemas/atom"/>'
        '<category term="cs.CL"/><link href="http://arxiv.org/abs/2601.00001v1" rel="alternate"/>'
        "</entry>"
    )


def article(title, *authors):
    return {
        "title": title,
        "authors": list(authors),
        "published": "2026-01-01T00:00:00Z",
        "subject": "cs.CL",
        "url": "http://arxiv.org/abs/2601.00001v1",
        "abstract": "Of <tides>.",
    }


def exchange(name, arguments, answer, content_type="application/json", status=200):
    """Call a tool whose service is a local server; return the result and the one request."""
    requests = []

    async def handle(request):
        requests.append(request)
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return web.Response(text=text, content_type=content_type, status=status)

    async def work():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        spec = SPECS[name]
        url = f"http://127.0.0.1:{port}{urlsplit(spec.executor.url).path}"
        local = spec.changed(executor=spec.executor.model_copy(update={"url": url}))
        client = HttpClient(["127.0.0.1"])
        toolbox = Toolbox({name: local}, lambda _: HttpExecutor(client, Secrets(VALUES)))
        try:
            call = CallTool(tool=name, arguments_json=json.dumps(arguments))
            return await toolbox.call(call)
        finally:
            await toolbox.aclose()
            await runner.cleanup()

    result = asyncio.run(work())
    (request,) = requests
    assert request.method == "GET"
    return result, request


def test_the_study_s_ten_functions_have_their_counterparts_beside_the_built_in_tools():
    both = load_tool_specs(["builtin", "general"], shipped=SHIPPED)
    assert set(SPECS) == {
        "today",
        "shift_date",
        "wikipedia_search",
        "wikipedia_meanings",
        "arxiv_search",
        "weather_now",
        "weather_forecast",
        "place_search",
        "wolfram_alpha",
        "web_search",
    }
    assert set(SPECS) < set(both)
    for spec in SPECS.values():
        assert spec.effect == "read_only"
        assert spec.examples
    for name in DECLARED:
        assert SPECS[name].requests_per_minute
        assert SPECS[name].executor.url.startswith("https://")


@pytest.mark.parametrize(
    ("name", "arguments", "query"),
    [
        (
            "wikipedia_search",
            {"query": "Ærø & tides?", "limit": 2},
            {"action": "query", "gsrsearch": "Ærø & tides?", "gsrlimit": "2", "exintro": "1"},
        ),
        ("wikipedia_meanings", {"name": "Mercury"}, {"titles": "Mercury (disambiguation)"}),
        (
            "arxiv_search",
            {"query": "ti:tool AND cat:cs.CL", "limit": 3, "order": "submittedDate"},
            {
                "search_query": "ti:tool AND cat:cs.CL",
                "max_results": "3",
                "sortBy": "submittedDate",
            },
        ),
        ("weather_now", {"location": "São Paulo"}, {"key": "key-of-weather", "q": "São Paulo"}),
        (
            "weather_forecast",
            {"location": "Oslo", "days": 3},
            {"key": "key-of-weather", "q": "Oslo", "days": "3"},
        ),
        (
            "place_search",
            {"query": "museum in Ghent", "limit": 3, "country": "be"},
            {"format": "jsonv2", "q": "museum in Ghent", "limit": "3", "countrycodes": "be"},
        ),
        (
            "wolfram_alpha",
            {"input": "2+2=x", "units": "metric"},
            {"appid": "id-of-wolfram", "input": "2+2=x", "units": "metric"},
        ),
        (
            "web_search",
            {"query": "tides", "limit": 5, "freshness": "pm"},
            {"q": "tides", "count": "5", "freshness": "pm", "text_decorations": "false"},
        ),
    ],
)
def test_what_is_asked_of_the_service(name, arguments, query):
    _, request = exchange(name, arguments, {})
    assert request.path == urlsplit(SPECS[name].executor.url).path
    assert query.items() <= dict(request.query).items()


@pytest.mark.parametrize("name", DECLARED)
def test_arguments_that_are_left_out_are_not_sent(name):
    required = SPECS[name].parameters["required"]
    arguments = {key: 2 if key == "days" else "x" for key in required}
    _, request = exchange(name, arguments, {})
    assert "" not in request.query.values()
    assert not any("{" in value for value in request.query.values())
    optional = set(SPECS[name].parameters["properties"]) - set(required)
    templates = SPECS[name].executor.query.items()
    not_sent = {field for field, template in templates if str(template)[1:-1] in optional}
    assert len(not_sent) == len(optional)
    assert not not_sent & set(request.query)


@pytest.mark.parametrize("name", ["wikipedia_search", "wikipedia_meanings", "place_search"])
def test_services_that_ask_for_it_are_told_who_calls(name):
    arguments = {SPECS[name].parameters["required"][0]: "x"}
    assert exchange(name, arguments, {})[1].headers["User-Agent"] == AGENT


def test_the_token_of_the_web_search_is_a_header():
    _, request = exchange("web_search", {"query": "x"}, {})
    assert request.headers["X-Subscription-Token"] == "token-of-brave"
    assert "token-of-brave" not in request.path_qs


PAGES = [
    {"pageid": 2, "ns": 0, "title": "Tide pool", "index": 2, "extract": "A pool."},
    {"pageid": 1, "ns": 0, "title": "Tide", "index": 1, "extract": "Tides rise.\nThey fall."},
]
MEANINGS = [
    {"pageid": 1, "ns": 0, "title": "Mercury (planet)", "description": "first planet"},
    {"pageid": 2, "ns": 0, "title": "Mercury, Nevada"},
    {"ns": 0, "title": "Mercury (unwritten)", "missing": True},
]
PLACES = [
    {
        "place_id": 1,
        "licence": "Data © OpenStreetMap contributors",
        "osm_type": "way",
        "osm_id": 2,
        "lat": "50.8949",
        "lon": "4.3415",
        "category": "tourism",
        "type": "attraction",
        "place_rank": 30,
        "importance": 0.5,
        "addresstype": "tourism",
        "name": "Atomium",
        "display_name": "Atomium, Laeken, Brussels, Belgium",
        "boundingbox": ["50.8", "50.9", "4.3", "4.4"],
    }
]
PAGES_FOUND = {
    "type": "search",
    "query": {"original": "tides"},
    "web": {
        "type": "search",
        "results": [
            {
                "title": "Tides",
                "url": "https://tides.example",
                "description": "All of them.",
                "profile": {"name": "tides"},
                "language": "en",
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("name", "arguments", "answer", "expected"),
    [
        (
            "wikipedia_search",
            {"query": "tide"},
            {"batchcomplete": True, "query": {"pages": PAGES}},
            [
                {"title": "Tide", "text": "Tides rise.\nThey fall."},
                {"title": "Tide pool", "text": "A pool."},
            ],
        ),
        ("wikipedia_search", {"query": "qqq"}, {"batchcomplete": True}, []),
        (
            "wikipedia_meanings",
            {"name": "Mercury"},
            {"query": {"redirects": [{"from": "a", "to": "b"}], "pages": MEANINGS}},
            [
                {"title": "Mercury (planet)", "description": "first planet"},
                {"title": "Mercury, Nevada", "description": None},
            ],
        ),
        ("wikipedia_meanings", {"name": "qqq"}, {"batchcomplete": True}, []),
        (
            "weather_now",
            {"location": "Lisbon"},
            {"location": WEATHER_PLACE, "current": WEATHER_NOW},
            {
                "place": "Lisbon",
                "region": "Lisboa",
                "country": "Portugal",
                "local_time": "2026-03-02 14:00",
                "condition": "Partly cloudy",
                "temperature_c": 16.2,
                "feels_like_c": 16.2,
                "humidity_percent": 63,
                "wind_kph": 13.0,
                "wind_direction": "NW",
                "precipitation_mm": 0.0,
                "cloud_percent": 50,
            },
        ),
        (
            "weather_forecast",
            {"location": "Lisbon", "days": 1},
            {
                "location": WEATHER_PLACE,
                "current": WEATHER_NOW,
                "forecast": {"forecastday": [WEATHER_DAY]},
            },
            {
                "place": "Lisbon",
                "region": "Lisboa",
                "country": "Portugal",
                "days": [
                    {
                        "date": "2026-03-02",
                        "condition": "Patchy rain nearby",
                        "min_c": 9.5,
                        "max_c": 17.0,
                        "rain_mm": 1.4,
                        "rain_chance_percent": 80,
                        "max_wind_kph": 20.2,
                        "sunrise": "07:06 AM",
                        "sunset": "06:31 PM",
                    }
                ],
            },
        ),
        (
            "place_search",
            {"query": "Atomium"},
            PLACES,
            [
                {
                    "name": "Atomium",
                    "kind": "attraction",
                    "address": "Atomium, Laeken, Brussels, Belgium",
                    "latitude": "50.8949",
                    "longitude": "4.3415",
                }
            ],
        ),
        ("place_search", {"query": "qqq"}, [], []),
        (
            "web_search",
            {"query": "tides"},
            PAGES_FOUND,
            [{"title": "Tides", "url": "https://tides.example", "text": "All of them."}],
        ),
        ("web_search", {"query": "qqq"}, {"type": "search", "query": {}}, []),
    ],
)
def test_an_answer_is_reduced_to_what_matters(name, arguments, answer, expected):
    result, _ = exchange(name, arguments, answer)
    assert (result.status, json.loads(result.text)) == ("ok", expected)


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (atom(), []),
        (atom(entry("One", "Ann")), [article("One", "Ann")]),
        (
            atom(entry("One", "Ann", "Bé"), entry("Two", "Cyr")),
            [article("One", "Ann", "Bé"), article("Two", "Cyr")],
        ),
    ],
)
def test_articles_of_arxiv_whether_none_one_or_several(feed, expected):
    result, _ = exchange("arxiv_search", {"query": "tides"}, feed, "application/atom+xml")
    assert (result.status, json.loads(result.text)) == ("ok", expected)


def test_a_computed_answer_is_shown_as_its_text():
    text = 'Query:\n"2+2"\n\nResult:\n4'
    result, _ = exchange("wolfram_alpha", {"input": "2+2"}, text, "text/plain")
    assert (result.status, result.text) == ("ok", text)


@pytest.mark.parametrize(
    ("name", "arguments", "answer", "kind", "status"),
    [
        (
            "weather_now",
            {"location": "qqq"},
            {"error": {"code": 1006, "message": "No matching location found."}},
            "application/json",
            400,
        ),
        ("wolfram_alpha", {"input": "qqq"}, "No matching result", "text/plain", 501),
        (
            "web_search",
            {"query": "x"},
            {"error": {"detail": "No matching token"}},
            "application/json",
            422,
        ),
    ],
)
def test_an_error_of_the_service_is_shown(name, arguments, answer, kind, status):
    result, _ = exchange(name, arguments, answer, kind, status)
    assert result.status == "error"
    assert result.text.startswith(f"HTTP {status} ")
    assert "No matching" in result.text


@pytest.mark.parametrize("name", DECLARED)
def test_a_preview_shows_the_address_but_no_secret(name):
    executor = HttpExecutor(HttpClient(), Secrets(VALUES))
    for example in SPECS[name].examples:
        shown = executor.preview(CheckedCall(SPECS[name], example.arguments))
        assert shown.startswith(f"GET {SPECS[name].executor.url}?")
        assert not any(value in shown for value in VALUES.values())


def test_dates_are_computed_in_a_worker():
    pytest.importorskip("convertdate", reason="the extra 'tools' is not installed")
    calls = [("today", {}), ("shift_date", {"start": "2026-02-20", "days": 10})]
    calls += [
        (name, example.arguments)
        for name in ("today", "shift_date")
        for example in SPECS[name].examples
    ]

    async def work():
        pool = WorkerPool(1, 1024, "2026-03-02")
        try:
            return [
                await pool.call(SPECS[name].executor.target, arguments, 10, 1000)
                for name, arguments in calls
            ]
        finally:
            await pool.aclose()

    results = asyncio.run(work())
    assert json.loads(results[0].text) == {"date": "2026-03-02", "weekday": "Monday"}
    assert json.loads(results[1].text)["date"] == "2026-03-02"
    expected = [
        "error" if example.expect_error else "ok"
        for name in ("today", "shift_date")
        for example in SPECS[name].examples
    ]
    assert [result.status for result in results[2:]] == expected
