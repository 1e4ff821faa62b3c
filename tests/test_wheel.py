"""What is published: the wheel is whole, needs no more than everyone needs, and runs by itself."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
CONVERT = """
import sys
from pathlib import Path
import streams_engine
from streams_engine import ConfigError, Stream
assert Path(sys.argv[1]) in Path(streams_engine.__file__).parents, streams_engine.__file__
Path("in").mkdir()
Path("in/t.csv").write_text("id,v\\n1,one\\n2,two\\n")
with Stream("in", "out") as stream:
    assert stream.run().rows == 2 and stream.verify().ok
import pyarrow
with Stream({"t": pyarrow.table({"id": [1]})}, "null://") as stream:
    assert stream.run().rows == 1
for source in ("mysql://u:p@127.0.0.1:1/d", "postgresql://u:p@127.0.0.1:1/d"):
    try:
        Stream(source, "null://").plan()
    except streams_engine.ConnectionFailed:
        pass
"""
REFUSED = """
import sys
from streams_engine import ConfigError, Stream
try:
    Stream(sys.argv[1], "null://").plan()
except ConfigError as error:
    print(error)
"""


def run(*command: str | Path, **more: object) -> str:
    ran = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        **more,  # type: ignore[call-overload]
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return str(ran.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is built of it."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("this is no checkout")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    return folder


@pytest.fixture
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def needed(wheel: Path) -> dict[str, set[str]]:
    """The packages that each extra brings; "": everyone's."""
    found: dict[str, set[str]] = {}
    for line in metadata(wheel).get_all("Requires-Dist", ()):
        name, marker = re.match(r"[\w-]+", line), re.search(r"extra == '([\w-]+)'", line)
        assert name is not None
        found.setdefault(marker[1] if marker else "", set()).add(name[0])
    return found


def test_everyone_gets_what_everyone_needs(wheel: Path) -> None:
    """S3's package pins botocore against the user's own; clusters, queries and commands have
    extras too."""
    packages = needed(wheel)
    assert packages[""] == {
        "adbc-driver-manager", "adbc-driver-postgresql", "filelock", "fsspec", "numpy", "psycopg",
        "pyarrow", "pydantic", "pymysql", "sqlglot",
    }  # fmt: skip
    assert packages["s3"] == {"s3fs"}
    assert packages["http"] == {"aiohttp"}
    assert packages["query"] == {"duckdb"}
    assert packages["cluster"] == {"cryptography", "distributed"}
    assert {"pygls", "duckdb"} <= packages["lsp"]
    assert {"s3fs", "duckdb", "distributed", "pygls"} <= packages["test"]


def test_the_wheel_holds_the_package_and_nothing_else(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "streams_engine").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert held == there
    told = metadata(wheel)
    assert told["License-Expression"] == "Apache-2.0" and told["Requires-Python"] == ">=3.11"
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "docs/index.md", "tox.ini", "CONTRIBUTING.md"} <= names


def test_every_extra_that_is_told_is_there(wheel: Path) -> None:
    extras = set(metadata(wheel).get_all("Provides-Extra", ()))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras == declared["optional-dependencies"].keys()
    texts = [path.read_text() for folder in ("docs", "streams_engine", "examples")
             for path in (ROOT / folder).rglob("*") if path.suffix in (".md", ".py")]  # fmt: skip
    told = re.findall(r"(?:streams-engine|'\.)\[([\w, ]+)\]", "".join(texts) + read("README.md"))
    assert {one.strip() for some in told for one in some.split(",")} <= extras


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_wheel_runs_beside_its_dependencies(wheel: Path, tmp_path: Path) -> None:
    """Not the checkout: the files of the wheel, with the packages of this environment."""
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    env = {**os.environ, "PYTHONPATH": str(place)}
    run(sys.executable, "-P", "-c", CONVERT, place, cwd=tmp_path, env=env)
    told = run(sys.executable, "-P", "-m", "streams_engine", "--version", cwd=tmp_path, env=env)
    assert metadata(wheel)["Version"] in told


@pytest.mark.parametrize(
    ("package", "url", "extra"),
    [("s3fs", "s3://bucket/prefix", "s3"), ("aiohttp", "https://h/t.csv", "http"),
     ("sshfs", "sftp://h/folder", "sftp"), ("gcsfs", "gs://b/p", "gcs"),
     ("adlfs", "az://c/p", "azure")],
)  # fmt: skip
def test_without_its_package_a_store_names_the_extra(package: str, url: str, extra: str) -> None:
    code = f"import sys\nsys.modules['{package}'] = None\n{REFUSED}"
    assert run(sys.executable, "-c", code, url).endswith(f"pip install 'streams-engine[{extra}]'\n")


# Into fresh environments, from the package registry


def pythons() -> list[Path | str]:
    """An interpreter of each version that is here; where pyenv keeps them, too."""
    found: list[Path | str] = []
    for version in VERSIONS:
        kept = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
        names = [f"python{version}", *sorted(kept)]
        working = [name for name in names if answers(name, version)]
        found += working[:1]
    return found


def answers(python: Path | str, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        ran = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    except OSError:
        return False
    return ran.stdout.strip() == version


@pytest.mark.soak
def test_what_is_built_may_be_published(built: Path, tmp_path: Path) -> None:
    """``twine check --strict``: the description renders, the metadata are of a known version."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "-q", "twine")
    files = [*built.glob("*.whl"), *built.glob("*.tar.gz")]
    told = run(tmp_path / "venv/bin/twine", "check", "--strict", *files)
    assert told.count("PASSED") == len(files) == 2


@pytest.mark.soak
@pytest.mark.parametrize("python", pythons(), ids=str)
def test_it_installs_into_a_fresh_environment(
    python: Path | str, wheel: Path, tmp_path: Path
) -> None:
    run(python, "-m", "venv", tmp_path / "venv")
    pip, fresh = (tmp_path / "venv/bin" / name for name in ("pip", "python"))
    run(pip, "install", "-q", wheel)
    run(pip, "check")
    run(fresh, "-W", "error", "-c", CONVERT, tmp_path / "venv", cwd=tmp_path)
    for url, extra in (("s3://bucket/prefix", "s3"), ("https://h/t.csv", "http")):
        told = run(fresh, "-c", REFUSED, url, cwd=tmp_path)
        assert told.endswith(f"pip install 'streams-engine[{extra}]'\n")
    assert "botocore" not in run(pip, "list")
    run(pip, "install", "-q", f"{wheel}[cli,s3,query,cluster,lsp,metrics,ssh,sftp,telemetry,top]")
    run(pip, "check")
    assert metadata(wheel)["Version"] in run(tmp_path / "venv/bin/streams-engine", "--version")
    code = "import s3fs, duckdb, distributed; import streams_engine.cli.language_server"
    run(fresh, "-c", code, cwd=tmp_path)
