"""How values stand in JSON bodies: Pydantic types around the protocol's own parsers.

A broken value raises the protocol's MalformedError with its own code; a missing or unknown field is a schema
error (`request-schema`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from platemark.protocol.byte_text import (
    base64url,
    parse_account_signature,
    parse_base64url,
    parse_signature,
    signature_text,
)
from platemark.protocol.typed_data import (
    Acceptance,
    Close,
    Deposit,
    EditionLimit,
    Mint,
    MintBatch,
    Move,
    Outcome,
    Publication,
    Recall,
    Registration,
    Reservation,
    Return,
    Sale,
    Stop,
    Struct,
    Terms,
    TokenRequest,
    Withdrawal,
)
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
    parse_id,
)

MAX_SEALED_BYTES = 8192


class Wire(BaseModel):
    """A body or a part of one: camelCase names, nothing unknown, nothing converted."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        strict=True,
        frozen=True,
    )


_Body = TypeVar("_Body", bound=Wire)


def json_body(model: type[Wire]) -> dict[str, Any]:
    """Return what the OpenAPI document says of an endpoint that reads its body by `read_json`.

    The model's own schema must be in the document, because another endpoint names it.
    """
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_json(request: Request, model: type[_Body]) -> _Body:
    """Return a request's JSON body.

    Errors: RequestValidationError for what is no JSON or does not fit; those of the fields.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestValidationError([{"loc": ("body",), "msg": "a JSON body (application/json) was expected"}])
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Annotates a value that travels as JSON of one form; `parse` raises MalformedError for any other.

    A value that is of type `made` already passes: answers are made from values. No JSON value may be of that type,
    or a request could pass it unread; ids, which are integers, have types of their own in requests.
    """

    parse: Callable[[Any], Any]
    write: Callable[[Any], Any]
    form: dict[str, Any]
    made: type | tuple[type, ...] = bytes

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema: JSON is parsed, a value that is one already passes."""

        def read(value: Any) -> Any:
            return value if isinstance(value, self.made) else self.parse(value)

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write, when_used="json-unless-none"),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the form as JSON Schema."""
        return dict(self.form)


def _text(pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "examples": [example]}


_HEX32 = _text("^0x[0-9a-f]{64}$", "0x" + "5a" * 32)
_ADDRESS = _text("^0x[0-9a-fA-F]{40}$", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
_SIGNATURE = _text("^0x([0-9a-f]{2}){65,}$", "0x" + "5a" * 65)
_BASE64URL = _text("^[A-Za-z0-9_-]*$", "cGxhdGVtYXJr")


def _bytes(data: Any) -> Any:
    return parse_base64url(data, max_bytes=MAX_SEALED_BYTES)


DigestField = Annotated[Digest32, Text(parse_digest, digest_text, _HEX32)]
AddressField = Annotated[Address, Text(parse_address, address_text, _ADDRESS)]
DesignIdField = Annotated[DesignId, Text(parse_id, id_text, _HEX32, int)]
DesignIdInput = Annotated[DesignId, Text(parse_id, id_text, _HEX32, ())]
LicenseIdField = Annotated[LicenseId, Text(parse_id, id_text, _HEX32, int)]
LicenseIdInput = Annotated[LicenseId, Text(parse_id, id_text, _HEX32, ())]
TokenIdField = Annotated[TokenId, Text(parse_id, id_text, _HEX32, int)]
TokenIdInput = Annotated[TokenId, Text(parse_id, id_text, _HEX32, ())]
AgentSignature = Annotated[bytes, Text(parse_signature, signature_text, _SIGNATURE)]
AccountSignature = Annotated[bytes, Text(parse_account_signature, signature_text, _SIGNATURE)]
BytesField = Annotated[bytes, Text(_bytes, base64url, _BASE64URL)]
"""Up to 8 KiB as base64url."""


def _struct(cls: type[Struct]) -> Text:
    properties: dict[str, Any] = {}
    for member in cls.TYPE[cls.TYPE.index("(") + 1 : cls.TYPE.index(")")].split(","):
        kind, name = member.split(" ")
        properties[name] = _MEMBER_FORMS.get(kind) or _form(kind)
    form = {
        "type": "object",
        "title": cls.__name__,
        "description": f"EIP-712: {cls.TYPE}",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return Text(cls.from_json, lambda value: value.to_json(), form, cls)


def _form(kind: str) -> dict[str, Any]:
    if kind.endswith("[]"):
        return {"type": "array", "items": _form(kind.removesuffix("[]"))}
    return {"type": "object"} if kind[0].isupper() else {"type": "integer"}


_MEMBER_FORMS = {
    "bytes32": _HEX32,
    "uint256": _HEX32,
    "uint96": _text("^[0-9]+$", "1000000000000000"),
    "address": _ADDRESS,
    "bool": {"type": "boolean"},
}

RegistrationField = Annotated[Registration, _struct(Registration)]
PublicationField = Annotated[Publication, _struct(Publication)]
RecallField = Annotated[Recall, _struct(Recall)]
DepositField = Annotated[Deposit, _struct(Deposit)]
TermsField = Annotated[Terms, _struct(Terms)]
AcceptanceField = Annotated[Acceptance, _struct(Acceptance)]
MintField = Annotated[Mint, _struct(Mint)]
MintBatchField = Annotated[MintBatch, _struct(MintBatch)]
SaleField = Annotated[Sale, _struct(Sale)]
MoveField = Annotated[Move, _struct(Move)]
ReturnField = Annotated[Return, _struct(Return)]
WithdrawalField = Annotated[Withdrawal, _struct(Withdrawal)]
EditionLimitField = Annotated[EditionLimit, _struct(EditionLimit)]
ReservationField = Annotated[Reservation, _struct(Reservation)]
TokenRequestField = Annotated[TokenRequest, _struct(TokenRequest)]
OutcomeField = Annotated[Outcome, _struct(Outcome)]
CloseField = Annotated[Close, _struct(Close)]
StopField = Annotated[Stop, _struct(Stop)]
