"""The vendors' OpenAPI documents: loading, correcting, compiling, checking."""

from loyalty_gateway.spec.authority import Defect
from loyalty_gateway.spec.contract import Contract, OperationContract, SecurityScheme
from loyalty_gateway.spec.document import Action, Document, load_document, specs_folder
from loyalty_gateway.spec.fields import Fields

__all__ = [
    "Action",
    "Contract",
    "Defect",
    "Document",
    "Fields",
    "OperationContract",
    "SecurityScheme",
    "load_document",
    "specs_folder",
]
