"""Which source files can change the numbers of a run, and their hash. Nothing is imported: sources are only read.

A run depends on the module, the datamodule and what a process does around them, on the classes that its settings name,
and on whatever these import. A method that is added later is not among them, so older records stay current.

Classes of a package that was trusted count as ours do, with what they import of their own package, all of it. Their
modules have their full name. Torch and lightning do not count: records have versions.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError

PACKAGE = Path(__file__).parents[1]
#: rooms and files whose sources touch numbers
NUMERIC = ("nn", "losses", "methods", "metrics", "merh5", "data", "training", "module", "types", "contracts")
#: what has a hash of its own in every record: the protocol, and the feature file, however it was made and checked
HASHED = (
    *("data.corpora", "data.synthetic"),
    *(f"merh5.{name}" for name in ("writer", "encode", "validator", "rules", "value_rules", "report", "hashing")),
)
#: packages whose versions a record states
LIBRARIES = ("torch", "lightning", "torchmetrics", "numpy")
#: part of every run, whatever its settings name
ALWAYS = ("module", "data.datamodule", "training.seeds", "training.callbacks")


def named_modules(settings: Any, package: str = "mer_bench") -> tuple[str, ...]:
    """Modules whose classes the settings of a run name, those of this package without its name; sorted."""
    modules = {value.rpartition(".")[0] for value in _class_paths(settings)}
    ours = {module.removeprefix(f"{package}.") for module in modules if module.startswith(f"{package}.")}
    return tuple(sorted(ours | {m for m in modules if _foreign(m) and not m.startswith(f"{package}.")}))


def _foreign(module: str) -> bool:
    """Whether a name is that of a module of a trusted package, and not of a room or file of ours, which comes first."""
    root = module.split(".")[0]
    ours = root in NUMERIC or (PACKAGE / root).is_dir() or (PACKAGE / f"{root}.py").is_file()
    return bool(root) and not ours and root not in LIBRARIES


def of_executor(executor: str) -> tuple[str, ...]:
    """Modules that compute a run beside those of a run alone: none for ``eager``.

    Args:
        executor: as records say it; what follows a hyphen is how, such as ``stack-graphs``.
    """
    name = executor.partition("-")[0]
    return () if name == "eager" else ("training.population", f"training.{name}")


def _class_paths(settings: Any) -> Iterator[str]:
    """Every ``class_path`` inside mappings and lists."""
    inner: Iterable[Any] = ()
    if isinstance(settings, Mapping):
        inner = settings.values()
        if isinstance(settings.get("class_path"), str):
            yield settings["class_path"]
    elif isinstance(settings, list | tuple):
        inner = settings
    for value in inner:
        yield from _class_paths(value)


def code_hash(modules: Iterable[str], package: Path = PACKAGE) -> str:
    """Sha256 over name and code of every numeric file that a run with these modules imports.

    Line ends, comments on lines of their own, blank lines and docstrings do not count.

    Args:
        modules: what `named_modules` gave.
        package: folder of the package.

    Raises:
        UserError: a module is not there.
    """
    return _hash(tuple(sorted({*modules, *ALWAYS})), package)


@functools.lru_cache(4096)
def _hash(roots: tuple[str, ...], package: Path) -> str:
    total = hashlib.sha256()
    ours, foreign = closure([name for name in roots if not _foreign(name)], package), list(filter(_foreign, roots))
    read = [(name, _file(name, package)) for name in ours]
    for name, path in (*read, *foreign_closure(foreign)):
        total.update(name.encode() + b"\0" + _source(path)[1])
    return total.hexdigest()


def foreign_closure(roots: Sequence[str]) -> list[tuple[str, Path]]:
    """Modules that the roots import of their own packages, themselves included, with their files; sorted.

    Raises:
        UserError: the source of a root cannot be found.
    """
    found, waiting = dict[str, Path](), list(roots)
    while waiting:
        name = waiting.pop()
        path = _foreign_file(name)
        if name in found:
            continue
        if path is None:
            if name in roots:
                raise UserError(
                    f"{name}: no source of this module is found; expected a package that `--trust` can import"
                )
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        inside = f"{name.split('.')[0]}."
        tree = ast.parse(path.read_bytes())
        waiting += [part for part in _every_import(tree, package) if f"{part}.".startswith(inside)]
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return sorted(found.items())


def _foreign_file(name: str) -> Path | None:
    """The source of a module; the package is looked for as an import would, and not imported."""
    root, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        places = [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []
    else:
        bases = [Path(folder).joinpath(*rest) for folder in spec.submodule_search_locations or ()]
        places = [path for base in bases for path in (base / "__init__.py", base.with_suffix(".py"))]
    return next((path for path in places if path.is_file()), None)


def _every_import(tree: ast.Module, package: str) -> Iterator[str]:
    """Full names of all modules that a file imports, and names in them that may be modules too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def closure(roots: Iterable[str], package: Path = PACKAGE) -> list[str]:
    """Numeric modules that the roots import, directly or not, themselves included; sorted.

    Raises:
        UserError: a root is not there.
    """
    found, waiting = set[str](), list(roots)
    for name in waiting:
        if not _file(name, package).is_file():
            raise UserError(f"{package.name}.{name}: no such module; expected one of this version of the package")
    while waiting:
        name = waiting.pop()
        if name in found or not numeric(name) or not _file(name, package).is_file():
            continue
        found.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []  # importing it runs its package first
        waiting += _source(_file(name, package))[0]
    return sorted(found)


def numeric(name: str) -> bool:
    """Whether code of this module can touch a number."""
    return name.split(".")[0] in NUMERIC and not any(f"{name}.".startswith(f"{part}.") for part in HASHED)


def _file(name: str, package: Path) -> Path:
    path = package.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.lru_cache(4096)
def _source(path: Path) -> tuple[list[str], bytes]:
    """Names that a file imports from its package, and the digest of its code."""
    text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    tree = ast.parse(text)
    return list(_imports(tree, lazy=path.name == "__init__.py")), hashlib.sha256(_code(text, tree).encode()).digest()


def _imports(tree: ast.Module, lazy: bool) -> Iterator[str]:
    """Modules of this package, and names in them that may be modules too.

    Imports for type checkers count in packages only (``lazy``): there they say what is loaded on first use.
    """
    checked = [node for node in ast.walk(tree) if _for_checkers(node) and not lazy]
    unread = {id(inner) for node in checked for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name.removeprefix("mer_bench.") for name in names if name.startswith("mer_bench."))


def _for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _code(text: str, tree: ast.Module) -> str:
    """The lines that do something."""
    prose, strings = set[int](), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            strings |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            prose |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    kept = []
    for number, line in enumerate(text.split("\n"), 1):
        quiet = not line.strip() or line.lstrip().startswith("#")
        if number not in prose and (number in strings or not quiet):
            kept.append(line)
    return "\n".join(kept)
