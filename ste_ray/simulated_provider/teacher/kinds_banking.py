"""Kinds of values about bank accounts: account numbers of many countries, bank and branch codes."""

from __future__ import annotations

import random
import re

from ste_ray.simulated_provider.teacher.kind import Found, Kind, Scene, Value, find_pattern, strings
from ste_ray.simulated_provider.teacher.schema import Parameter

# Countries whose account numbers carry no national check digits: bank and branch codes, and how
# many digits an account number has.
_BANKS: dict[str, tuple[tuple[str, ...], int]] = {
    "DE": (("37040044", "50010517", "20041133", "10070000", "70020270", "76030080"), 10),
    "AT": (("19043", "12000", "20111", "14000", "32000", "60000"), 11),
    "NL": (("ABNA", "INGB", "RABO", "TRIO", "SNSB", "ASNB"), 10),
    "GB": (("NWBK 601613", "BARC 200415", "LOYD 309634", "HBUK 401276", "MIDL 403515"), 8),
    "CH": (("00762", "00230", "09000", "08390", "04835"), 12),
    "IE": (("AIBK 931152", "BOFI 900017", "IPBS 990602"), 8),
    "LU": (("001", "002", "003", "014"), 13),
    "DK": (("0040", "3000", "2191", "5051"), 10),
}
_BICS = """
DEUTDEFF COBADEFF INGDDEFF GENODEF1 BYLADEMM MARKDEFF HYVEDEMM PBNKDEFF ABNANL2A INGBNL2A RABONL2U
TRIONL2U BNPAFRPP SOGEFRPP AGRIFRPP CRLYFRPP BARCGB22 LOYDGB2L NWBKGB2L MIDLGB22 HBUKGB4B UBSWCHZH
CRESCHZZ POFICHBE RZBAATWW GIBAATWW BKAUATWW BSCHESMM BBVAESMM CAIXESBB UNCRITMM BCITITMM KREDBEBB
GEBABEBB NDEAFIHH DABADKKK ESSESESS SWEDSESS DNBANOKK BKPLPLPW PKOPPLPW CEKOCZPP KOMBCZPP AIBKIE2D
BOFIIE2D BCOMPTPL CHASUS33 CITIUS33 BOFAUS3N BOTKJPJT
"""


def draw_digits(rng: random.Random, count: int) -> str:
    """Return that many random digits."""
    return "".join(rng.choice("0123456789") for _ in range(count))


def spoil(text: str, rng: random.Random, share: float = 0.2) -> str:
    """Return ``text``, in a share of cases with its last digit changed, as a typing error does."""
    if rng.random() >= share or not text[-1].isdigit():
        return text
    return text[:-1] + str((int(text[-1]) + rng.randint(1, 9)) % 10)


def spaced(said: str) -> Value:
    """Return a code as a value that may also be written without spaces and hyphens."""
    plain = re.sub(r"[ -]", "", said)
    return Value(said, (said, plain, plain.upper()))


def iban(country: str, bank: str, account: str) -> str:
    """Return an IBAN with its check digits (ISO 13616)."""
    moved = "".join(str(int(letter, 36)) for letter in bank + account + country + "00")
    return f"{country}{98 - int(moved) % 97:02d}{bank}{account}"


def _bank(scene: Scene) -> tuple[str, str, str, str]:
    """Return country, bank code, branch code (or nothing) and account number of the scene."""

    def draw() -> tuple[str, str, str, str]:
        country = scene.rng.choice(list(_BANKS))
        banks, length = _BANKS[country]
        bank, _, branch = scene.rng.choice(banks).partition(" ")
        return country, bank, branch, draw_digits(scene.rng, length)

    return scene.share("bank", draw)


def bank_country(scene: Scene) -> str:
    """Return the country of the bank of this scene."""
    return _bank(scene)[0]


def _make_iban(scene: Scene, parameter: Parameter) -> Value:
    country, bank, branch, account = _bank(scene)
    text = spoil(iban(country, bank + branch, account), scene.rng)
    if scene.rng.random() < 0.2:
        text = " ".join(text[index : index + 4] for index in range(0, len(text), 4))
    return spaced(text)


def _find_iban(text: str, parameter: Parameter) -> list[Found]:
    pattern = r"(?<!\w)[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){2,7}[A-Z0-9]{1,4}(?!\w)"
    return find_pattern(pattern, spaced, text)


def _make_bic(scene: Scene, parameter: Parameter) -> Value:
    text = scene.rng.choice(_BICS.split())
    return Value(text, (text, f"{text}XXX"))


def _find_bic(text: str, parameter: Parameter) -> list[Found]:
    pattern = r"(?<!\w)[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?!\w)"
    return find_pattern(pattern, lambda said: Value(said, (said, said[:8])), text)


def _make_bank(scene: Scene, parameter: Parameter) -> Value:
    return Value(_bank(scene)[1], (_bank(scene)[1],))


def _make_branch(scene: Scene, parameter: Parameter) -> Value:
    return Value(_bank(scene)[2], (_bank(scene)[2],))


def _make_account(scene: Scene, parameter: Parameter) -> Value:
    return Value(_bank(scene)[3], (_bank(scene)[3],))


def _find_part(text: str, parameter: Parameter) -> list[Found]:
    pattern = r"(?<![\w.-])[A-Z]{0,4}\d{3,14}(?![\w-])|(?<!\w)(?!IBAN|ISBN)[A-Z]{4}(?!\w)"
    return find_pattern(pattern, spaced, text)


def _find_account(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(r"(?<![\w.-])\d{6,14}(?![\w-])", spaced, text)


KINDS = (
    Kind(
        "iban",
        r"\biban\b|\binternational bank account number\b",
        strings(),
        _make_iban,
        _find_iban,
        ("iban", "international bank account number"),
    ),
    Kind("bic", r"\b(?:bic|swift)\b", strings(), _make_bic, _find_bic, ("bic", "swift code")),
    Kind(
        "bank",
        r"\b(?:national )?bank(?:'s)? (?:code|identifier|number)\b|\bbank part\b",
        strings(),
        _make_bank,
        _find_part,
        ("bank code",),
        ("at the bank {v}", "with bank code {v}", "held at bank {v}"),
    ),
    Kind(
        "branch",
        r"\bbranch(?: code| number)?\b|\bsort code\b",
        strings(),
        _make_branch,
        _find_part,
        ("branch code", "branch"),
        ("with branch code {v}", "at branch {v}"),
    ),
    Kind(
        "account",
        r"\baccount(?: number| code| part)?\b",
        strings(),
        _make_account,
        _find_account,
        ("bank account", "account number", "account"),
    ),
)
