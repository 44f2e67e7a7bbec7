"""A small FastAPI service, and the server that runs it on this machine for a test."""

import contextlib
import enum
import threading
import time
from typing import Annotated

import uvicorn
from fastapi import Body, Cookie, Depends, FastAPI, Form, Header, Query, UploadFile
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, Field


class Colour(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Owner(BaseModel):
    """Who owns a pet."""

    name: str
    emails: list[str] = []


class Pet(BaseModel):
    """A pet, its owner and its young."""

    name: str = Field(min_length=1)
    colour: Colour
    owner: Owner
    weight: float | None = None
    young: list["Pet"] = []


_bearer = Annotated[object, Depends(HTTPBearer())]
_key = Annotated[str, Depends(APIKeyHeader(name="X-Key"))]


def service():
    """Return the service: each operation answers with what it was given."""
    app = FastAPI(title="Pet Shop")

    @app.get("/pets/{pet_id}", operation_id="get_pet")
    def get_pet(
        pet_id: int,
        colour: Colour = Colour.RED,
        tags: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int | None, Query(gt=0, lt=100)] = None,
        x_trace: Annotated[str | None, Header()] = None,
        session: Annotated[str | None, Cookie()] = None,
    ):
        return {
            "pet_id": pet_id,
            "colour": colour.value,
            "tags": tags,
            "limit": limit,
            "trace": x_trace,
            "session": session,
        }

    @app.get("/files/{path:path}", operation_id="get_file")
    def get_file(path: str):
        return {"path": path}

    _add_bodies(app)
    _add_secured(app)
    return app


def _add_bodies(app):
    @app.post("/pets", operation_id="add_pet")
    def add_pet(pet: Pet) -> Pet:
        return pet

    @app.put("/pets/{pet_id}", operation_id="put_pet")
    def put_pet(pet_id: int, pet: Pet, note: Annotated[str, Body()] = "none"):
        return {"pet_id": pet_id, "pet": pet, "note": note}

    @app.post("/names", operation_id="add_names")
    def add_names(names: list[str]) -> list[str]:
        return names

    @app.post("/form", operation_id="send_form")
    def send_form(name: Annotated[str, Form()], kinds: Annotated[list[int], Form()]):
        return {"name": name, "kinds": kinds}

    @app.post("/photo", operation_id="send_photo")
    def send_photo(photo: UploadFile):
        return {"size": photo.size}

    @app.post("/album", operation_id="send_album")
    def send_album(title: Annotated[str, Form()], photo: UploadFile | None = None):
        return {"title": title, "photo": photo is not None}


def _add_secured(app):
    @app.delete("/pets/{pet_id}", operation_id="delete_pet")
    def delete_pet(pet_id: int, key: _key):
        return {"deleted": pet_id, "key": key}

    @app.get("/me", operation_id="get_me")
    def get_me(token: _bearer):
        return {"token": token.credentials}


@contextlib.contextmanager
def running(app):
    """Run a service; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the service does not start"
        assert thread.is_alive(), "the service has ended"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
