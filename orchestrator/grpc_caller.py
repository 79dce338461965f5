"""The caller that speaks gRPC."""

import re
from collections.abc import Callable
from enum import Enum, auto

import grpc
from google.protobuf.message import Message

from mesh import fence
from mesh.contract import Method
from mesh.rpc.status import error_info
from orchestrator.caller import Call, NoAnswer, Refused, StaleEpoch

REASON = re.compile("[A-Z][A-Z0-9_]{0,62}")
"""UPPER_SNAKE_CASE (AIP-193)."""
LONGEST_MESSAGE = 500
"""Characters of a participant's message that are kept."""


class Meaning(Enum):
    """What a status code says about the request."""

    REFUSED = auto()
    NO_ANSWER = auto()


MEANING = {
    # Only a participant's own code gives these; gRPC itself never does. They are decided before anything is done, or
    # are the stored outcome of an earlier attempt.
    grpc.StatusCode.FAILED_PRECONDITION: Meaning.REFUSED,
    grpc.StatusCode.NOT_FOUND: Meaning.REFUSED,
    grpc.StatusCode.OUT_OF_RANGE: Meaning.REFUSED,
    grpc.StatusCode.INVALID_ARGUMENT: Meaning.REFUSED,
    # The call did not arrive, or its answer did not.
    grpc.StatusCode.UNAVAILABLE: Meaning.NO_ANSWER,
    grpc.StatusCode.DEADLINE_EXCEEDED: Meaning.NO_ANSWER,
    grpc.StatusCode.CANCELLED: Meaning.NO_ANSWER,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Meaning.NO_ANSWER,
    grpc.StatusCode.ABORTED: Meaning.NO_ANSWER,
    grpc.StatusCode.INTERNAL: Meaning.NO_ANSWER,
    grpc.StatusCode.UNKNOWN: Meaning.NO_ANSWER,
    grpc.StatusCode.DATA_LOSS: Meaning.NO_ANSWER,
    # The mesh says no, not the business: a wrong configuration, or a roll-out that is halfway. It does not tell
    # whether an earlier attempt got through, so it must not unwind from the step before.
    grpc.StatusCode.PERMISSION_DENIED: Meaning.NO_ANSWER,
    grpc.StatusCode.UNAUTHENTICATED: Meaning.NO_ANSWER,
    grpc.StatusCode.UNIMPLEMENTED: Meaning.NO_ANSWER,
    # The request id was used with another body, by us before a roll-out: that other request may have been done.
    grpc.StatusCode.ALREADY_EXISTS: Meaning.NO_ANSWER,
}
"""What each code means to a saga. Refused unwinds from the step before, so it is for codes that prove that this step
was not done; everything else is repeated as the contract allows, and is unknown after that.
"""


class GrpcCaller:
    """Calls participants by unary gRPC, over channels that others make."""

    def __init__(self, channel_for: Callable[[str], grpc.aio.Channel]) -> None:
        """`channel_for` finds the channel to a service by its full name."""
        self._channel_for = channel_for
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[Message, bytes]] = {}

    async def call(self, call: Call) -> bytes:
        """Make the call, within the deadline of its contract."""
        metadata = (
            (fence.SAGA_ID, call.saga_id),
            (fence.STEP, call.path),
            (fence.ATTEMPT, str(call.attempt)),
            (fence.EPOCH, str(call.epoch)),
            (fence.IDEMPOTENCY_KEY, call.key),
        )
        try:
            return await self._method(call.method)(call.request, timeout=call.method.deadline, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _sorted(error) from error

    def _method(self, method: Method) -> grpc.aio.UnaryUnaryMultiCallable[Message, bytes]:
        if method.path not in self._methods:
            channel = self._channel_for(method.service)
            self._methods[method.path] = channel.unary_unary(method.path, request_serializer=_serialize)
        return self._methods[method.path]


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _sorted(error: grpc.aio.AioRpcError) -> Refused | NoAnswer | StaleEpoch:
    code = error.code()
    info = error_info(error)
    message = (error.details() or "")[:LONGEST_MESSAGE].replace("\0", "")
    if code is grpc.StatusCode.ABORTED and info.reason == fence.STALE_EPOCH:
        return StaleEpoch(message)
    if MEANING[code] is Meaning.REFUSED:
        return Refused(info.reason if REASON.fullmatch(info.reason) else code.name, message)
    return NoAnswer(code.name, message)
