"""LoyaltyLion's pages: what a list was asked for, and the cursors and the Link header that lead on from a page."""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import msgspec

from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.vendor import Behaviour, Evidence, Promise, Shown, ValidRequest

LARGEST_PAGE: Final = 500
"""How many a page has at most; 100 unless asked otherwise."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a page was asked for: of which list, by which filters, and behind what it begins.

    A cursor is this, written down. ``last_id`` is of the resource behind which the page begins, in the
    ``direction``; ``last_updated_at`` is when it was changed, in lists in the order of changes.
    """

    of: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_PAGE)] = 100
    page: Annotated[int, msgspec.Meta(ge=1, le=2**53)] = 1
    since_id: _Number | None = None
    customer_id: _Number | None = None
    email: str | None = None
    sort_field: str | None = None
    sort_direction: str | None = None
    created_at_min: str | None = None
    created_at_max: str | None = None
    updated_at_min: str | None = None
    updated_at_max: str | None = None
    direction: Literal["next", "prev"] = "next"
    last_id: _Number | None = None
    last_updated_at: _Number | None = None

    @property
    def backwards(self) -> bool:
        """Whether the page is the one before that from which the cursor was taken."""
        return self.direction == "prev"

    @property
    def by_changes(self) -> bool:
        """Whether the list is in the order of changes; ``since_id`` puts it in that of ids."""
        return self.sort_field == "updated_at" and self.since_id is None

    @property
    def rising(self) -> bool:
        """Whether what the list is sorted by rises from one page to the next."""
        return self.since_id is not None or self.sort_direction == "asc"


NUMBERS: Final = ("limit", "page", "since_id", "customer_id")
"""The parameters whose values are whole numbers."""


def asked(request: ValidRequest, of: str, filters: tuple[str, ...]) -> Asked:
    """What the request asks for, from its query or from its cursor, beside which only ``limit`` counts.

    Args:
        request: the request, which keeps the spec.
        of: the list, by a name that no other list has.
        filters: the parameters that the list has besides ``cursor``.

    Raises:
        Problem: INVALID on ``cursor``, where no answer of this list has made it.
    """
    cursor = request.query.get("cursor")
    query: dict[str, Any] = {name: request.query[name] for name in filters if name in request.query}
    for name in NUMBERS:
        if name in query:
            query[name] = int(query[name])
    if cursor is None:
        return Asked(of=of, **query)
    before = _read(cursor)
    if before is None or before.of != of:
        raise Problem(Code.INVALID, violations=(Violation(location="query", path=("cursor",), keyword="format"),))
    return msgspec.structs.replace(before, limit=query.get("limit", before.limit))


class Place(msgspec.Struct, frozen=True):
    """Where a resource stands in its list."""

    id: int
    updated_at: int | None = None


def cursors(page: Asked, shown: Sequence[Place], *, has_more: bool) -> dict[str, str | None]:
    """The cursors of a page: where the pages on either side begin.

    Args:
        page: what the page was asked for.
        shown: the resources on it, in the order of the answer.
        has_more: whether there are more in the direction of the page.
    """
    if not shown:
        return {"prev": None, "next": None}
    # Whence a cursor leads there is something, so only the other way may be at its end.
    comes_from_somewhere = page.last_id is not None or page.page > 1
    has_before, has_behind = (has_more, True) if page.backwards else (comes_from_somewhere, has_more)
    return {
        "prev": _written(page, "prev", shown[0]) if has_before else None,
        "next": _written(page, "next", shown[-1]) if has_behind else None,
    }


def link(request: ValidRequest, cursors: dict[str, str | None]) -> dict[str, str]:
    """The Link header with the cursors as addresses; ``previous`` stands first, as clients have met it."""
    links = [
        f'<{request.url}?{urlencode({"cursor": cursor})}>; rel="{relation}"'
        for relation, cursor in (("previous", cursors["prev"]), ("next", cursors["next"]))
        if cursor is not None
    ]
    return {"Link": ", ".join(links)} if links else {}


def _written(page: Asked, direction: Literal["next", "prev"], place: Place) -> str:
    return _text(
        msgspec.structs.replace(
            page, page=1, direction=direction, last_id=place.id, last_updated_at=place.updated_at
        )
    )


def _text(cursor: Asked) -> str:
    told = msgspec.json.encode(cursor)
    return urlsafe_b64encode(told + _digest(told)).rstrip(b"=").decode()


def _read(text: str) -> Asked | None:
    """The cursor that the text is; ``None`` for text that is none of ours."""
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        told, digest = raw[:-_DIGEST_SIZE], raw[-_DIGEST_SIZE:]
        cursor = _decode(told) if digest == _digest(told) else None
    except (ValueError, msgspec.MsgspecError):
        return None
    # Text may end in bits that count for nothing.
    return cursor if cursor is not None and _text(cursor) == text else None


