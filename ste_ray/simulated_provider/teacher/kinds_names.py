"""Kinds of values that are names: airports, cities, countries, languages, currencies, people."""

from __future__ import annotations

import re
from collections.abc import Callable

from ste_ray.simulated_provider.teacher.data_places import (
    AIRPORTS,
    CITIES,
    COUNTRIES,
    CURRENCIES,
    LANGUAGES,
)
from ste_ray.simulated_provider.teacher.kind import (
    BARE,
    MISTAKES,
    NAMED,
    Found,
    Kind,
    Scene,
    Value,
    find_pattern,
    row_finder,
    shape,
    strings,
)
from ste_ray.simulated_provider.teacher.kinds_banking import bank_country
from ste_ray.simulated_provider.teacher.kinds_codes import vat_country
from ste_ray.simulated_provider.teacher.schema import Parameter

_LOCALES = "en_US en_GB de_DE de_AT de_CH fr_FR es_ES it_IT nl_NL pt_BR pt_PT sv_SE da_DK ja_JP"
# Codes that stand for all airports of a city, which people mistake for an airport's own code.
_METROPOLITAN = {
    "London": "LON",
    "Paris": "PAR",
    "New York": "NYC",
    "Tokyo": "TYO",
    "Milan": "MIL",
    "Rome": "ROM",
    "Stockholm": "STO",
    "Chicago": "CHI",
    "Washington": "WAS",
    "Beijing": "BJS",
    "Osaka": "OSA",
    "Seoul": "SEL",
    "Montreal": "YMQ",
    "Toronto": "YTO",
    "Rio de Janeiro": "RIO",
    "Sao Paulo": "SAO",
    "Buenos Aires": "BUE",
    "Jakarta": "JKT",
    "Reykjavik": "REK",
    "Bucharest": "BUH",
}
_AIRPORT_FORMS = tuple((row[1], row[0], row[5]) for row in AIRPORTS)
_NAMES = """
Aino Berit Carlos Dilek Elena Farid Greta Hiro Ingrid Jamal Katya Liam Mireille Nadia Omar Priya
Quentin Rosa Stefan Tomas Ursula Viktor Wanda Yusuf Zelda Anneke Bruno Chiara Davor Emeka
"""
_SURNAMES = """
Abbott Bergman Castellano Dimitrov Eriksen Fontaine Gruber Haddad Ivanova Jansen Kowalski Lopez
Moreau Nakamura Okafor Petrov Quiroga Rossi Schneider Tanaka Usman Vasquez Weber Yamada Zhou
"""
_WORDS = """
anchor bridge candle desert ember forest garden harbour island jacket kettle lantern meadow needle
orchard pepper quarry ribbon saddle timber umbrella velvet willow yonder zephyr marble copper river
thunder violin winter blossom castle dragon falcon granite hollow ivory juniper
"""
_CALLING = (("44", 10), ("49", 11), ("33", 9), ("39", 10), ("34", 9), ("31", 9), ("61", 9))


def preferred(row: tuple[str, ...], parameter: Parameter) -> tuple[str, ...]:
    """Return the forms of a row in the order in which the description suggests them.

    A documented example or a documented code comes first; otherwise the order stays.
    """
    shapes = {shape(example) for example in parameter.examples}
    shapes |= _described_shapes(parameter.description)
    return tuple(sorted(row, key=lambda form: shape(form) not in shapes))


def _described_shapes(description: str) -> set[str]:
    text = description.lower()
    shapes = set()
    if re.search(r"two[- ]letter|2-letter|alpha-?2|iso 3166|iso 639|language code", text):
        shapes |= {"aa" if "language" in text else "AA"}
    if re.search(r"three[- ]letter|3-letter|alpha-?3|iso 4217|\biata\b|currency code", text):
        shapes |= {"AAA"}
    if re.search(r"four[- ]letter|4-letter|\bicao\b", text):
        shapes |= {"AAAA"}
    if re.search(r"country code", text) and not shapes:
        shapes |= {"AA"}
    return shapes


def _from_table(rows: tuple[tuple[str, ...], ...], key: str) -> Callable[[Scene, Parameter], Value]:
    def make(scene: Scene, parameter: Parameter) -> Value:
        used = scene.share(f"used {key}", list[str])
        row = scene.rng.choice([item for item in rows if item[0] not in used])
        used.append(row[0])
        return _one_of(row, scene, parameter)

    return make


