"""What a participant's status means to a saga, however it is made."""

import grpc
import pytest

from mesh.errors import refused
from mesh.rpc.status import DETAILS, error_info, of_refusal
from orchestrator.caller import NoAnswer, Refused
from orchestrator.grpc_caller import _sorted


def failed(code: grpc.StatusCode, details: bytes, message: str = "no") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata((DETAILS, details)), message)


def with_reason(reason: str) -> bytes:
    return of_refusal(refused(reason, "no"), "shop.inventory.v1").SerializeToString()


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        (with_reason("OUT_OF_STOCK"), "OUT_OF_STOCK"),
        (with_reason("nul \0 in it"), "FAILED_PRECONDITION"),
        (with_reason(""), "FAILED_PRECONDITION"),
        (b"\xff no message", "FAILED_PRECONDITION"),
    ],
)
def test_a_refusal_has_a_reason_that_can_be_stored(details: bytes, reason: str) -> None:
    refusal = _sorted(failed(grpc.StatusCode.FAILED_PRECONDITION, details, "nul \0 in it"))

    assert isinstance(refusal, Refused)
    assert (refusal.reason, refusal.message) == (reason, "nul  in it")


def test_details_that_cannot_be_read_tell_nothing() -> None:
    assert error_info(failed(grpc.StatusCode.ABORTED, b"\xff")).reason == ""
    assert isinstance(_sorted(failed(grpc.StatusCode.ABORTED, b"\xff")), NoAnswer)
