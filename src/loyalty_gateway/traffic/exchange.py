"""One request with its answer, as it was seen on the wire."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec

Headers = tuple[tuple[str, str], ...]

BASE64: Final = "base64"


class Unreadable(Exception):  # noqa: N818 - not an error of the program
    """A recording is not what its name says; told with the place, and without what stands there."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The headers, and the body freed of its content-encoding; ``None`` where it was not recorded."""

    headers: Headers = ()
    body: bytes | None = b""

    def header(self, name: str) -> str:
        """The last value of a header; the empty string where there is none."""
        found = [value for key, value in self.headers if key.lower() == name]
        return found[-1] if found else ""

    @property
    def media_type(self) -> str:
        """The media type without its parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request with its answer.

    ``time`` is when the answer was there, in epoch seconds, and 0 where nobody wrote it down; ``url`` is
    absolute, or begins with the path; ``vendor`` is empty where the URL tells whose it is; ``where`` is its
    place in a file, and empty for one that passed through the gateway.
    """

    time: float = 0.0
    milliseconds: float = 0.0
    vendor: str = ""
    method: str
    url: str
    request: Message
    status: int
    answer: Message
    where: str = ""

    @property
    def query(self) -> str:
        """The URL's query as it stands; of any URL, since not each that is sent can be taken apart."""
        return self.url.partition("#")[0].partition("?")[2]


def headers_of(told: Mapping[str, str] | list[tuple[str, str]]) -> Headers:
    """Headers as recordings have them: a mapping, or pairs."""
    return tuple(told.items() if isinstance(told, Mapping) else told)


def bytes_of(text: str, encoding: str | None, where: str) -> bytes:
    """A body as a recording has it; raises Unreadable where its base64 is broken."""
    if encoding is None or encoding.lower() != BASE64:
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(where, "its base64 is broken") from error


def text_of(body: bytes) -> dict[str, Any]:
    """A body as recordings have it: its text, and base64 where it is none."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": BASE64}
