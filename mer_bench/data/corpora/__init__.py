"""What is defined of each corpus without its files: one Python file a corpus, found by discovery. No torch.

A corpus of one's own stands in a package outside this one, which the user names with ``--trust``; see `register`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from mer_bench.errors import UserError, did_you_mean
from mer_bench.protocol import SEARCH, Corpus, Protocol, searched

SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
_REGISTERED: dict[str, Corpus] = {}


@functools.cache
def _shipped() -> dict[str, Corpus]:
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found[module.CORPUS.slug] = module.CORPUS
    return found


def corpora() -> dict[str, Corpus]:
    """Every corpus by slug, registered ones included."""
    return dict(sorted({**_shipped(), **_REGISTERED}.items()))


def register(packages: Iterable[str]) -> None:
    """Make the corpora of trusted packages known: a package or module may say ``CORPUS = Corpus(...)``.

    Packages without a corpus are left alone. The working folder is searched last.

    Raises:
        UserError: no such package, or a corpus that is none, or takes the name of another.
    """
    for package in packages:
        corpus = getattr(_imported(package), "CORPUS", None)
        if corpus is not None and _REGISTERED.get(getattr(corpus, "slug", "")) is not corpus:
            _check(package, corpus)
            _REGISTERED[corpus.slug] = corpus


def _imported(package: str) -> ModuleType:
    here = str(Path.cwd())
    if (
        here not in sys.path
        and not sys.modules.get(package)
        and importlib.util.find_spec(package.split(".")[0]) is None
    ):
        sys.path.append(here)
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise UserError(f"--trust {package}: it needs {error.name!r}, which is not installed") from None
        raise UserError(
            f"--trust {package}: no such package; expected one that is installed, on PYTHONPATH, or in {here}"
        ) from None


def _check(package: str, corpus: object) -> None:
    """Refuse what would break or shadow something.

    Raises:
        UserError: naming package and reason.
    """
    where = f"--trust {package}: CORPUS"
    if not isinstance(corpus, Corpus):
        raise UserError(f"{where} is {type(corpus).__name__}; expected mer_bench.protocol.Corpus")
    if not SLUG.fullmatch(corpus.slug):
        raise UserError(f"{where}: slug {corpus.slug!r}; expected small letters, digits and hyphens")
    if corpus.slug in corpora():
        raise UserError(f"{where}: slug {corpus.slug!r} is taken by {corpora()[corpus.slug].title}")
    if not corpus.protocols:
        raise UserError(f"{where}: no protocols; expected at least one, the first is the default")
    for protocol in corpus.protocols:
        if protocol.corpus != corpus.slug:
            raise UserError(f"{where}: protocol {protocol.name} is of corpus {protocol.corpus!r}, not {corpus.slug!r}")
        if protocol.name in protocols():
            raise UserError(f"{where}: there is a protocol {protocol.name!r} already; choose another name")


def protocols() -> dict[str, Protocol]:
    """Every protocol by name, sorted."""
    return dict(sorted((p.name, p) for corpus in corpora().values() for p in corpus.protocols))


def find_protocol(name: str, corpus: str = "") -> Protocol:
    """The protocol of that name, or the default one of the corpus when the name is empty.

    ``<name>.search`` is the protocol under which the settings of many folds are searched; see `protocol.searched`.

    Raises:
        UserError: unknown name, or a protocol of another corpus.
    """
    if not name and corpus:
        return corpora()[corpus].protocols[0]
    known = {p.name: p for p in corpora()[corpus].protocols} if corpus in corpora() else protocols()
    if name.endswith(SEARCH) and name.removesuffix(SEARCH) in known:
        return searched(known[name.removesuffix(SEARCH)])
    if name not in known:
        raise UserError(f"no protocol named {name!r}{f' for {corpus}' if corpus else ''}; {did_you_mean(name, known)}")
    return known[name]
