import pytest
import typer
from ensemble.orchestrator.v1.saga_pb2 import SAGA_STATE_STUCK, SagaState

from cli.states import state_of

PREFIX = "SAGA_STATE_"


@pytest.mark.parametrize("name", ["STUCK", "stuck"])
def test_a_state_is_known_by_its_name(name: str) -> None:
    assert state_of(SagaState.DESCRIPTOR, PREFIX, name) == SAGA_STATE_STUCK


def test_no_state_is_every_state() -> None:
    assert state_of(SagaState.DESCRIPTOR, PREFIX, None) == 0


@pytest.mark.parametrize("name", ["UNSPECIFIED", "LOST", ""])
def test_a_state_that_there_is_not_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"none of RUNNING, .*STUCK"):
        state_of(SagaState.DESCRIPTOR, PREFIX, name)
