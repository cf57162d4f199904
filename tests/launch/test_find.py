"""Finding Pi and Node.js."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio import NodeNotFound, PiNotFound, PiTooOld
from pi_trio.launch import MINIMUM_PI, PI_PACKAGE, PiInstall, data_home, find_node, find_pi, installed_pi
from pi_trio.launch.find import version_key
from tests.support import run

BASE = {"PATH": "/usr/bin:/bin"}


def package(folder: Path, version: str = "0.99.0", *, complete: bool = True) -> Path:
    """A folder that looks like Pi's npm package."""
    root = folder / "node_modules" / PI_PACKAGE
    (root / "dist").mkdir(parents=True)
    (root / "package.json").write_text(
        json.dumps({"name": PI_PACKAGE, "version": version, "bin": {"pi": "dist/main.js"}})
    )
    if complete:
        (root / "dist" / "main.js").write_text("")
    return root


def find(named: str | Path | None = None, **environ: str) -> PiInstall:
    async def main() -> PiInstall:
        return await find_pi(named, environ={**BASE, **environ})

    return run(main)


def test_the_real_pi_is_found_by_any_of_its_names(pi: PiInstall) -> None:
    root = pi.path.parent.parent.parent
    for named in (pi.path, root, str(root)):
        found = find(named)
        assert (found.path, found.version) == (pi.path, pi.version)
        assert found.node is not None
        assert found.command == (str(found.node.path), str(pi.path))


def test_the_link_that_npm_makes_is_followed(one_pi: PiInstall, tmp_path: Path) -> None:
    link = tmp_path / "pi"
    link.symlink_to(one_pi.path)
    found = find(PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (found.path, found.version, found.origin) == (one_pi.path, one_pi.version, "PATH")


def test_the_order_of_the_places(tmp_path: Path) -> None:
    named, from_env, on_path, set_up = (
        package(tmp_path / name, version)
        for name, version in [("a", "1.0.1"), ("b", "1.0.2"), ("c", "1.0.3"), ("home/pi/1.0.4", "1.0.4")]
    )
    (tmp_path / "home" / "pi" / "current").write_text("1.0.4\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pi").symlink_to(on_path / "dist" / "main.js")
    (on_path / "dist" / "main.js").chmod(0o755)
    home = {"PI_TRIO_HOME": str(tmp_path / "home")}
    path = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    env = {"PI_TRIO_PI": str(from_env)}
    assert find(named, **env, **path, **home).version == "1.0.1"
    assert find(**env, **path, **home).version == "1.0.2"
    assert find(**path, **home).version == "1.0.3"
    assert find(**home).version == "1.0.4"
    assert installed_pi(tmp_path / "home") == set_up


def test_what_is_named_but_missing_is_an_error_not_a_reason_to_take_another(tmp_path: Path) -> None:
    package(tmp_path / "home/pi/1.0.4", "1.0.4")
    (tmp_path / "home" / "pi" / "current").write_text("1.0.4\n")
    with pytest.raises(PiNotFound, match="no Pi at /no/such"):
        find(PI_TRIO_PI="/no/such", PI_TRIO_HOME=str(tmp_path / "home"))


def test_nothing_found_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PiNotFound, match="pitrio setup") as caught:
        find(PI_TRIO_HOME=str(tmp_path))
    assert caught.value.searched == ("pi on PATH", str(tmp_path / "pi"))


def test_too_old_and_incomplete(tmp_path: Path) -> None:
    with pytest.raises(PiTooOld, match=f"older than {MINIMUM_PI}.*pitrio setup") as caught:
        find(package(tmp_path / "old", "0.11.3"))
    assert caught.value.version == "0.11.3"
    with pytest.raises(PiNotFound, match=r"incomplete.*main\.js"):
        find(package(tmp_path / "half", complete=False))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(PiNotFound, match="neither"):
        find(tmp_path / "text")
    with pytest.raises(PiNotFound, match="neither"):
        find(tmp_path)


def test_any_other_executable_is_run_as_it_is(tmp_path: Path) -> None:
    script = tmp_path / "my-pi"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    found = find(script)
    assert (found.command, found.version, found.node) == ((str(script),), None, None)


def test_node_is_taken_from_the_wheel_before_an_old_one_on_path(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.1.0\n")
    node.chmod(0o755)

    async def main() -> None:
        found = await find_node({"PATH": str(tmp_path)})
        assert (found.origin, found.new_enough) == ("wheel", True)
        with pytest.raises(NodeNotFound, match=r"Node\.js 20\.1\.0; Pi needs"):
            await find_node({"PATH": str(tmp_path), "PI_TRIO_NODE": str(node)})
        with pytest.raises(NodeNotFound, match=r"is not a Node\.js"):
            await find_node({"PI_TRIO_NODE": str(tmp_path / "missing")})

    run(main)


def test_node_on_path_serves_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi_trio.launch.find._wheel_node", lambda: None)
    node = tmp_path / "node"

    async def main() -> None:
        for version, origin in [("v22.19.0", "PATH"), ("v24.0.0", "PATH")]:
            node.write_text(f"#!/bin/sh\necho {version}\n")
            node.chmod(0o755)
            assert (await find_node({"PATH": str(tmp_path)})).origin == origin
        node.write_text("#!/bin/sh\necho v22.18.9\n")
        with pytest.raises(NodeNotFound, match=r"only 22\.18\.9 at .*pip install 'pi-trio\[pi\]'"):
            await find_node({"PATH": str(tmp_path)})
        with pytest.raises(NodeNotFound, match="there is none"):
            await find_node({"PATH": "/no/such/folder"})

    run(main)


def test_data_home_can_be_named() -> None:
    assert data_home({"PI_TRIO_HOME": "/x"}) == Path("/x")
    assert data_home({}).name == "pi-trio"
    assert os.environ.get("PI_TRIO_HOME") is None


@given(st.lists(st.integers(0, 99), min_size=3, max_size=3), st.sampled_from(["", "-rc.1", "+build"]))
def test_versions_compare_by_their_numbers(numbers: list[int], suffix: str) -> None:
    text = ".".join(map(str, numbers)) + suffix
    assert version_key(text) == tuple(numbers) == version_key("v" + text)
