"""An MCP server over streamable HTTP that wants a key; prints the port it listens on."""

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.responses import PlainTextResponse

server = MCPServer("over-http")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


app = server.streamable_http_app()


async def guarded(scope, receive, send):
    headers = dict(scope.get("headers", []))
    if scope["type"] == "http" and headers.get(b"x-key") != b"topsecret":
        await PlainTextResponse("no", status_code=401)(scope, receive, send)
        return
    await app(scope, receive, send)


class Announcing(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        sys.stdout.write(f"{self.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()


Announcing(uvicorn.Config(guarded, host="127.0.0.1", port=0, log_level="error")).run()
