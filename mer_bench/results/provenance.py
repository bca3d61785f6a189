"""Which code and what kind of machine made a number; nothing about whose machine it is."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_bench import __version__
from mer_bench.errors import UserError
from mer_bench.results.facts import Code
from mer_bench.results.schema import ENVIRONMENT
from mer_bench.results.sources import PACKAGE, code_hash, named_modules, of_executor

_FOREIGN = re.compile(r"[^A-Za-z0-9 ._+(),:@-]")
_LIBRARIES = ("torch", "lightning", "torchmetrics", "numpy")


def code(settings: Mapping[str, Any], executor: str = "eager") -> Code:
    """Version, hash of the sources that a run with these settings uses and, in a checkout, commit.

    Args:
        settings: of the run.
        executor: that computed it; what trains several runs together counts for those alone.
    """
    modules = tuple(sorted({*named_modules(settings), *of_executor(executor)}))
    return Code(__version__, code_hash(modules), *_checkout(), modules)


def is_stale(found: Code) -> bool:
    """Whether the sources of a run have changed since, or are gone."""
    try:
        return code_hash(found.modules) != found.hash
    except UserError:
        return True


@functools.cache
def _checkout() -> tuple[str, bool | None]:
    return git_state()


def git_state(package: Path = PACKAGE) -> tuple[str, bool | None]:
    """Commit, and whether the package has uncommitted changes; ("", None) where the package is not under git.

    A package installed inside somebody else's repository is not tracked there, and gets no commit.
    """
    if not _git(package, "ls-files", "--error-unmatch", "__init__.py"):
        return "", None
    commit, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", ".")
    if commit is None:
        return "", None
    return commit.strip(), None if changes is None else bool(changes.strip())


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None when it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def processor() -> str:
    """Model of the CPU, as far as the system says it: libraries choose by it how they multiply matrices."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return platform.processor() or "unknown"
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    said = [facts.get("model name", "unknown")]  # of virtual machines often the brand alone
    said += [f"{name} {facts[name]}" for name in ("cpu family", "model") if name in facts]
    return " ".join(said)


def environment(**more: str) -> dict[str, str]:
    """Versions and kind of machine.

    Args:
        **more: what only the caller knows (``accelerator="NVIDIA H200"``, ``cuda="13.0"``); keys from `ENVIRONMENT`.
            Characters that a path could need become blanks.

    Raises:
        UserError: a key is not on the list.
    """
    for key in more:
        if key not in ENVIRONMENT:
            raise UserError(f"a record may not hold environment.{key}; allowed: {', '.join(sorted(ENVIRONMENT))}")
    found = {
        "python": platform.python_version(),
        "mer_bench": __version__,
        "system": platform.system(),
        "machine": platform.machine(),
    }
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {key: _FOREIGN.sub(" ", value)[:100] for key, value in {**found, **more}.items()}
