"""The default models, as they are in Pi's own code."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from pi_trio.launch import PI_PACKAGE, PiInstall, read_default_models
from tests.support import run


def read(pi: PiInstall) -> Mapping[str, str]:
    async def main() -> Mapping[str, str]:
        return await read_default_models(pi)

    return run(main)


def package(folder: Path, source: str | None) -> PiInstall:
    """Pi's package, with this as the file that has the table."""
    (folder / "dist" / "core").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": PI_PACKAGE, "version": "2.0.0"}))
    if source is not None:
        (folder / "dist" / "core" / "model-resolver.js").write_text(source)
    return PiInstall(folder / "dist" / "cli.js", "2.0.0", "named", None)


def test_the_table_of_the_real_pi_is_read_whole_and_once(pi: PiInstall) -> None:
    models = read(pi)
    dist = next(parent for parent in pi.path.parents if parent.name == "dist")
    source = (dist / "core" / "model-resolver.js").read_text()
    lines = source.split("defaultModelPerProvider = {\n", 1)[1].split("\n};", 1)[0].splitlines()
    assert len(models) == len(lines) > 35
    for line, (provider, model) in zip(lines, models.items(), strict=True):
        assert re.sub("[\"', ]", "", line) == f"{provider}:{model}"
    assert models["anthropic"].startswith("claude-")
    assert models["openrouter"].startswith("moonshotai/kimi-")
    assert read(pi) is models


@pytest.mark.parametrize("source", [None, "export const elsewhere = 1;\n"])
def test_a_pi_that_has_it_elsewhere_has_none_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str | None
) -> None:
    with caplog.at_level(logging.WARNING, "pi_trio.launch"):
        assert read(package(tmp_path, source)) == {}
    assert "default models" in caplog.text


def test_what_is_no_package_has_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(PiInstall(tmp_path / "pi", None, "named", None)) == {}
    assert caplog.text == ""
