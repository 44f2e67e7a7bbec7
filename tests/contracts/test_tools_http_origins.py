"""What one request leaves behind is not sent with the next one."""

import asyncio

from aiohttp import web

from ste_ray.tools.http.client import HttpCall, HttpClient


def test_cookies_are_not_kept():
    received = []

    async def answer(request):
        received.append(request.headers.get("Cookie"))
        response = web.Response(text="fine")
        response.set_cookie("session", "1")
        return response

    async def work():
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        # By name: cookies of bare addresses would be forgotten anyway.
        url = f"http://localhost:{runner.addresses[0][1]}/"
        client = HttpClient(["localhost"])
        try:
            for _ in range(2):
                await client.send(HttpCall("GET", url), timeout_seconds=10, max_bytes=100)
        finally:
            await client.aclose()
            await runner.cleanup()

    asyncio.run(work())
    assert received == [None, None]
