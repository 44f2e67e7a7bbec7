"""Functions that misbehave in every way a tool can, called in worker processes by the tests."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ste_ray.tools.errors import ToolError

NO_FUNCTION = 7


def echo(**arguments):
    return arguments


def raise_broken_error():
    class BrokenError(Exception):
        def __str__(self):
            raise ValueError

    raise BrokenError


def halves():
    return {"a": "x\ud800"}


def not_a_number():
    return [float("nan"), None]


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def process_id():
    return os.getpid()


def sleep(seconds, pid_file=""):
    if pid_file:
        _write_whole(pid_file, str(os.getpid()))
    time.sleep(seconds)
    return "awake"


def _write_whole(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def hold_the_interpreter(seconds):
    """Sleep in C without releasing the interpreter, as a long regular expression does."""
    ctypes.PyDLL(None).sleep(int(seconds))


def sleep_with_grandchild(seconds, pid_file):
    child = subprocess.Popen(["sleep", "600"])
    _write_whole(pid_file, f"{os.getpid()} {child.pid}")
    time.sleep(seconds)


def exit_at_once(code):
    os._exit(code)


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_reply():
    threading.Timer(0.05, os._exit, (9,)).start()
    return "still here"


def system_exit():
    sys.exit(3)


def fill_memory(megabytes):
    return len(bytearray(megabytes * 1024 * 1024))


def much_text(megabytes):
    return "x" * (megabytes * 1024 * 1024)


def wide_text(characters):
    return "\N{GRINNING FACE}" * characters


def binary():
    return b"\x00\xff\xfe"


def lone_surrogate():
    return "a\udcffb"


def object_result():
    return object()


def write_everywhere():
    print('{"status": "ok", "bytes": 0, "chars": 0}')
    sys.stdout.flush()
    sys.stderr.write("noise\n")
    os.write(1, b"raw noise\n")
    subprocess.run(["echo", "noise of a child"], check=True)
    return {"read": sys.stdin.read()}


def environment():
    return dict(os.environ)


def folder():
    return os.getcwd()


async def asynchronous(value):
    return value


def raise_tool_error():
    raise ToolError("Unknown colour 'rede'. Use red or green.")


def raise_empty_tool_error():
    raise ToolError


def raise_value_error():
    raise ValueError("no such thing")


def raise_key_error():
    return {}["key"]


def look_around(word):
    """Return in which other processes a word can be found, and how many show their environment."""
    found, shown, memory = [], 0, 0
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            data = (folder / "environ").read_bytes()
        except OSError:
            pass
        else:
            shown += bool(data)
            if word.encode() in data:
                found.append(folder.name)
        try:
            with open(folder / "mem", "rb"):
                memory += 1
        except OSError:
            pass
    child = subprocess.run(
        ["sh", "-c", 'cat "/proc/$1/environ"', "sh", str(os.getppid())],
        capture_output=True,
        check=False,
    )
    try:
        os.kill(os.getppid(), 0)
        reached = True
    except PermissionError:
        reached = False
    return {
        "reached": reached,
        "found": found,
        "shown": shown,
        "memory": memory,
        "child": len(child.stdout),
    }


def folder_and_process():
    return {"folder": os.getcwd(), "pid": os.getpid()}


def forge_a_reply():
    """Leave a process behind that answers for this call and whatever is called next."""
    pipes = [one for one in os.listdir("/proc/self/fd") if "pipe" in _target(one)]
    if os.fork() == 0:
        text = b"forged"
        frame = json.dumps({"id": "0" * 32, "status": "ok", "chars": 6, "bytes": 6}).encode()
        for one in pipes:
            try:
                os.write(int(one), frame + b"\n" + text)
            except OSError:
                continue
        os._exit(0)
    os.wait()
    return "done"


def _target(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def come_back_twice():
    """Return in this process and in a copy of it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "original" if pid else "copy"


def leave_the_session(pid_file):
    """Start a process of a session of its own, which nobody waits for."""
    started = subprocess.Popen(["sleep", "600"], start_new_session=True)
    _write_whole(pid_file, str(started.pid))
    return "left"
