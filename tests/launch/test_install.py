"""Installing Pi: that it works is shown by every test that has a Pi; here, how it fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pi_trio import InstallFailed
from pi_trio.launch import NodeInstall, PiInstall, find_node, install_pi, npm_command
from pi_trio.launch.install import _only_dependencies_missing
from tests.support import run


def test_a_version_that_npm_does_not_have(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(InstallFailed, match=r"npm install failed.*0\.0\.987|No matching version") as caught:
            await install_pi("0.0.987", home=tmp_path, node=await find_node())
        assert caught.value.output

    run(main)
    assert not (tmp_path / "pi" / "current").exists()
    assert list((tmp_path / "pi").iterdir()) == []


@pytest.mark.parametrize("version", ["latest", "../x", "1.0", "", "1.2.3;rm"])
def test_what_is_no_version(tmp_path: Path, version: str) -> None:
    async def main() -> None:
        with pytest.raises(InstallFailed, match="is not a version"):
            await install_pi(version, home=tmp_path, node=await find_node())

    run(main)


def test_a_failure_leaves_the_installed_one(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        node = await find_node()
        home = one_pi.path.parents[7]  # the folder that conftest installs into
        assert (home / "pi" / "current").exists()
        before = (home / "pi" / "current").read_text()
        with pytest.raises(InstallFailed):
            await install_pi("0.0.987", home=home, node=node)
        assert (home / "pi" / "current").read_text() == before

    run(main)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "pi").write_text("a file where the folder should be")

    async def main() -> None:
        with pytest.raises(InstallFailed, match="cannot write"):
            await install_pi(home=tmp_path, node=await find_node())

    run(main)


def test_a_node_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InstallFailed, match="no npm beside"):
        npm_command(NodeInstall(tmp_path / "bin" / "node", "24.0.0", "PATH"))


def test_telling_a_missing_pi_from_a_missing_dependency() -> None:
    pi = "npm error notarget No matching version found for @earendil-works/pi-coding-agent@9.9.9.\n"
    dependency = "npm error notarget No matching version found for @earendil-works/pi-ai@1.5.2.\n"
    gone = "npm error 404  '@earendil-works/pi-mcp@1.5.2' is not in this registry.\n"
    assert _only_dependencies_missing(dependency)
    assert _only_dependencies_missing(gone)
    assert not _only_dependencies_missing(pi)
    assert not _only_dependencies_missing("npm error network timed out")
