"""The commands ``ste-ray report`` and ``ste-ray view``: a run to read, or two beside each other."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ste_ray.cli.option_types import port_number
from ste_ray.core import layout
from ste_ray.errors import ConfigError, UserError
from ste_ray.process.new_file import write_file
from ste_ray.process.output import print_json, printable, write_text
from ste_ray.process.stopping import until_told


def add_report_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare ``report`` and ``view``."""
    report = commands.add_parser("report", help="write the report of a run, or compare two runs")
    what = report.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", metavar="URI", help="a folder or s3://bucket/prefix")
    what.add_argument(
        "--compare", nargs=2, metavar=("RUN_A", "RUN_B"), help="the second beside the first"
    )
    report.add_argument(
        "--settings",
        nargs=2,
        metavar=("OF_A", "OF_B"),
        help="settings to compare, such as tuned/toolken (default: the last of each run)",
    )
    report.add_argument(
        "--format", choices=["html", "markdown"], help="default: by --out, else html"
    )
    report.add_argument(
        "--out",
        metavar="FILE",
        help="where to write (default: report.html in the run; markdown goes to standard output)",
    )
    report.add_argument("--seed", type=int, default=0, help="of the intervals of a comparison")
    report.add_argument("--json", action="store_true", help="print the result as JSON")
    report.set_defaults(function=_report)
    view = commands.add_parser("view", help="serve a whole run: every prediction, every trial")
    view.add_argument("run", metavar="RUN", help="a folder or s3://bucket/prefix")
    view.add_argument("--port", type=port_number, default=8010)
    view.add_argument("--host", default="127.0.0.1")
    view.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that browsers reach it by, for example a proxy's",
    )
    view.set_defaults(function=_view)


def _report(options: argparse.Namespace) -> None:
    from ste_ray.stages.report.writing import comparison, load_report_data, require_run
    from ste_ray.store.artifacts import open_store

    form = _form(options)
    if options.compare:
        from ste_ray.report.html import render_comparison
        from ste_ray.report.markdown import comparison_markdown

        first, second = (open_store(uri) for uri in options.compare)
        of_first, of_second = options.settings or ("", "")
        view = comparison(first, second, (of_first, of_second), options.seed)
        text = render_comparison(view) if form == "html" else comparison_markdown(view)
        default, figures = "comparison.html", view.model_dump(mode="json", exclude={"changed"})
    else:
        from ste_ray.report.html import render_html
        from ste_ray.report.markdown import report_markdown

        if options.settings:
            raise ConfigError("--settings chooses what --compare compares; leave it out")
        store = open_store(options.run)
        require_run(store)
        data = load_report_data(store)
        text = render_html(data) if form == "html" else report_markdown(data)
        general = data.training and data.training.general
        told: dict[str, Any] = {"general_ability": general.model_dump()} if general else {}
        if data.evaluation is not None:
            told["evaluation"] = data.evaluation.summary.model_dump(
                mode="json", exclude={"settings": {"__all__": {"tools", "confusion"}}}
            )
        default, figures = "", {"run": store.uri, **told}
    # Models emit halves of characters, which have no UTF-8 form.
    content = text.encode("utf-8", errors="replace")
    target = options.out or (default if form == "html" else "-")
    if not target:
        store.write_bytes(layout.REPORT, content)
        target = store.address(layout.REPORT)
    elif target != "-":
        write_file(target, content)
    if options.json:
        print_json({**figures, "format": form, "file": None if target == "-" else target})
    else:
        # On its way into a file or another program the page stays as it is.
        text = content.decode() if target == "-" else f"{target}\n"
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def _form(options: argparse.Namespace) -> str:
    if options.format:
        return str(options.format)
    return "markdown" if options.out and options.out.endswith(".md") else "html"


def _view(options: argparse.Namespace) -> None:
    import asyncio

    from ste_ray.report.viewer import serve
    from ste_ray.stages.report.viewing import StoredWholeRun
    from ste_ray.stages.report.writing import require_run
    from ste_ray.store.artifacts import open_store

    store = open_store(options.run)
    require_run(store)

    def ready(url: str) -> None:
        write_text(f"{store.uri} at {url} (Ctrl-C ends it)\n")
        sys.stdout.flush()

    try:
        serving = serve(
            StoredWholeRun(store), options.host, options.port, ready, options.allow_host
        )
        asyncio.run(until_told(serving))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {options.host}:{options.port} ({reason}); choose another --port"
        ) from None
