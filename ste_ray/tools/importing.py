"""Makes specifications of what people have: MCP servers, OpenAPI documents, functions and so on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from ste_ray.core.records import canonical_json
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.http.client import (
    BlockedAddressError,
    HttpCall,
    HttpClient,
    HttpFailureError,
)
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.spec.checks import build_spec
from ste_ray.tools.spec.imported import Imported
from ste_ray.tools.spec.safety import is_free

_ROWS_SHOWN = 40
_DOWNLOAD_SECONDS = 60.0
_DOCUMENT_BYTES = 100_000_000


def as_lines(result: dict[str, Any]) -> str:
    """Return what an import did, for a person: each tool's effect, and what is left to do."""
    lines = [f"{result['file']}: {result['tools']} tools\n"]
    rows = list(result["effects"].items())
    width = max(len(name) for name, _ in rows[:_ROWS_SHOWN])
    lines += [f"  {name:<{width}}  {effect}\n" for name, effect in rows[:_ROWS_SHOWN]]
    if len(rows) > _ROWS_SHOWN:
        lines.append(f"  … and {len(rows) - _ROWS_SHOWN} more\n")
    lines += [f"{note}\n" for note in result["notes"]]
    if result["secrets"]:
        lines.append(f"set in the environment before a call: {', '.join(result['secrets'])}\n")
    return "".join(lines)


async def from_mcp(source: str, allow_hosts: Collection[str] = ()) -> Imported:
    """Import the tools of all servers in an ``mcpServers`` file; the servers are started for it.

    Raises:
        ToolSpecError: the file cannot be used, or a server cannot be started or reached.
    """
    from ste_ray.tools.mcp.listing import list_servers
    from ste_ray.tools.mcp.servers import read_servers

    found = read_servers(source)
    listed = await list_servers(found.servers, Secrets(), allow_hosts)
    notes = [f"not taken along, because it looks secret: {one}" for one in found.replaced]
    notes += [*found.notes, *listed.notes]
    return _noted(Imported(listed.specs, [*found.skipped, *listed.skipped], notes))


def from_openapi(
    source: str,
    *,
    base_url: str = "",
    prefix: str = "",
    tags: Sequence[str] = (),
    allow_hosts: Collection[str] = (),
) -> Imported:
    """Import the operations of an OpenAPI document, a file or a URL.

    Raises:
        ToolSpecError: the document cannot be read, or holds no usable operation.
    """
    from ste_ray.tools.openapi.operations import import_openapi

    found = import_openapi(
        source,
        fetch=lambda url: asyncio.run(_download(url, allow_hosts)),
        base_url=base_url,
        prefix=prefix,
        include_tags=tags,
    )
    return _noted(found)


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _ROWS_SHOWN
    return ", ".join(texts[:_ROWS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _origin(spec: ToolSpec) -> str:
    """Return whom a tool sends requests to; empty: nobody, as far as its file says."""
    parts = urlsplit(spec.executor.address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""


async def _download(url: str, allow_hosts: Collection[str]) -> str:
    client = HttpClient(allow_hosts)
    try:
        reply = await client.send(
            HttpCall("GET", url),
            timeout_seconds=_DOWNLOAD_SECONDS,
            max_bytes=_DOCUMENT_BYTES,
        )
    except BlockedAddressError as error:
        raise ToolSpecError(f"{url!r}: {error}; or give --allow-host") from None
    except (HttpFailureError, TimeoutError) as error:
        raise ToolSpecError(
            f"cannot download {url!r}: {error or 'no answer in time'}; give the document as a file"
        ) from None
    finally:
        await client.aclose()
    if reply.status >= 400 or reply.cut:
        why = f"HTTP {reply.status}" if not reply.cut else f"more than {_DOCUMENT_BYTES} bytes"
        raise ToolSpecError(f"cannot download {url!r}: {why}; give the document as a file")
    return reply.text


def from_python(source: str) -> Imported:
    """Import a function, or all public functions of a module.

    Raises:
        ToolSpecError: see ``python.describe.describe_targets``.
    """
    from ste_ray.tools.python.describe import import_python

    skipped: list[tuple[str, str]] = []
    return _noted(Imported(import_python(source, skipped=skipped), skipped))


def from_toolbench(
    source: str, as_kind: Literal["toolbench", "rapidapi", "simulated"] = "toolbench"
) -> Imported:
    """Import ToolBench's tool files, or the published study's descriptions.

    Raises:
        ToolSpecError: see ``toolbench.tool_files.import_toolbench``.
    """
    from ste_ray.tools.toolbench.tool_files import import_toolbench

    skipped: list[tuple[str, str]] = []
    return _noted(Imported(import_toolbench(source, as_kind, skipped), skipped))


def _usable(imported: Imported) -> Imported:
    """Leave out, by name, what a tool file could not hold: one tool must not spoil the file."""
    specs: list[ToolSpec] = []
    skipped = list(imported.skipped)
    names: set[str] = set()
    for spec in imported.specs:
        try:
            fields = spec.model_dump(mode="json", exclude_defaults=True)
            build_spec("import", "tool", {}, fields)
            canonical_json(fields).encode()
            if spec.name in names:
                raise ToolSpecError(f"another tool is called {spec.name!r} too; rename one of them")
        except UnicodeEncodeError:
            skipped.append((spec.name, "it holds half of a surrogate pair, which is no character"))
        except (ToolSpecError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            skipped.append((spec.name, reason.removeprefix(f"'import': tool ({spec.name!r}): ")))
        else:
            names.add(spec.name)
            specs.append(spec)
    if not specs and skipped:
        name, reason = skipped[0]
        raise ToolSpecError(f"no tool is left to import; {name}: {reason}")
    return replace(imported, specs=specs, skipped=skipped)


def _noted(imported: Imported) -> Imported:
    """Add what a person should look at: where requests go, and which tools may change something."""
    imported = _usable(imported)
    origins = sorted({_origin(spec) for spec in imported.specs} - {""})
    if origins:
        note = f"requests, with the secrets that are named, go to: {_listed(origins)}"
        imported = replace(imported, notes=(*imported.notes, note))
    guarded = [spec for spec in imported.specs if not is_free(spec)]
    if not guarded:
        return imported
    note = (
        f"{len(guarded)} of {len(imported.specs)} tools may change something and are left out of "
        "an exploration until they stand under allow: in the file"
    )
    return replace(imported, notes=(*imported.notes, note))
