"""Routes that are documented by being declared: one decorator for the path, what goes in, and what may come out.

Rule: a body is JSON or it is refused (415); a key given twice, `NaN`, nesting without end and unknown fields are
errors with a name. Every operation of the OpenAPI document is made here.
Source: RFC 8259 for JSON, of which we read the unambiguous part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, NoReturn, TypeVar

import flask_smorest
from flask import Request, Response, request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from webapp.auth import public as mark_public
from webapp.errors import InvalidFields
from webapp.schemas.documents import Problem

View = TypeVar("View", bound=Callable[..., Response])
#: What any operation may answer with, for the document.
_FAULTS = {
    400: "a field is wrong; `errors` names it",
    401: "no valid token",
    403: "outside the token's scope",
    429: "as many queries of the tenant are running as may; `Retry-After` says when to try again",
    503: "the store, the queue or too many clusters are silent; `Retry-After` says when to try again",
}
#: Headers of answers that belong to a query.
_LEDGER = {
    "X-Federation-Coverage": {
        "schema": {"type": "string"},
        "description": "clusters that answered in full / clusters asked, and those missing: `5/6;missing=stage`",
    },
    "X-Query-Id": {"schema": {"type": "string"}, "description": "the job's id"},
}
_NOT_JSON = "the body is not JSON"


class _StrictParser(FlaskParser):
    """Reads JSON bodies and URL parameters; refuses what could be read two ways."""

    # None leaves it to the schema, and every schema of ours refuses unknown fields.
    DEFAULT_UNKNOWN_BY_LOCATION = dict.fromkeys(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION)
    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Read the body, whatever its size within the cap."""
        if not req.is_json:
            raise UnsupportedMediaType(f"the body is {req.mimetype or 'of no type'}; send application/json")
        body = req.get_data(cache=True)
        if req.content_length is None and len(body) >= (req.max_content_length or len(body) + 1):
            # A body sent in chunks is cut at the cap by the library, and what is left could be valid.
            raise RequestEntityTooLarge
        return parse_json(body)

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Read the parameters; one that is given twice is joined where it is a list and refused elsewhere."""
        found: dict[str, str] = {}
        for name, values in req.args.lists():
            field = schema.fields.get(name)
            if len(values) > 1 and not getattr(field, "joins_repeated", False):
                raise InvalidFields([{"field": name, "detail": "is given more than once", "expected": "it once"}])
            found[name] = ",".join(values)
        return found

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Turn the library's tree of messages into our list of fields."""
        # The library files everything under the name of the place it was read from.
        (found,) = error.messages_dict.values()
        raise InvalidFields(list(_field_errors(found, schema))) from None


def parse_json(body: bytes) -> Any:
    """Read a JSON object of a request.

    Raises BadRequest: it is none, nested too deep, has a key twice, or a number that JSON has not.
    """
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object_of, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadRequest(f"{_NOT_JSON} that can be read: it is nested too deep") from None
    except UnicodeDecodeError as exc:
        raise BadRequest(f"{_NOT_JSON}: byte {exc.start} is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise BadRequest(f"{_NOT_JSON}: {exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    except ValueError:
        raise BadRequest(f"{_NOT_JSON} that can be read: a number is too long") from None
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    return value


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"{_NOT_JSON} with one meaning: the key {twice[:100]!r} is given twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"{_NOT_JSON}: {name} is no JSON number")


def _field_errors(messages: Mapping[Any, Any], schema: Schema, prefix: str = "") -> Iterator[dict[str, str]]:
    for name, found in messages.items():
        field = f"{prefix}{name}"
        if isinstance(found, Mapping) and "detail" in found and "expected" in found:
            yield {"field": field, "detail": found["detail"][0], "expected": found["expected"][0]}
        elif isinstance(found, Mapping):
            yield from _field_errors(found, schema, f"{field}.")
        elif found == [schema.error_messages["unknown"]] or found == ["Unknown field."]:
            known = ", ".join(schema.fields)
            yield {"field": field, "detail": f"there is no field {str(name)!r}", "expected": f"some of {known}"}
        else:
            yield {"field": field, "detail": " ".join(str(text) for text in found)}


class Operations(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint whose routes are declared with `operation`."""

    ARGUMENTS_PARSER = _StrictParser()

    def operation(
        self,
        method: str,
        rule: str,
        *,
        answers: Mapping[int, tuple[str, type[Schema] | None]],
        body: type[Schema] | None = None,
        parameters: type[Schema] | None = None,
        faults: Mapping[int, str] | None = None,
        headers: Mapping[str, str] | None = None,
        ledger: bool = False,
        public: bool = False,
        streams: str = "",
    ) -> Callable[[View], View]:
        """Declare a route: its view gets the validated body or parameters, if it has some, after the path's parts.

        `answers` and `faults` are status → words (and schema); `headers` are request headers → words; `ledger` says
        that answers belong to a query and carry its coverage; `streams` says which events a 200 streams. The first
        line of the view's docstring is the operation's summary, the rest its description.
        """

        def declare(view: View) -> View:
            wrapped: Any = mark_public(view) if public else view
            known = {} if public else _FAULTS
            for status, words in (known | dict(faults or {})).items():
                wrapped = self.alt_response(
                    status, schema=Problem, content_type="application/problem+json", description=words
                )(wrapped)
            for status, (words, schema) in answers.items():
                shown = _LEDGER if ledger else None
                wrapped = self.response(status, schema, description=words, headers=shown)(wrapped)
            if streams:
                text = {"type": "string"}
                wrapped = self.response(200, text, content_type="text/event-stream", description=streams)(wrapped)
            if body:
                wrapped = self.arguments(body, location="json")(wrapped)
            if parameters:
                wrapped = self.arguments(parameters, location="query")(wrapped)
            else:
                wrapped = _without_parameters(wrapped)
            documented: dict[str, Any] = {"security": [{}] if public else [{"bearer": []}]}
            if headers:
                documented["parameters"] = [
                    {"in": "header", "name": name, "schema": {"type": "string"}, "description": words}
                    for name, words in headers.items()
                ]
            self.route(rule, methods=[method])(self.doc(**documented)(wrapped))
            return view

        return declare


def _without_parameters(view: Any) -> Any:
    """A route that takes no URL parameters refuses them: a filter in the wrong place must not vanish."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if request.args:
            raise InvalidFields(
                [{"field": name, "detail": "this route takes no URL parameters"} for name in request.args]
            )
        return view(*args, **kwargs)

    return checked
