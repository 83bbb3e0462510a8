"""What a document says of requests and answers at any stage of its correction."""

from typing import Any

import pytest

from loyalty_gateway.spec.judge import Finding, Judge, Spoken
from loyalty_gateway.vendor import Answer


def _document(version: str, schema: dict[str, Any], **response: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    operation = {
        "parameters": [
            {"name": "page", "in": "query", "required": True, "schema": {"type": "integer", "minimum": 1}}
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"content": content, **response}},
    }
    return {"openapi": version, "paths": {"/points": {"post": operation}}}


def _spoken(body: Any, page: str = "1") -> Spoken:
    return Spoken(query={"page": page}, media_type="application/json", body=body)


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_a_value_is_held_against_its_schema(version: str) -> None:
    judge = Judge(_document(version, {"type": "object", "properties": {"points": {"type": "integer"}}}))

    assert judge.of_request("POST", "/points", _spoken({"points": 5})) == ()
    assert judge.of_request("POST", "/points", _spoken({"points": "5"})) == (Finding("body", "/points", "type"),)


def test_null_is_a_type_in_3_1_and_a_word_of_its_own_in_3_0() -> None:
    schema = {"type": "string", "nullable": True}

    found = {
        version: Judge(_document(version, schema)).of_request("POST", "/points", _spoken(None))
        for version in ("3.0.3", "3.1.0")
    }

    assert found == {"3.0.3": (), "3.1.0": (Finding("body", "", "type"),)}


@pytest.mark.parametrize(
    ("page", "found"), [("1", ()), ("0", ("minimum",)), ("one", ("type",)), ("1_0", ("type",))]
)
def test_text_in_a_query_stands_for_what_its_schema_says(page: str, found: tuple[str, ...]) -> None:
    judge = Judge(_document("3.1.0", {}))

    told = judge.of_request("POST", "/points", _spoken({}, page))

    assert told == tuple(Finding("query", "page", constraint) for constraint in found)


def test_an_answer_is_judged_by_status_media_type_headers_and_body() -> None:
    header = {"headers": {"X-Left": {"required": True, "schema": {"type": "integer"}}}}
    judge = Judge(_document("3.1.0", {"type": "object", "required": ["id"]}, **header))

    def aspects(answer: Answer) -> list[str]:
        return [finding.aspect for finding in judge.of_answer("POST", "/points", answer)]

    assert aspects(Answer(200, {"id": 1}, {"x-left": "3"})) == []
    assert aspects(Answer(201, {"id": 1}, {"x-left": "3"})) == ["status"]
    assert aspects(Answer(200, {"id": 1}, {"x-left": "many"})) == ["headers"]
    assert aspects(Answer(200, {"id": 1})) == ["headers"]
    assert aspects(Answer(200, {}, {"x-left": "3"})) == ["body"]
    assert aspects(Answer(200, headers={"x-left": "3"})) == ["body"]
    assert aspects(Answer(200, headers={"x-left": "3"}, text="<p>", media_type="text/html")) == ["media type"]


def test_of_an_answer_only_what_the_document_speaks_of_is_judged() -> None:
    header = {"headers": {"X-Left": {"schema": {"type": "integer"}}}}
    bare, full = (Judge(_document("3.1.0", {}, **more)) for more in ({}, header))

    def reached(judge: Judge, answer: Answer) -> set[str]:
        return {*judge.judged_answer("POST", "/points", answer)[1]}

    assert reached(bare, Answer(500, {})) == {"status"}
    assert reached(bare, Answer(200, {})) == {"status", "media type", "body"}
    assert reached(full, Answer(200, {})) == {"status", "headers", "media type", "body"}
    assert reached(full, Answer(200, text="<p>", media_type="text/html")) == {"status", "headers", "media type"}


def test_a_reference_that_leads_nowhere_says_nothing() -> None:
    judge = Judge(_document("3.1.0", {"$ref": "#/components/schemas/Missing"}))

    assert judge.of_request("POST", "/points", _spoken({"points": "5"})) == ()


def test_every_constraint_of_a_request_is_listed() -> None:
    schema = {"type": "object", "required": ["points"], "properties": {"points": {"minimum": 1}}}

    listed = Judge(_document("3.1.0", schema)).constraints("POST", "/points")

    assert listed == {
        Finding("query", "page", "required"),
        Finding("query", "page", "type"),
        Finding("query", "page", "minimum"),
        Finding("body", "", "type"),
        Finding("body", "", "required"),
        Finding("body", "/points", "minimum"),
    }


def test_of_an_answer_those_constraints_are_met_that_something_in_it_is_about() -> None:
    answered = {
        "type": "object",
        "properties": {"points": {"minimum": 1}, "tiers": {"items": {"enum": ["gold"]}}},
        "if": {"properties": {"points": {"maximum": 5}}},
        "then": {"required": ["tiers"]},
        "else": {"maxProperties": 3, "properties": {"note": {"type": "string"}}},
    }
    content = {"application/json": {"schema": answered}}
    header = {"X-Left": {"schema": {"type": "integer"}}}
    document = _document("3.1.0", {})
    document["paths"]["/points"]["post"]["responses"] = {"200": {"headers": header, "content": content}}
    judge = Judge(document)

    def met(*answer: Answer) -> set[str]:
        return {str(one) for one in judge.answer_constraints("POST", "/points", 200, *answer)}

    every = {
        "headers X-Left: type",
        "body of 200: type",
        "body of 200 /points: minimum",
        "body of 200 /tiers/*: enum",
        "body of 200: required",
        "body of 200 /note: type",
    }
    assert met() == every
    assert met(Answer(200, {})) == {"body of 200: type", "body of 200: required"}
    assert met(Answer(200, {"points": 7, "tiers": []})) == {"body of 200: type", "body of 200 /points: minimum"}
    assert met(Answer(200, {"points": 2, "tiers": ["gold"], "note": "x"}, {"x-left": "3"})) == every - {
        "body of 200 /note: type"
    }
    assert met(Answer(200, text="<p>", media_type="text/html")) == set()
