"""Where a stack's traces go: by the options of `ensemble up`, and by what the caller's environment names."""

import json
from pathlib import Path

import pytest

from cli.stack import StackError
from cli.stack.layout import Layout
from cli.stack.topology import SECRETS, Topology
from cli.stack.traces import ENDPOINTS, Traces, as_inherited, chosen

OWN = "http://192.0.2.1:4317"
EXPORTER = "OTEL_TRACES_EXPORTER"


@pytest.fixture(autouse=True)
def _without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENDPOINTS, "OTEL_BSP_SCHEDULE_DELAY"):
        monkeypatch.delenv(name, raising=False)


def traces(*, jaeger: bool = False, wanted: bool = True, query: str | None = None) -> Traces:
    return chosen(with_jaeger=jaeger, wanted=wanted, query=query)(Layout())


@pytest.fixture
def jaeger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something of that name on the PATH."""
    binary = tmp_path / "jaeger"
    binary.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return binary


def test_our_collector_keeps_them_unless_something_else_is_asked_for() -> None:
    chosen = traces()

    assert chosen.program is not None
    assert chosen.program.name == "collector"
    assert (chosen.endpoint, chosen.query) == ("http://127.0.0.1:50066", "http://127.0.0.1:50067")
    assert chosen.settings == {ENDPOINTS[0]: chosen.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "500"}


def test_the_collector_tells_nobody_of_itself() -> None:
    program = traces().program

    assert program is not None
    assert {program.settings[EXPORTER], program.settings["OTEL_METRICS_EXPORTER"]} == {"none"}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_of_the_callers_own_gets_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, OWN)

    assert traces() == Traces(OWN)
    assert traces(query="http://192.0.2.1:16686") == Traces(OWN, "http://192.0.2.1:16686")


def test_where_nobody_asks_for_any_the_environment_is_passed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_inherited(Layout()) == Traces()

    monkeypatch.setenv(ENDPOINTS[0], OWN)
    monkeypatch.setenv(ENDPOINTS[1], "http://192.0.2.2:4317")

    assert as_inherited(Layout()) == Traces(OWN)


def test_jaeger_and_no_traces_are_stronger_than_the_environment(jaeger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINTS[1], OWN)

    assert traces(jaeger=True).endpoint == "http://127.0.0.1:50066"
    assert traces(wanted=False) == Traces(settings={EXPORTER: "none"})


def test_jaeger_listens_on_loopback_and_on_the_ports_of_the_layout_only(jaeger: Path) -> None:
    program = traces(jaeger=True).program

    assert program is not None
    binary, _, configuration = program.command
    assert binary == str(jaeger)
    assert sorted(endpoints(json.loads(configuration.removeprefix("yaml:")))) == [
        f"127.0.0.1:{port}" for port in (50066, 50067, 50068, 50069)
    ]


def endpoints(configuration: object) -> list[str]:
    if not isinstance(configuration, dict):
        return []
    here = [configuration["endpoint"]] if "endpoint" in configuration else []
    return here + [each for value in configuration.values() for each in endpoints(value)]


def test_without_jaeger_on_the_path_one_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StackError, match=r"(?s)release.*go install.*container.*--traces-query"):
        traces(jaeger=True)


@pytest.mark.parametrize(
    ("jaeger", "wanted", "query"), [(True, False, None), (False, True, OWN), (True, True, OWN), (False, False, OWN)]
)
def test_options_that_contradict_each_other_are_refused(jaeger: bool, wanted: bool, query: str | None) -> None:
    with pytest.raises(ValueError, match="traces"):
        chosen(with_jaeger=jaeger, wanted=wanted, query=query)


def test_every_process_that_tells_of_orders_is_told_where() -> None:
    topology = Topology(Layout(), Path("/data"), dict.fromkeys(SECRETS, "pw"), traces())

    told = {each.name for each in (*topology.foundations(), *topology.services()) if ENDPOINTS[0] in each.settings}

    services = {each.name for each in topology.services()}
    assert told == services | {"sandbox"}
