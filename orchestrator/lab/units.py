"""Units as people spell them: `mol/L` is `mol/l` is `mol L⁻¹` is `M`; °C is not K, and nothing is converted."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

_DEGREES = re.compile(
    r"(?:°|º|˚|(?<![a-z])o|(?<![a-z])deg(?:rees?|\.)?) ?C(?:elsius)?(?![a-z])|℃|(?<![a-z])celsius", re.IGNORECASE
)
_EXPONENT = re.compile(r"(?P<name>.*?[^\d^+\-])(?:\^|\*\*)?\(?(?P<power>[+-]?\d+)\)?")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_MINUS = str.maketrans("−–‐‑", "----")

_WORDS = {
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "std": "h", "stunden": "h",
    "min": "min", "mins": "min", "minute": "min", "minutes": "min", "minuten": "min",
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "day": "d", "days": "d", "tage": "d",
    "kelvin": "K", "liter": "l", "litre": "l", "ℓ": "l", "ohm": "Ω", "angstrom": "Å", "ångström": "Å",
    "degree": "°", "degrees": "°", "deg": "°", "percent": "%", "prozent": "%",
}  # fmt: skip
"""Words and abbreviations, in small letters, that mean a unit whatever their case."""

_SHARES = {
    "wt": "wt%", "w": "wt%", "w/w": "wt%", "weight": "wt%", "mass": "wt%", "gew": "wt%", "ma": "wt%", "masse": "wt%",
    "mol": "mol%", "mole": "mol%", "mols": "mol%", "stoff": "mol%",
    "at": "at%", "atom": "at%", "atomic": "at%",
    "vol": "vol%", "v/v": "vol%", "volume": "vol%",
}  # fmt: skip
"""What a percentage is of."""

_NONE = {"", "-", "–", "1", "dimensionless", "unitless", "none", "[-]"}
_USUAL = [
    "K",
    "°C",
    "°F",
    "s",
    "min",
    "h",
    "d",
    "ms",
    "l",
    "ml",
    "µl",
    "nl",
    "mol",
    "mmol",
    "µmol",
    "nmol",
    "M",
    "mM",
    "µM",
    "nM",
    "g",
    "mg",
    "µg",
    "ng",
    "kg",
    "m",
    "cm",
    "mm",
    "µm",
    "nm",
    "Å",
    "Pa",
    "kPa",
    "MPa",
    "GPa",
    "hPa",
    "bar",
    "mbar",
    "atm",
    "Torr",
    "psi",
    "V",
    "mV",
    "A",
    "mA",
    "µA",
    "W",
    "mW",
    "kW",
    "J",
    "kJ",
    "eV",
    "meV",
    "cal",
    "kcal",
    "Hz",
    "kHz",
    "MHz",
    "GHz",
    "rpm",
    "HV",
    "HRC",
    "N",
    "kN",
    "mN",
    "%",
    "wt%",
    "mol%",
    "at%",
    "vol%",
    "ppm",
    "ppb",
    "mol/l",
    "mmol/l",
    "g/l",
    "mg/l",
    "mg/ml",
    "g/ml",
    "K/min",
    "°C/min",
    "ml/min",
    "l/min",
    "sccm",
    "mA/cm²",
    "A/cm²",
    "eV/atom",
    "kJ/mol",
    "Ω",
    "S",
    "S/cm",
    "equiv",
    "eq",
]
"""Units that are recognised as such where another one was expected."""


def same_unit(written: str, unit: str) -> bool:
    """Whether what somebody wrote is this unit in another spelling.

    Spaces, brackets, kinds of minus and of µ do not matter; neither do `l` or `L`, `/` or negative exponents, `wt%` or
    `mass %`, `M` or `mol/l`. °C may be written C, oC or degC where °C is expected. Else capitals matter: mPa is
    not MPa.
    """
    if _bare(written) == _bare(unit):
        return True
    if _bare(unit) in _NONE:
        return _bare(written) in _NONE
    if _bare(written) == "C":
        return parsed(unit) == parsed("°C")
    return bool(_bare(written)) and parsed(written) == parsed(unit)


def is_share(unit: str) -> bool:
    """Whether it is a percentage of something."""
    return unit.strip().endswith("%") or (_share(unit) or "").endswith("%")


def is_unit(written: str) -> bool:
    """Whether it is a usual unit, in any spelling."""
    return parsed(written) in _known()


@lru_cache(maxsize=4096)
def parsed(unit: str) -> tuple[tuple[str, int], ...]:
    """Factors of a unit and their powers, sorted: `mol L⁻¹` and `mol/l` are (("l", -1), ("mol", 1))."""
    text = unicodedata.normalize("NFC", unit).translate(_MINUS).strip()
    while len(text) > 2 and text[0] + text[-1] in ("()", "[]", "{}") and not re.search(r"[\])}]", text[1:-1]):
        text = text[1:-1].strip()
    if (share := _share(text)) is not None:
        return ((share, 1),)
    text = _DEGREES.sub("°C", text.translate(_SUPERSCRIPTS)).replace("µ", "u").replace("μ", "u").replace("Å", "Å")
    powers: Counter[str] = Counter()
    sign = 1
    for piece in re.split(r"(/|\bper\b)", text):
        if piece in ("/", "per"):
            sign = -1
            continue
        for factor in re.split(r"[ ·⋅∙*×()]+|(?<=[A-Za-zµ])\.(?=[A-Za-z])", piece):
            if factor:
                for name, power in _factor(factor):
                    powers[name] += sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _factor(text: str) -> list[tuple[str, int]]:
    match = _EXPONENT.fullmatch(text)
    name, power = (match["name"], int(match["power"])) if match else (text, 1)
    name = name.rstrip(".") or name
    if name == "1":
        return []
    name = _WORDS.get(name.casefold(), name)
    if molar := re.fullmatch(r"([mun]?)M", name):
        return [(f"{molar[1]}mol", power), ("l", -power)]
    if liters := re.fullmatch(r"([mund]?)L", name):
        name = f"{liters[1]}l"
    return [(name, power)]


def _share(text: str) -> str | None:
    """Which percentage it is; None if it is none."""
    bare = re.sub(r"[\s.\-()\[\]]", "", text.casefold()).replace("percent", "%").replace("prozent", "%")
    if "%" not in bare:
        return None
    return _SHARES.get(bare.replace("%", ""), bare)


def _bare(unit: str) -> str:
    text = unicodedata.normalize("NFC", unit).translate(_MINUS).strip()
    if len(text) > 2 and text[0] + text[-1] in ("()", "[]", "{}"):
        text = text[1:-1]
    return text.replace(" ", "")


@lru_cache(maxsize=1)
def _known() -> frozenset[tuple[tuple[str, int], ...]]:
    return frozenset(map(parsed, _USUAL))
