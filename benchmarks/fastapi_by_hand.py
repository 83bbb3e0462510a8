"""What one would write by hand for one vendor: FastAPI, pydantic models for body and answer, nothing behind them.

Types alone are checked, and no credential, so that nothing weighs on it that its author might have left out.
"""

from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel


class Adjustment(BaseModel):
    """Mage's body."""

    adjustment: int
    note: str | None = None
    update_lifetime_points: bool = True
    send_email: bool = True


class Attributes(BaseModel):
    """The balance before and after."""

    shopify_customer_id: str
    adjustment: int
    points_before: int
    points_after: int
    current_points: int
    note: str | None


class Resource(BaseModel):
    """JSON:API's envelope of one resource."""

    type: Literal["points_adjustment"] = "points_adjustment"
    id: str
    attributes: Attributes


class PointsAdjustment(BaseModel):
    """Mage's answer."""

    data: Resource


app = FastAPI()


@app.post("/v1/customers/{identifier}/points")
async def adjust(identifier: str, body: Adjustment) -> PointsAdjustment:
    """The vendor's answer with the points that were asked for, and no balance behind it."""
    return PointsAdjustment(
        data=Resource(
            id=identifier,
            attributes=Attributes(
                shopify_customer_id=identifier,
                adjustment=body.adjustment,
                points_before=0,
                points_after=body.adjustment,
                current_points=body.adjustment,
                note=body.note,
            ),
        )
    )
