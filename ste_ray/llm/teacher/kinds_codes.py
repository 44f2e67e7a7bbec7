"""Kinds of values that are identifiers: account, book, card and tax numbers, with check digits."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from ste_ray.llm.teacher.kind import Found, Kind, Scene, Value, find_pattern, strings
from ste_ray.llm.teacher.schema import Parameter

# Countries whose account numbers carry no national check digits: bank codes, digits of the account.
_BANKS: dict[str, tuple[tuple[str, ...], int]] = {
    "DE": (("37040044", "50010517", "20041133", "10070000", "70020270", "76030080"), 10),
    "AT": (("19043", "12000", "20111", "14000", "32000", "60000"), 11),
    "NL": (("ABNA", "INGB", "RABO", "TRIO", "SNSB", "ASNB"), 10),
    "GB": (("NWBK601613", "BARC200415", "LOYD309634", "HBUK401276", "MIDL403515"), 8),
    "CH": (("00762", "00230", "09000", "08390", "04835"), 12),
    "IE": (("AIBK931152", "BOFI900017", "IPBS990602"), 8),
    "LU": (("001", "002", "003", "014"), 13),
    "DK": (("0040", "3000", "2191", "5051"), 10),
}
_BICS = [
    "DEUTDEFF",
    "COBADEFF",
    "INGDDEFF",
    "GENODEF1",
    "BYLADEMM",
    "MARKDEFF",
    "HYVEDEMM",
    "PBNKDEFF",
    "ABNANL2A",
    "INGBNL2A",
    "RABONL2U",
    "TRIONL2U",
    "BNPAFRPP",
    "SOGEFRPP",
    "AGRIFRPP",
    "CRLYFRPP",
    "BARCGB22",
    "LOYDGB2L",
    "NWBKGB2L",
    "MIDLGB22",
    "HBUKGB4B",
    "UBSWCHZH",
    "CRESCHZZ",
    "POFICHBE",
    "RZBAATWW",
    "GIBAATWW",
    "BKAUATWW",
    "BSCHESMM",
    "BBVAESMM",
    "CAIXESBB",
    "UNCRITMM",
    "BCITITMM",
    "KREDBEBB",
    "GEBABEBB",
    "NDEAFIHH",
    "DABADKKK",
    "ESSESESS",
    "SWEDSESS",
    "DNBANOKK",
    "BKPLPLPW",
    "PKOPPLPW",
    "CEKOCZPP",
    "KOMBCZPP",
    "AIBKIE2D",
    "BOFIIE2D",
    "BCOMPTPL",
    "CHASUS33",
    "CITIUS33",
    "BOFAUS3N",
    "BOTKJPJT",
]
_DIGITS_AND_SPACES = r"(?<![\w-])\d(?:[ -]?\d){7,18}[xX]?(?![\w-])"


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _spoil(text: str, rng: random.Random, share: float = 0.2) -> str:
    """Return ``text``, in a share of cases with its last digit changed, as a typing error does."""
    if rng.random() >= share:
        return text
    return text[:-1] + str((int(text[-1]) + rng.randint(1, 9)) % 10)


def iban(country: str, bank: str, account: str) -> str:
    """Return an IBAN with its check digits (ISO 13616)."""
    moved = "".join(str(int(letter, 36)) for letter in bank + account + country + "00")
    return f"{country}{98 - int(moved) % 97:02d}{bank}{account}"


def _bank(scene: Scene) -> tuple[str, str, str]:
    def draw() -> tuple[str, str, str]:
        country = scene.rng.choice(list(_BANKS))
        banks, length = _BANKS[country]
        return country, scene.rng.choice(banks), _digits(scene.rng, length)

    return scene.share("bank", draw)


def _make_iban(scene: Scene, parameter: Parameter) -> Value:
    text = iban(*_bank(scene))
    if scene.rng.random() < 0.2:
        return _spaced(" ".join(_spoil(text, scene.rng)[i : i + 4] for i in range(0, len(text), 4)))
    return _spaced(_spoil(text, scene.rng))


def _spaced(said: str) -> Value:
    plain = re.sub(r"[ -]", "", said)
    return Value(said, (said, plain, plain.upper()))


def _make_bank_code(scene: Scene, parameter: Parameter) -> Value:
    return Value(_bank(scene)[1], (_bank(scene)[1],))


def _make_account(scene: Scene, parameter: Parameter) -> Value:
    return Value(_bank(scene)[2], (_bank(scene)[2],))


def isbn13(start: str) -> str:
    """Return the 13-digit ISBN that begins with these twelve digits."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(start))
    return f"{start}{-total % 10}"


def isbn10(start: str) -> str:
    """Return the 10-digit ISBN that begins with these nine digits."""
    total = sum(int(digit) * (10 - index) for index, digit in enumerate(start))
    return f"{start}{'0123456789X'[-total % 11]}"