def _one_of(row: tuple[str, ...], scene: Scene, parameter: Parameter) -> Value:
    forms = preferred(row, parameter)
    # A person mostly gives the code where codes are documented, and sometimes the name.
    said = row[0] if scene.rng.random() < 0.15 else forms[0]
    return Value(said, tuple(dict.fromkeys((*_asked(forms, said, parameter), *forms))))


def _asked(forms: tuple[str, ...], said: str, parameter: Parameter) -> tuple[str, ...]:
    documented = {shape(example) for example in parameter.examples}
    documented |= _described_shapes(parameter.description)
    return () if shape(forms[0]) in documented else (said,)


def _in_table(rows: tuple[tuple[str, ...], ...]) -> Callable[[str, Parameter], list[Found]]:
    find_rows = row_finder(rows)

    def find(text: str, parameter: Parameter) -> list[Found]:
        found = []
        for item in find_rows(text):
            forms = preferred(tuple(map(str, item.value.forms)), parameter)
            ordered = (*_asked(forms, item.value.said, parameter), *forms)
            value = Value(item.value.said, tuple(dict.fromkeys(ordered)))
            found.append(Found(item.start, item.end, value))
        return found

    return find


def _make_country(scene: Scene, parameter: Parameter) -> Value:
    topic = f"{parameter.description} {scene.shared.get('topic', '')}"
    code = ""
    if re.search(r"\bvat\b|\btax\b", topic, re.I):
        code = vat_country(scene)
    elif re.search(r"\b(?:bank|iban|account)\b", topic, re.I):
        code = bank_country(scene)
    elif re.search(r"\bcity\b", topic, re.I):
        code = scene.share("airport row", lambda: scene.rng.choice(AIRPORTS))[2]
    row = next((item for item in COUNTRIES if item[1] == code), None)
    return _one_of(row, scene, parameter) if row else _country_from_table(scene, parameter)


_country_from_table = _from_table(COUNTRIES, "country")


def _make_airport(scene: Scene, parameter: Parameter) -> Value:
    used = scene.share("used airports", list[str])
    city, code, icao = scene.rng.choice([row for row in _AIRPORT_FORMS if row[0] not in used])
    used.append(city)
    if scene.rng.random() < MISTAKES:
        code = "".join(scene.rng.choice("BDFGKQVWXZ") for _ in range(3))
        return Value(code, (code,))
    if scene.rng.random() < 0.3:
        return Value(city, _airport_forms(city, code, icao))
    return Value(code, (code, icao))


def _airport_forms(city: str, code: str, icao: str) -> tuple[str, ...]:
    return tuple(filter(None, (_METROPOLITAN.get(city), code, icao, city)))


_find_airport_names = row_finder({row[0]: (row[0],) for row in _AIRPORT_FORMS}.values())


def _find_airport(text: str, parameter: Parameter) -> list[Found]:
    codes = r"(?<!\w)(?!IATA|ICAO)[A-Z]{3,4}(?!\w)"
    found = find_pattern(codes, lambda said: Value(said, (said, said.lower())), text)
    for item in _find_airport_names(text):
        city, code, icao = next(row for row in _AIRPORT_FORMS if row[0] == item.value.forms[-1])
        value = Value(item.value.said, _airport_forms(city, code, icao))
        found.append(Found(item.start, item.end, value))
    return found


def _make_city(scene: Scene, parameter: Parameter) -> Value:
    city = scene.share("airport row", lambda: scene.rng.choice(AIRPORTS))[1]
    return Value(city, (city, city.lower()))


_find_city_names = row_finder((city,) for city in CITIES)


def _find_city(text: str, parameter: Parameter) -> list[Found]:
    return list(_find_city_names(text))


def _make_locale(scene: Scene, parameter: Parameter) -> Value:
    locale = scene.rng.choice(_LOCALES.split())
    return Value(locale, (locale, locale.replace("_", "-"), locale[:2]))


