"""Ports that are taken, and ports that are not."""

import socket
from collections.abc import Iterator

import pytest

from cli.stack import StackError
from cli.stack.ports import check_free, free_port_base, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_with_the_process_it_was_for(taken: int) -> None:
    with pytest.raises(StackError, match=rf"port in use: {taken} \(for payment\)"):
        check_free({"orders": free_port_base(), "payment": taken})


def test_a_free_port_base_has_a_hundred_free_ports() -> None:
    base = free_port_base()

    assert all(is_free(port) for port in range(base, base + 100))
