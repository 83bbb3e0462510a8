"""Salla's paging: numbered pages, told in camelCase with links of the plain http scheme."""

from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from loyalty_gateway.customer import page_at
from loyalty_gateway.vendor import Behaviour, Evidence, Shown, ValidRequest

_LARGEST_SIZE: Final = 60


class Page(NamedTuple):
    """A page by its number, from 1, and its size."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many come before the page."""
        return (self.number - 1) * self.size


def page_of(request: ValidRequest, *, size: int) -> Page:
    """The page asked for; ``size`` is the operation's own."""
    return Page(number=int(request.query.get("page", 1)), size=int(request.query.get("per_page", size)))


def page_query(*, limit: int | None, offset: int) -> dict[str, str] | None:
    """Asks for the page that begins behind ``offset``; ``None`` for an empty one."""
    page = page_at(offset=offset, limit=limit, largest=_LARGEST_SIZE)
    return None if page is None else {"page": str(page[0]), "per_page": str(page[1])}


def pagination(request: ValidRequest, page: Page, *, count: int, total: int) -> dict[str, Any]:
    """Where the page stands among all, with ``count`` of ``total`` on it."""
    last = max(1, -(-total // page.size))
    links = {}
    if page.number > 1:
        links["previous"] = _link(request, page.number - 1)
    if page.number < last:
        links["next"] = _link(request, page.number + 1)
    return {
        "count": count,
        "total": total,
        "perPage": page.size,
        "currentPage": page.number,
        "totalPages": last,
        "links": links,
    }


def _link(request: ValidRequest, number: int) -> str:
    _, _, place = request.url.partition("://")
    return f"http://{place}?{urlencode({**request.query, 'page': str(number)})}"


BEHAVIOURS = (
    Behaviour(
        "Links to pages have the scheme http, whichever the client used, and keep the rest of the query.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/12250577e0, example",
        (
            Shown(
                operation="Customer-Loyalty-Points",
                query={"per_page": "1", "page": "1"},
                after=(1, 1),
                status=200,
                looks={
                    "/pagination/links/next": r"http://[^?]+\?(?=.*customer_id=)(?=.*\bpage=2)(?=.*per_page=1).*"
                },
            ),
        ),
    ),
    Behaviour(
        "per_page sets the size of a page in any list, 60 at most.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/421124m0",
        (
            Shown(
                operation="List-Customers",
                query={"per_page": "1"},
                status=200,
                tells={"/pagination/perPage": 1},
                lacks=("/data/1",),
            ),
            Shown(
                operation="Customer-Loyalty-Points",
                query={"per_page": "2"},
                after=(1, 1, 1),
                status=200,
                tells={"/pagination/perPage": 2},
                lacks=("/data/2",),
            ),
            Shown(operation="List-Customers", query={"per_page": "60"}, status=200),
            Shown(operation="List-Customers", query={"per_page": "61"}, status=422),
        ),
    ),
    Behaviour(
        "Links that lead nowhere are left out, and links without any are an empty object.",
        Evidence.DOCUMENTED,
        "https://docs.salla.dev/421124m0; the example of List Customers has an empty list instead",
        (
            Shown(
                operation="Customer-Loyalty-Points",
                query={"per_page": "1", "page": "1"},
                after=(1, 1),
                status=200,
                lacks=("/pagination/links/previous",),
            ),
            Shown(
                operation="List-Customers",
                query={"keyword": "nobody.{new}@example.com"},
                status=200,
                tells={"/pagination/links": {}},
            ),
        ),
    ),
    Behaviour(
        "An empty list has one page.",
        Evidence.INFERRED,
        "the paginator whose keys these are",
        (
            Shown(
                operation="List-Customers",
                query={"keyword": "nobody.{new}@example.com"},
                status=200,
                tells={"/data": [], "/pagination/totalPages": 1},
            ),
        ),
    ),
    Behaviour(
        "A page beyond the last is empty.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="List-Customers", query={"page": "99999"}, status=200, says='"data":[]'),),
    ),
    Behaviour(
        "A page, a size, a day or an extra field that is not valid is 422 on the parameter; so is an empty one.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="List-Customers", query={"page": "0"}, status=422, says="page"),),
    ),
)
