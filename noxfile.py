"""What is run on this project: `nox` runs lint, types and tests; see `nox --list` for the rest."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.error_on_external_run = True

CONSTRAINTS = "--constraint=constraints.txt"


PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session) -> None:
    """Everything that is used below, pinned."""
    session.install("--quiet", CONSTRAINTS, "-e", ".[pi]", *nox.project.dependency_groups(PYPROJECT, "test"))


# These must have the machine to themselves: they kill what dead runs have left, or take all of it for their own processes.
ALONE = ("tests/process", "tests/testing/test_mutants.py")


def run_tests(session: nox.Session) -> None:
    """What was asked for; or everything: first what waits for real processes most of the time, several at a time."""
    if session.posargs:
        session.run("pytest", *session.posargs)
    else:
        session.run("pytest", "--numprocesses=3", "--dist=worksteal", *(f"--ignore={each}" for each in ALONE))
        session.run("pytest", *ALONE)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint, and the import contract."""
    # Neither reads what the package depends on.
    session.install("--quiet", CONSTRAINTS, "ruff", "import-linter")
    session.install("--quiet", "--no-deps", "-e", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Strict type checking."""
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on the real Pi (installed into .cache/ the first time)."""
    install(session)
    run_tests(session)


@nox.session(python=["3.11", "3.12", "3.13"])
def compat(session: nox.Session) -> None:
    """The tests on every Python that is supported; and one plan has one trace on all of them."""
    install(session)
    run_tests(session)
    compare_traces(session)


def compare_traces(session: nox.Session) -> None:
    """One plan has one trace, on whatever Python: those of this commit are compared with each other."""
    digests = session.run("python", "-m", "tests.testing.digests", silent=True)
    commit = session.run("git", "rev-parse", "HEAD", silent=True, external=True)
    seen = Path(session.cache_dir) / "digests" / str(commit).strip()
    seen.mkdir(parents=True, exist_ok=True)
    (seen / str(session.python)).write_text(str(digests))
    for path in seen.iterdir():
        if path.read_text() != digests:
            session.error(f"Python {session.python} and {path.name} have different traces of one plan")


@nox.session
def soak(session: nox.Session) -> None:
    """Simulated lifecycles for as long as there is time: ``nox -s soak -- --seconds 600``."""
    install(session)
    session.run("python", "-m", "tests.testing.soak", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: a real Pi, a scripted model, nothing left behind."""
    session.install(CONSTRAINTS, ".[pi]")
    session.run("pitrio", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks: ratios to a bare blocking loop, in one run."""
    install(session)
    session.run("python", "-m", "benchmarks", *session.posargs)
