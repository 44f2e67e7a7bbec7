"""Making and rating passwords, on secrets and zxcvbn.

Traps: of two makers one takes no arguments; ``nums`` is a number of digits and no switch; the
rating goes from 0 to 4, which nothing says; a long password is refused. What the makers return
differs from call to call.
"""

from __future__ import annotations

import secrets
import string

from zxcvbn import zxcvbn

from ste_ray.tools.errors import ToolError

_MIN_LENGTH, _MAX_LENGTH = 4, 128
_MAX_RATED = 72  # the work of a rating grows much faster than the length
_SYMBOLS = "!#$%&*+-=?@_"


def password_base(length: int = 12, nums: int = 0) -> str:
    """Make a password of letters, of which ``nums`` give way to digits."""
    if not _MIN_LENGTH <= length <= _MAX_LENGTH:
        raise ToolError(f"length must be between {_MIN_LENGTH} and {_MAX_LENGTH}")
    if not 0 <= nums <= length:
        raise ToolError("Invalid input")
    return _shuffled([(string.digits, nums), (string.ascii_letters, length - nums)])


def password_50() -> str:
    """Make a password of 50 letters, digits and symbols."""
    return _shuffled([(string.ascii_letters, 34), (string.digits, 8), (_SYMBOLS, 8)])


def password_strength(password: str) -> dict[str, object]:
    """Rate how hard a password is to guess."""
    if not password:
        raise ToolError("Invalid input")
    if len(password) > _MAX_RATED:
        raise ToolError(f"the password is too long: at most {_MAX_RATED} characters")
    found = zxcvbn(password)
    return {
        "score": found["score"],
        "guesses_log10": round(found["guesses_log10"], 1),
        "crack_time": found["crack_times_display"]["offline_slow_hashing_1e4_per_second"],
        "warning": found["feedback"]["warning"],
        "suggestions": found["feedback"]["suggestions"],
    }


def _shuffled(parts: list[tuple[str, int]]) -> str:
    chosen = [secrets.choice(letters) for letters, number in parts for _ in range(number)]
    secrets.SystemRandom().shuffle(chosen)
    return "".join(chosen)