_DIGEST_SIZE: Final = 8
_decode = msgspec.json.Decoder(Asked).decode


def _digest(told: bytes) -> bytes:
    # It shows what was cut or changed on the way. A cursor may do no more than any query, so it needs no secret.
    return blake2b(told, digest_size=_DIGEST_SIZE, person=b"cursor").digest()


_PAGINATION = "https://developers.loyaltylion.com/api-reference/pagination"

BEHAVIOURS = (
    Behaviour(
        "Lists are newest first; with since_id they rise by id, beginning behind it.",
        Evidence.DOCUMENTED,
        _PAGINATION,
        (
            Promise.HISTORY_PAGES,
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "2"},
                after=(1, 2),
                status=200,
                tells={"/transactions/0/points_approved": 2},
            ),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"since_id": "{last:/transactions/1/id}"},
                status=200,
                tells={"/transactions/0": "{last:/transactions/0}"},
            ),
        ),
    ),
    Behaviour(
        "A cursor carries the filters with it; beside it only limit counts.",
        Evidence.DOCUMENTED,
        _PAGINATION,
        (
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "3"},
                after=(1, 2, 3),
                status=200,
            ),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "1", "since_id": "{last:/transactions/2/id}"},
                status=200,
                tells={"/transactions/0/points_approved": 2},
            ),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "2", "since_id": "999999999999", "cursor": "{last:/cursor/next}"},
                status=200,
                tells={"/transactions/0/points_approved": 3},
                lacks=("/transactions/1",),
            ),
        ),
    ),
    Behaviour(
        "A cursor without a limit beside it keeps the size of the page before.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "1"},
                after=(1, 2, 3),
                status=200,
                tells={"/transactions/0/points_approved": 3},
            ),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"cursor": "{last:/cursor/next}"},
                without=("limit",),
                status=200,
                tells={"/transactions/0/points_approved": 2},
                lacks=("/transactions/1",),
            ),
        ),
    ),
    Behaviour(
        "A cursor that was changed, or is of another list, is 400 with details on cursor.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="transactions.listTransactions", query={"cursor": "made-up"}, status=400, says="cursor"
            ),
        ),
    ),
    Behaviour(
        "A Link header has the cursors as absolute addresses, previous before next.",
        Evidence.OBSERVED,
        "order and addresses, by a client's author; that there is such a header is on the pagination page",
        (
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"limit": "1"},
                after=(1, 1, 1),
                status=200,
                answers_headers={"Link": '<https?://[^>]+cursor=[^>]+>; rel="next"'},
            ),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={"cursor": "{last:/cursor/next}", "limit": "1"},
                status=200,
                answers_headers={"Link": '<https?://[^>]+>; rel="previous", <https?://[^>]+>; rel="next"'},
            ),
        ),
    ),
    Behaviour(
        "created_at_min, created_at_max, updated_at_min and updated_at_max belong to the range.",
        Evidence.DOCUMENTED,
        "https://developers.loyaltylion.com/api/resources/customers; for transactions it is inferred from there",
        (
            Shown(
                operation="customers.listCustomers",
                query={"email": "{first:email}"},
                status=200,
                tells={"/customers/0/email": "{first:email}"},
            ),
            Shown(
                operation="customers.listCustomers",
                query={
                    "email": "{first:email}",
                    "created_at_min": "{last:/customers/0/created_at}",
                    "created_at_max": "{last:/customers/0/created_at}",
                    "updated_at_min": "{last:/customers/0/updated_at}",
                    "updated_at_max": "{last:/customers/0/updated_at}",
                },
                status=200,
                tells={"/customers/0": "{last:/customers/0}"},
            ),
            Shown(operation="customers.listTransactionsForCustomer", query={"limit": "1"}, after=(1,), status=200),
            Shown(
                operation="customers.listTransactionsForCustomer",
                query={
                    "limit": "1",
                    "created_at_min": "{last:/transactions/0/created_at}",
                    "created_at_max": "{last:/transactions/0/created_at}",
                },
                status=200,
                tells={"/transactions/0": "{last:/transactions/0}"},
            ),
        ),
    ),
    Behaviour(
        "A query parameter without a value is 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="customers.listCustomers", query={"limit": ""}, status=400),),
    ),
    Behaviour("A moment without an offset is UTC.", Evidence.OUR_DEFAULT, "-"),
    Behaviour(
        "Query parameters that nobody knows are ignored.",
        Evidence.OBSERVED,
        "client code",
        (Shown(operation="customers.listCustomers", query={"no_such_parameter": "1"}, status=200),),
    ),
)
