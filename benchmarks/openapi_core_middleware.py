"""The bare route behind openapi-core's own middleware, which checks request and answer by the same spec."""

from openapi_core import OpenAPI
from openapi_core.contrib.starlette.middlewares import StarletteOpenAPIMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from bare import adjust
from loyalty_gateway.spec import load_document, specs_folder

# The middleware refuses hosts that are not the document's servers.
_SPEC = load_document("mage", specs_folder()).corrected | {"servers": [{"url": "/"}]}

app = Starlette(
    routes=[Route("/v1/customers/{identifier}/points", adjust, methods=["POST"])],
    middleware=[Middleware(StarletteOpenAPIMiddleware, openapi=OpenAPI.from_dict(_SPEC))],
)
