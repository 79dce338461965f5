import pytest
from structlog.testing import capture_logs

from mesh.settings import Settings, load


class Example(Settings):
    listen: str
    limit: int = 3


def test_settings_come_from_the_environment_by_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENSEMBLE_LISTEN", "127.0.0.1:1")

    settings = load(Example)

    assert (settings.listen, settings.limit) == ("127.0.0.1:1", 3)


def test_every_wrong_setting_is_listed_and_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENSEMBLE_LIMIT", "many")
    monkeypatch.setenv("ENSEMBLE_LISTN", "typo")

    with pytest.raises(SystemExit) as end, capture_logs() as logs:
        load(Example)

    assert end.value.code == 2
    (line,) = logs
    unknown, missing, malformed = line["problems"]
    assert unknown == "ENSEMBLE_LISTN: unknown setting"
    assert missing == "ENSEMBLE_LISTEN: Field required"
    assert malformed.startswith("ENSEMBLE_LIMIT: Input should be a valid integer")