def _make_isbn(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    start = rng.choice(["0", "1", "3"]) + _digits(rng, 8)
    wants = re.search(r"\b(?:isbn[- ]?)?(10|13)\b", parameter.description)
    length = int(wants.group(1)) if wants else rng.choice([10, 13])
    text = isbn10(start) if length == 10 else isbn13("978" + start)
    if not text.endswith("X"):
        text = _spoil(text, rng, 0.12)
    return _spaced(text)


def luhn(start: str) -> str:
    """Return the digits with their Luhn check digit."""
    total = 0
    for index, digit in enumerate(reversed(start)):
        number = int(digit) * (2 if index % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return f"{start}{-total % 10}"


def _make_card(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    prefix, length = rng.choice([("4", 16), ("51", 16), ("55", 16), ("34", 15), ("6011", 16)])
    text = _spoil(luhn(prefix + _digits(rng, length - len(prefix) - 1)), rng)
    if length == 16 and rng.random() < 0.25:
        text = " ".join(text[index : index + 4] for index in range(0, 16, 4))
    return _spaced(text)


def _make_ean(scene: Scene, parameter: Parameter) -> Value:
    return _spaced(_spoil(isbn13(scene.rng.choice("4578") + _digits(scene.rng, 11)), scene.rng))


def _make_bic(scene: Scene, parameter: Parameter) -> Value:
    text = scene.rng.choice(_BICS)
    return Value(text, (text, f"{text}XXX"))


def _find_bic(text: str, parameter: Parameter) -> list[Found]:
    pattern = r"(?<!\w)[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?!\w)"
    return find_pattern(pattern, lambda said: Value(said, (said, said[:8])), text)


def _make_vat(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    maker = rng.choice([_german_vat, _dutch_vat, _danish_vat, _austrian_vat, _italian_vat])
    return _spaced(_spoil(maker(rng), rng))


def _german_vat(rng: random.Random) -> str:
    digits = rng.choice("123456789") + _digits(rng, 7)
    check = 10
    for digit in digits:
        check = (int(digit) + check) % 10
        check = 2 * (check or 10) % 11
    return f"DE{digits}{(11 - check) % 10}"


def _dutch_vat(rng: random.Random) -> str:
    while True:
        digits = _digits(rng, 8)
        check = sum(int(digit) * (9 - index) for index, digit in enumerate(digits)) % 11
        if check < 10:
            return f"NL{digits}{check}B01"


def _danish_vat(rng: random.Random) -> str:
    while True:
        digits = rng.choice("123456789") + _digits(rng, 7)
        weights = (2, 7, 6, 5, 4, 3, 2, 1)
        if sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11 == 0:
            return f"DK{digits}"


def _austrian_vat(rng: random.Random) -> str:
    digits = _digits(rng, 7)
    doubled = (sum(divmod(int(digit) * (1 + index % 2), 10)) for index, digit in enumerate(digits))
    return f"ATU{digits}{(6 - sum(doubled)) % 10}"


def _italian_vat(rng: random.Random) -> str:
    return "IT" + luhn(f"{_digits(rng, 7)}{rng.randrange(1, 100):03d}")


def _finder(pattern: str) -> Callable[[str, Parameter], list[Found]]:
    return lambda text, parameter: find_pattern(pattern, _spaced, text)


_find_iban = _finder(r"(?<!\w)[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){2,7}[A-Z0-9]{1,4}(?!\w)")
_find_vat = _finder(r"(?<!\w)[A-Z]{2}U?\d{8,12}(?:B\d\d)?(?!\w)")
_find_digits = _finder(_DIGITS_AND_SPACES)
_find_part = _finder(r"(?<![\w.-])[A-Z]{0,4}\d{3,14}(?![\w-])|(?<!\w)[A-Z]{4}(?!\w)")

KINDS = (
    Kind("iban", r"\biban\b", strings(), _make_iban, _find_iban, ("iban",)),
    Kind("bic", r"\b(?:bic|swift)\b", strings(), _make_bic, _find_bic, ("bic", "swift code")),
    Kind(
        "isbn",
        r"\bisbn(?:-?1[03])?\b|\bbook number\b",
        strings(),
        _make_isbn,
        _find_digits,
        ("isbn",),
    ),
    Kind(
        "ean",
        r"\b(?:ean|barcode|gtin|upc)\b",
        strings(),
        _make_ean,
        _find_digits,
        ("ean", "barcode"),
    ),
    Kind(
        "vat",
        r"\bvat\b|\btax (?:id|number)\b",
        strings(),
        _make_vat,
        _find_vat,
        ("vat number", "vat id"),
    ),
    Kind(
        "card",
        r"\b(?:credit |debit |payment |bank )?cards?\b|\bluhn\b",
        strings(),
        _make_card,
        _find_digits,
        ("card number", "card"),
    ),
    Kind(
        "bank code",
        r"\bbank(?:'s)? (?:and branch )?(?:code|identifier|number)\b|\bsort code\b|\bbank part\b",
        strings(),
        _make_bank_code,
        _find_part,
        ("bank code",),
    ),
    Kind(
        "account",
        r"\baccount(?: number| code| part)?\b",
        strings(),
        _make_account,
        _find_part,
        ("account number", "account"),
    ),
)


def bank_country(scene: Scene) -> str:
    """Return the country of the bank of this scene, if it has one."""
    return _bank(scene)[0]
