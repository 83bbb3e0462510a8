"""What an operator decides of an upstream."""

import msgspec

from loyalty_gateway.upstream.loss import Policy


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decides of an upstream.

    ``loss`` is what is done with a request of which something would be lost. ``marks`` puts a short reference
    into the reason, by which an adjustment is known again in the upstream's history. ``list_at_once`` customers of
    one request are adjusted before it is answered. So many ``patience_seconds`` a request waits for what came of
    one that is unclear; ``settle_seconds`` behind it, what the history does not show was not carried out.
    """

    loss: Policy = "record"
    marks: bool = True
    list_at_once: int = 50
    patience_seconds: float = 5.0
    settle_seconds: float = 90.0
    keep_keys_seconds: float = 86_400
