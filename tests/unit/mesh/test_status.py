"""Errors as they are sent."""

from mesh.rpc import status
from mesh.validation import Violation


def test_however_many_fields_are_wrong_the_answer_fits_into_what_a_client_takes() -> None:
    wrong = [Violation(f"purchase.items[{index}].quantity", "is -5; allowed is 1 to 10000") for index in range(200)]

    answer = status.of_violations(wrong, "shop.customer.v1")

    assert len(answer.message) + 4 / 3 * answer.ByteSize() < 8192
    assert answer.message.endswith("; and 180 more")
