"""Fetch server binaries as Debian packages and unpack them aside, never into the system.

A private apt state (own lists, own cache, an empty dpkg status) gives a package with
its whole dependency closure; ``dpkg -x`` unpacks it into a cache directory. The mirror
is the one that the machine's own apt sources name, the signatures are checked with the
machine's own keyring.

``python -m streams_engine.testing.provision [--require NAME,...] [NAME ...]``
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams_engine.testing.packages import (
    PACKAGES,
    PEERS,
    Package,
    cache_directory,
    open_directory,
)

__all__ = [
    "ProvisionError",
    "SuiteBroken",
    "main",
    "provision",
]

TIMEOUT = 600
"""Seconds that one apt step may take."""


class ProvisionError(Exception):
    """A server's binaries could not be had; the text says why."""


class SuiteBroken(ProvisionError):
    """The mirror answers, but the suite has no installable version of the package just now."""


def provision(name: str) -> Path:
    """Return the directory of an unpacked server or peer, fetching it if it is missing.

    Raises `ProvisionError`. Safe to call from several processes at once.
    """
    try:
        return _provision(name)
    except OSError as error:
        raise ProvisionError(
            f"{error}: STREAMS_ENGINE_CACHE must name a directory that can be written."
        ) from error


def _provision(name: str) -> Path:
    package = PACKAGES.get(name) or PEERS[name]
    target = cache_directory() / name
    with _lock(name):
        if (target / package.binary).exists():
            return target
        _say(f"{name}: fetching {package.name} from Debian {package.suite or 'stable'} ...")
        with tempfile.TemporaryDirectory(dir=cache_directory()) as scratch:
            archives = _download(package, Path(scratch))
            tree = Path(scratch) / "tree"
            tree.mkdir()
            for archive in archives:
                _run(["dpkg", "-x", str(archive), str(tree)], f"unpacking {archive.name}")
            if not (tree / package.binary).exists():
                raise ProvisionError(f"{package.name} holds no {package.binary}.")
            tree.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            tree.rename(target)
        _say(f"{name}: {len(archives)} packages unpacked into {target}")
        return target


def _download(package: Package, scratch: Path) -> list[Path]:
    """Download a package and everything that it depends on. Returns the archives to unpack."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (scratch / directory).mkdir(parents=True)
    (scratch / "status").touch()
    sources = scratch / "sources.list"
    sources.write_text("\n".join(_sources(package.suite)) + "\n")
    options = {
        "Dir::State": scratch,
        "Dir::State::lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Cache::archives": scratch / "cache/archives",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        # Hooks of the machine (docker-clean) would work on the machine's own cache.
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        # Else an unreachable mirror is a warning, and looks like a suite without the package.
        "APT::Update::Error-Mode": "any",
    }
    # A file, not the command line: apt reads it before the machine's own settings, which it then
    # leaves alone, and a proxy's password does not show in the process list.
    settings = scratch / "apt.conf"
    lines = [*_network_settings(), *(f'{key} "{value}";' for key, value in options.items())]
    settings.write_text("\n".join(lines) + "\n")
    apt = ["apt-get", "-q", "-y"]
    _run([*apt, "update"], "reading the package lists", settings)
    install = [*apt, "install", package.name]
    try:
        _run([*install, "--simulate"], f"resolving {package.name}", settings)
    except ProvisionError as error:
        raise SuiteBroken(str(error)) from None
    _run([*install, "--download-only"], f"downloading {package.name}", settings)
    archives = sorted((scratch / "cache/archives").glob("*.deb"))
    if not archives:
        raise ProvisionError(f"apt fetched nothing for {package.name}.")
    if package.suite is None:
        # Runs on the machine's own loader, which wants the C library that it belongs to.
        return [a for a in archives if not a.name.startswith(("libc6_", "libc-bin_"))]
    return archives


def _network_settings() -> list[str]:
    """Return how the machine's apt reaches its mirror (proxies, certificates, checks of dates)."""
    dump = _run(["apt-config", "dump", "--no-empty"], "reading apt's settings")
    kept = r"^Acquire::(?!IndexTargets|CompressionTypes|Languages|Changelogs|cdrom).*$"
    return re.findall(kept, dump, re.MULTILINE)


def _sources(suite: str | None) -> Iterator[str]:
    """Yield source lines of the machine's own Debian mirror, with another suite if requested."""
    seen = list(dict.fromkeys(_mirrors()))
    if not seen:
        raise ProvisionError("No Debian mirror is named in /etc/apt/sources.list*.")
    if suite is None:
        for uri, own, keyring in seen:
            yield f"deb {keyring}{uri} {own} main"
        return
    # The archive itself, not its security updates nor a third party's packages for Debian.
    uri, _, keyring = min(
        seen, key=lambda s: (not s[0].rstrip("/").endswith("/debian"), "security" in s[0])
    )
    yield f"deb {keyring}{uri} {suite} main"


def _mirrors() -> Iterator[tuple[str, str, str]]:
    """Yield (URI, suite, option that names the keyring) of every Debian source of the machine."""
    root = Path("/etc/apt")
    for path in (root / "sources.list", *sorted((root / "sources.list.d").glob("*.list"))):
        for line in path.read_text().splitlines() if path.exists() else ():
            match = re.match(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*\bmain\b.*)$", line)
            if match and "debian" in match[2]:
                signed = re.search(r"signed-by=(\S+)", match[1] or "")
                yield match[2], match[3], f"[signed-by={signed[1]}] " if signed else ""
    for path in sorted((root / "sources.list.d").glob("*.sources")):
        for block in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", block, re.M))
            if "main" not in fields.get("Components", "") or "debian" not in fields.get("URIs", ""):
                continue
            if fields.get("Enabled", "yes").strip() == "no" or "deb" not in fields["Types"].split():
                continue
            signed = fields.get("Signed-By", "").strip()
            option = f"[signed-by={signed}] " if signed.startswith("/") else ""
            for uri in fields["URIs"].split():
                for own in fields.get("Suites", "").split():
                    yield uri, own, option


def _run(command: list[str], what: str, settings: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    if settings:
        environment["APT_CONFIG"] = str(settings)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False
        )
    except FileNotFoundError:
        raise ProvisionError(f"{what}: there is no {command[0]} on this machine.") from None
    except subprocess.TimeoutExpired:
        raise ProvisionError(f"{what}: no end after {TIMEOUT} seconds.") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise ProvisionError(f"{what} failed: {' / '.join(last)}")
    return done.stdout


@contextmanager
def _lock(name: str) -> Iterator[None]:
    directory = open_directory(cache_directory())
    with (directory / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Fetch the named servers (default: all that are missing); 1 where a required one fails."""
    from streams_engine.testing.servers import (
        available,
    )  # needs drivers, which `provision` does not

    parser = argparse.ArgumentParser(prog="provision", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--require", default=os.environ.get("STREAMS_ENGINE_REQUIRE", ""))
    given = parser.parse_args(arguments)
    unknown = sorted({*given.names} - {*PACKAGES})
    if unknown:
        parser.error(f"there is no server '{unknown[0]}': expected some of {', '.join(PACKAGES)}")
    required = {name for name in given.require.split(",") if name}
    failed = set()
    for name in given.names or PACKAGES:
        if name in PACKAGES and available(name) is None:
            _say(f"{name}: on this machine")
            continue
        try:
            provision(name)
        except ProvisionError as error:
            _say(f"!!! {name} cannot be had, its tests will be skipped: {error}")
            failed.add(name)
    return 1 if failed & required else 0


if __name__ == "__main__":
    sys.exit(main())
