"""What is generated from the code for Kubernetes."""

from pathlib import Path

import pytest

from cli.kubernetes.__main__ import ROOT, check, generated, stale, write


def test_the_manifests_are_what_the_code_says() -> None:
    assert stale(generated(), ROOT) == []


def test_what_was_changed_by_hand_or_is_missing_is_found_and_set_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = generated()
    write(files, tmp_path)
    assert check(files, tmp_path) == 0

    policies, configuration = (
        tmp_path / "k8s/components" / name for name in ("keda/scaled-objects.yaml", "nats/nats.conf")
    )
    policies.write_text("# open for all")
    configuration.unlink()
    assert check(files, tmp_path) == 1
    assert "k8s/components/nats/nats.conf is not what the code says: run `make k8s-render`" in capsys.readouterr().err

    write(files, tmp_path)
    assert stale(files, tmp_path) == []
