"""Errors on the wire: `google.rpc.Status` with exactly one `ErrorInfo` (AIP-193), there and back."""

from collections.abc import Sequence
from contextlib import suppress

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from mesh.errors import Kind, Outage, Refusal
from mesh.validation import Violation

DETAILS = "grpc-status-details-bin"
"""The trailer that carries the status, as every gRPC implementation has it."""
RETRY_DELAY = duration_pb2.Duration(nanos=200_000_000)
"""What a client is told to wait before it asks again."""
TOLD_MAX = 20
"""Violations that an answer names: clients take 8 KiB of trailers, and refuse the whole answer where there is more."""
_ANSWERS = {kind.value: kind for kind in Kind if kind is not Kind.ABORTED}
"""Codes that answer the request. ABORTED does not: it is about who sent it."""


def of_refusal(refusal: Refusal, domain: str) -> status_pb2.Status:
    """The status that says no. `domain` is the proto package that owns the reason."""
    code = grpc.StatusCode[refusal.kind.value]
    return _status(code, refusal.reason, refusal.message, domain, refusal.metadata)


def of_violations(found: Sequence[Violation], domain: str) -> status_pb2.Status:
    """The status of a request that breaks its contract: names the first fields and what is wrong with them."""
    told, untold = found[:TOLD_MAX], found[TOLD_MAX:]
    bad = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=each.field, description=each.description) for each in told
        ]
    )
    message = "; ".join(f"{each.field} {each.description}" for each in told)
    if untold:
        message += f"; and {len(untold)} more"
    return _status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", message, domain, {}, bad)


def of_outage(domain: str) -> status_pb2.Status:
    """The status of a call that may be repeated. It does not leak what is down."""
    retry = error_details_pb2.RetryInfo(retry_delay=RETRY_DELAY)
    message = "something this service depends on does not answer; repeat the call"
    return _status(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", message, domain, {}, retry)


def of_bug(domain: str) -> status_pb2.Status:
    """The status of an unexpected error. The log has the details, the caller does not."""
    return _status(grpc.StatusCode.INTERNAL, "INTERNAL", "an unexpected error; see the service's log", domain, {})


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The `ErrorInfo` of a failed call; an empty one if it carries none that can be read."""
    info = error_details_pb2.ErrorInfo()
    with suppress(DecodeError):
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS and isinstance(value, bytes):
                any(detail.Unpack(info) for detail in status_pb2.Status.FromString(value).details)
    return info


def from_error(error: grpc.aio.AioRpcError) -> Refusal | Outage:
    """What a peer's error means here: its refusal is passed on as it is, anything else is an outage."""
    info = error_info(error)
    kind = _ANSWERS.get(error.code().name)
    if kind is None:
        return Outage(f"{error.code().name}: {error.details()}")
    return Refusal(kind, info.reason or kind.value, error.details() or "", **dict(info.metadata))


def _status(
    code: grpc.StatusCode, reason: str, message: str, domain: str, metadata: dict[str, str], *more: Message
) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)
    details: list[any_pb2.Any] = []
    for each in (info, *more):
        details.append(any_pb2.Any())
        details[-1].Pack(each)
    return status_pb2.Status(code=code.value[0], message=message, details=details)