def _find_locale(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(
        r"\b[a-z]{2}[_-][A-Z]{2}\b",
        lambda said: Value(said, (said, said.replace("-", "_"), said.replace("_", "-"), said[:2])),
        text,
    )


def _make_person(scene: Scene, parameter: Parameter) -> Value:
    said = f"{scene.rng.choice(_NAMES.split())} {scene.rng.choice(_SURNAMES.split())}"
    return Value(said, (said,))


def _find_person(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(r"\b[A-Z][a-z]+ [A-Z][a-z]+\b", lambda said: Value(said, (said,)), text)


def _make_email(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    host = "".join(rng.choices(_WORDS.split(), k=2)) + rng.choice((".com", ".org", ".net"))
    said = f"{rng.choice(_NAMES.split()).lower()}.{rng.choice(_SURNAMES.split()).lower()}@{host}"
    return Value(said if rng.random() > 0.1 else said.replace("@", "@@"), (said,))


def _find_email(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(r"[\w.+-]+@+[\w-]+(?:\.[\w-]+)+", lambda said: Value(said, (said,)), text)


def _make_phone(scene: Scene, parameter: Parameter) -> Value:
    code, length = scene.rng.choice(_CALLING)
    said = f"+{code}{scene.rng.randint(2 * 10 ** (length - 1), 10**length - 1)}"
    return Value(said, (said, said.replace("+", "00")))


def _find_phone(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(r"\+\d{8,14}\b", lambda said: Value(said, (said,)), text)


def _make_text(scene: Scene, parameter: Parameter) -> Value:
    count = 1 if re.search(r"\bword\b", parameter.description, re.I) else scene.rng.randint(1, 3)
    text = " ".join(scene.rng.choice(_WORDS.split()) for _ in range(count))
    return Value(f'"{text}"', (text,))


def find_quoted(text: str, parameter: Parameter) -> list[Found]:
    """Return the texts in double quotes."""
    return find_pattern(r'"[^"]+"', lambda said: Value(said, (said[1:-1],)), text)


CHECKSUMS = (("Luhn", "luhn"), ("Verhoeff", "verhoeff"), ("Damm", "damm"), ("mod 97", "mod97"))
_IN = ("in {v}",)
KINDS = (
    Kind(
        "airport",
        r"\bairports?\b|\biata\b|\bicao\b",
        strings(),
        _make_airport,
        _find_airport,
        ("airport", "airport code"),
        ("at {v}", "for {v}"),
        naming=("{v}", "airport {v}", "the airport {v}"),
    ),
    Kind(
        "language",
        r"\blanguages?\b",
        strings(),
        _from_table(LANGUAGES, "language"),
        _in_table(LANGUAGES),
        ("language",),
        ("in {v}",),
        naming=BARE,
    ),
    Kind(
        "currency",
        r"\bcurrenc(?:y|ies)\b|\biso 4217\b",
        strings(),
        _from_table(CURRENCIES, "currency"),
        _in_table(CURRENCIES),
        ("currency", "currency code"),
        ("in {v}",),
        naming=NAMED,
    ),
    Kind(
        "checksum",
        r"\b(?:method|scheme|algorithm)\b",
        strings(),
        _from_table(CHECKSUMS, "checksum"),
        _in_table(CHECKSUMS),
        ("method", "algorithm"),
        ("by the {v} method", "with the {v} algorithm", "according to {v}"),
    ),
    Kind("locale", r"\blocales?\b", strings(), _make_locale, _find_locale, ("locale",)),
    Kind(
        "country",
        r"\bcountr(?:y|ies)\b|\bnation\b|\biso 3166\b",
        strings(),
        _make_country,
        _in_table(COUNTRIES),
        ("country",),
        _IN,
        naming=BARE,
    ),
    Kind(
        "city",
        r"\bcit(?:y|ies)\b|\btown\b|\bplace\b|\blocation\b",
        strings(),
        _make_city,
        _find_city,
        ("city", "town", "place"),
        _IN,
        naming=BARE,
    ),
    Kind(
        "email",
        r"\be-?mail\b",
        strings(),
        _make_email,
        _find_email,
        ("email address", "address"),
    ),
    Kind("phone", r"\bphone\b", strings(), _make_phone, _find_phone, ("phone number", "number")),
    Kind(
        "person",
        r"\b(?:person|full name|surname|first name)\b",
        strings(),
        _make_person,
        _find_person,
        ("person", "name"),
    ),
)
FALLBACK = Kind("text", "", strings(), _make_text, find_quoted, ("text", "word", "phrase"))
