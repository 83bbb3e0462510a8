"""What of an exchange may be kept and shown: never a credential, and nothing else that somebody sent."""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from loyalty_gateway.spec.fields import Place
from loyalty_gateway.traffic.exchange import Exchange, Headers, Message
from loyalty_gateway.traffic.judging import Judge, Judged
from loyalty_gateway.traffic.masking import (
    SECRET,
    UNTOLD,
    is_secret_name,
    masked,
    masked_text,
    shown_method,
    shown_name,
)

_LONGEST_VALUE: Final = 300
_LONGEST_PATH: Final = 200
_SHORTEST_SECRET: Final = 6
_MEDIA_TYPE = (
    r"(application|text|\*)/(json|vnd\.api\+json|problem\+json|x-www-form-urlencoded|html|plain|xml|\*)"
    r"(; ?charset=(utf-8|us-ascii|iso-8859-1))?"
)
_LANGUAGE = r"([a-z]{2}(-[A-Z]{2})?|\*)(;q=[01]\.[0-9])?"
_NUMBER = r"[0-9]{1,12}"
# Headers that are kept where they say what they are for: all that is needed to judge an exchange.
_KEPT_HEADERS: Final = {
    "accept": re.compile(rf"(?i){_MEDIA_TYPE}(, ?{_MEDIA_TYPE})*"),
    "accept-language": re.compile(rf"{_LANGUAGE}(, ?{_LANGUAGE})*"),
    "content-length": re.compile(_NUMBER),
    "content-type": re.compile(rf"(?i){_MEDIA_TYPE}"),
    "idempotency-replayed": re.compile("true"),
    "retry-after": re.compile(_NUMBER),
}
_LIMIT_HEADER = re.compile(r"(?:x-)?ratelimit-[a-z-]{1,32}")
_LIMIT = re.compile(_NUMBER)
_HEADER_NAME = re.compile(r"[A-Za-z]{1,20}(?:-[A-Za-z]{1,20}){0,5}")
_encode = msgspec.json.Encoder().encode


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One exchange that shows a finding, redacted; ``value`` is what stands at the place, as JSON.

    ``where`` is the exchange's place in a file, where it was read from one.
    """

    method: str
    path: str
    status: int
    value: str | None = None
    where: str = ""


class Redactor:
    """Redacts the exchanges of one vendor."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._names = judge.contract.names
        self._words = judge.contract.words
        self._keys = frozenset(
            scheme.key.lower()
            for operation in judge.contract.operations.values()
            for needs in operation.requirements
            for scheme in needs.schemes
            if scheme.key
        )

    def example(self, exchange: Exchange, path: str, judged: Judged, direction: str, place: Place) -> Example:
        """What shows a finding that stands at this place in the body of the request or the answer."""
        value = judged.request_body if direction == "request" else judged.answer_body
        told: str | None = None
        if place and value is not msgspec.UNSET:
            secret = any(isinstance(step, str) and self._is_secret(step, judged) for step in place)
            told = self._told(_at(value, place), secret=secret)
        return Example(
            method=shown_method(exchange.method),
            path=_cut(self._path(exchange, path, judged), _LONGEST_PATH),
            status=exchange.status,
            value=told,
            where=exchange.where,
        )

    def secrets(self, exchange: Exchange) -> frozenset[str]:
        """The credentials of the exchange, for ``location``."""
        return frozenset(_secrets(exchange, self._keys))

    def redacted(self, exchange: Exchange, path: str, judged: Judged) -> Exchange:
        """The exchange as it may be kept: it keeps and breaks what it did, and says nothing."""
        return Exchange(
            time=exchange.time,
            milliseconds=exchange.milliseconds,
            vendor=self._judge.vendor.name,
            method=shown_method(exchange.method),
            url=f"/{self._judge.vendor.name}{self._path(exchange, path, judged)}{self._query(exchange)}",
            request=self._message(exchange.request, judged.request_body, judged),
            status=exchange.status,
            answer=self._message(exchange.answer, judged.answer_body, judged),
        )

    def _told(self, value: Any, *, secret: bool) -> str:
        return _cut(_encode(masked(value, self._names, self._words, secret=secret)).decode(), _LONGEST_VALUE)

    def _is_secret(self, name: str, judged: Judged) -> bool:
        return is_secret_name(name) or name in self._body_credentials(judged)

    def _body_credentials(self, judged: Judged) -> frozenset[str]:
        if judged.operation is None:
            return frozenset()
        return frozenset(self._judge.operations[judged.operation.id].body_credentials)

    def _path(self, exchange: Exchange, path: str, judged: Judged) -> str:
        if judged.operation is None or judged.match is None:
            return location(self._judge.shown_path(path), self.secrets(exchange))
        secret = self._judge.operations[judged.operation.id].path_credentials
        shown = judged.operation.path
        for name, value in judged.match.path_values.items():
            masked_value = SECRET if name in secret else masked_text(value, ())
            shown = shown.replace(f"{{{name}}}", quote(masked_value, safe="*"))
        return shown

    def _query(self, exchange: Exchange) -> str:
        told = [
            (
                name if name in self._names else shown_name(name),
                SECRET if name.lower() in self._keys or is_secret_name(name) else masked_text(value, self._words),
            )
            for name, value in _pairs(exchange)
        ]
        return f"?{urlencode(told, safe='*')}" if told else ""

    def _message(self, message: Message, body: Any, judged: Judged) -> Message:
        return Message(headers=_redacted_headers(message), body=self._body(message.body, body, judged))

    def _body(self, raw: bytes | None, body: Any, judged: Judged) -> bytes | None:
        if not raw:
            return raw
        if body is msgspec.UNSET:
            return masked_text(raw.decode("utf-8", "replace"), ()).encode()
        credentials = self._body_credentials(judged)
        if isinstance(body, dict):
            body = {
                name: SECRET if name in credentials and isinstance(value, str) else value
                for name, value in body.items()
            }
        return _encode(masked(body, self._names, {*self._words, SECRET}))


def location(told: str, secrets: Collection[str]) -> str:
    """A place without any of the credentials, which a name may quote."""
    for secret in secrets:
        told = told.replace(secret, UNTOLD)
    return told


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _redacted_headers(message: Message) -> Headers:
    told = []
    for name, value in message.headers:
        key = name.lower()
        harmless = _LIMIT if _LIMIT_HEADER.fullmatch(key) else _KEPT_HEADERS.get(key)
        kept = harmless is not None and harmless.fullmatch(value)
        told.append((name if _HEADER_NAME.fullmatch(name) else UNTOLD, value if kept else SECRET))
    return tuple(told)


def _secrets(exchange: Exchange, keys: Collection[str]) -> Iterator[str]:
    """The credentials of an exchange, each as it stands and without the word before it."""
    told = [*exchange.request.headers, *exchange.answer.headers, *_pairs(exchange)]
    for name, value in told:
        if name.lower() in keys or is_secret_name(name):
            yield from (part for part in (value, value.rpartition(" ")[2]) if len(part) >= _SHORTEST_SECRET)


def _pairs(exchange: Exchange) -> list[tuple[str, str]]:
    return parse_qsl(exchange.query, keep_blank_values=True)


def _at(value: Any, place: Place) -> Any:
    """What stands at the place; of one that is missing, what it is missing from."""
    for step in place:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return value
    return value
