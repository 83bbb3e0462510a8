"""In which language Salla answers: Arabic, unless Accept-Language ranks English before it."""

from collections.abc import Mapping


def in_language(headers: Mapping[str, str], arabic: str, english: str) -> str:
    """The text in the language that the request's headers ask for."""
    wanted = headers.get("accept-language")
    return arabic if wanted is None or not _prefers_english(wanted) else english


def _prefers_english(accept_language: str) -> bool:
    """Whether English ranks before Arabic; without either the answer is Arabic."""
    weights = {"ar": 0.0, "en": 0.0}
    for choice in accept_language.split(","):
        language, _, parameter = choice.strip().partition(";")
        primary = language.strip().lower().partition("-")[0]
        if primary in weights:
            weights[primary] = max(weights[primary], _weight(parameter))
    return weights["en"] > weights["ar"]


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0
