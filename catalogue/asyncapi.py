"""The catalogue as an AsyncAPI 3.0 document. Where the facts live on NATS stands in `x-nats`.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import re
from typing import Any

import yaml

from catalogue.contracts import definitions
from catalogue.model import Catalogue, Fact, Reaction, Service

PROTOBUF = "application/vnd.google.protobuf;version=3"

CLOUD_EVENT = {
    "type": "object",
    "description": "CloudEvents 1.0 in binary mode: attributes as NATS headers.",
    "required": ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-datacontenttype"],
    "properties": {
        "ce-specversion": {"const": "1.0"},
        "ce-id": {"type": "string", "format": "uuid", "description": "The same for every copy of the fact."},
        "ce-source": {"type": "string", "format": "uri-reference", "description": "Who announced it."},
        "ce-type": {"type": "string", "description": "Full name of the message."},
        "ce-subject": {"type": "string", "description": "The key: what ties the facts of one story together."},
        "ce-time": {"type": "string", "format": "date-time", "description": "When it was announced."},
        "ce-datacontenttype": {"const": "application/protobuf"},
        "ce-causationid": {
            "type": "string",
            "description": "The request or the fact that led to it: of CloudEvents' correlation extension.",
        },
        "Nats-Msg-Id": {"type": "string", "description": "ce-id again: the stream keeps one copy."},
        "traceparent": {"type": "string", "description": "W3C trace context of the announcement."},
    },
}


def document(catalogue: Catalogue) -> str:
    """The AsyncAPI document, as YAML."""
    content = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The facts of the shop",
            "version": "v1",
            "description": "Generated from the code by `make catalogue`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/protobuf",
        "channels": {fact.event: _channel(fact) for fact in catalogue.story()},
        "operations": {name: each for service in catalogue.services for name, each in _operations(catalogue, service)},
        "components": {
            "messages": {fact.event: _message(fact) for fact in catalogue.story()},
            "schemas": {"CloudEvent": CLOUD_EVENT},
        },
    }
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _channel(fact: Fact) -> dict[str, Any]:
    return {
        "address": f"{fact.name}.{{{fact.key}}}",
        "description": fact.comment,
        "parameters": {fact.key: {"description": "The key of the story."}},
        "messages": {fact.event: {"$ref": f"#/components/messages/{fact.event}"}},
        "x-nats": {"stream": fact.stream, "subject": fact.subject},
    }


def _operations(catalogue: Catalogue, service: Service) -> list[tuple[str, dict[str, Any]]]:
    announces = [catalogue.fact(name) for name in service.announces]
    return [
        *((f"{service.name}_announces_{fact.event}", _operation("send", service, fact)) for fact in announces),
        *((each.durable, _reaction(catalogue, service, each)) for each in service.reactions),
    ]


def _operation(action: str, service: Service, fact: Fact) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{fact.event}"},
        "messages": [{"$ref": f"#/channels/{fact.event}/messages/{fact.event}"}],
        "tags": [{"name": service.name}],
    }


def _reaction(catalogue: Catalogue, service: Service, reaction: Reaction) -> dict[str, Any]:
    return {
        **_operation("receive", service, catalogue.fact(reaction.fact)),
        "summary": reaction.does,
        "x-nats": {"stream": reaction.stream, "durable": reaction.durable},
        "x-leads-to": [catalogue.fact(name).event for name in reaction.leads_to],
    }


def _message(fact: Fact) -> dict[str, Any]:
    return {
        "name": fact.name,
        "summary": fact.comment,
        "contentType": "application/protobuf",
        "correlationId": {"location": "$message.header#/ce-subject"},
        "headers": {
            "allOf": [{"$ref": "#/components/schemas/CloudEvent"}, {"properties": {"ce-type": {"const": fact.name}}}]
        },
        "payload": {"schemaFormat": PROTOBUF, "schema": _source(fact.name)},
    }


def _source(message: str) -> str:
    """A proto file of its own for the message: its text, and that of all it is made of, by their short names."""
    text = "\n\n".join(definitions()[name].text for name in _parts(message))
    return 'syntax = "proto3";\n\n' + re.sub(r"\b(?:\w+\.)+v\d+\.(?=[A-Z])", "", text) + "\n"


def _parts(message: str) -> list[str]:
    """The message, and the messages and enums that it is made of, each once."""
    found = [message]
    for name in found:  # it grows meanwhile
        found += [used for used in definitions()[name].uses if used not in found]
    return found


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
