"""Which sources a run depends on: the hash changes with those, and with no others."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from mer_bench import recipes
from mer_bench.errors import UserError
from mer_bench.results import provenance, sources

FILES = {
    "module.py": "from mer_bench.nn import blocks\nfrom mer_bench.metrics import score\nimport mer_bench.errors\n",
    "errors.py": "x = 1\n",
    "data/__init__.py": "",
    "data/datamodule.py": "from mer_bench.merh5.reader import read\nfrom mer_bench.data.corpora import iemocap\n",
    "data/corpora/__init__.py": "",
    "data/corpora/iemocap.py": "x = 1\n",
    "merh5/__init__.py": "",
    "merh5/reader.py": "import mer_bench.merh5.writer\n",
    "merh5/writer.py": "x = 1\n",
    "metrics/__init__.py": "x = 1\nif TYPE_CHECKING:\n    from mer_bench.metrics.scorer import y\n",
    "metrics/scorer.py": "x = 1\n",
    "training/__init__.py": "",
    "training/seeds.py": "x = 1\n",
    "training/callbacks.py": "def f():\n    from mer_bench.training import late\n",
    "training/late.py": "x = 1\n",
    "nn/__init__.py": "",
    "nn/blocks.py": '"""Blocks."""\nx = 1  # one\n# two\ny = """\n# three\n"""\n',
    "nn/unused.py": "x = 1\n",
    "methods/__init__.py": "",
    "methods/mine.py": "from mer_bench.nn.blocks import x\n",
    "methods/other.py": "x = 1\n",
    "cli/fit.py": "x = 1\n",
}
SILENT = {"errors.py", "cli/fit.py", "nn/unused.py", "methods/other.py", "data/corpora/iemocap.py"}
SILENT |= {"merh5/writer.py", "data/corpora/__init__.py"}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "mer_bench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "mer_bench"


def fresh(package: Path) -> str:
    sources._hash.cache_clear()
    sources._source.cache_clear()
    return sources.code_hash(["methods.mine"], package)


def test_the_hash_sees_what_the_run_imports_and_nothing_else(package):
    first = fresh(package)
    for name, text in FILES.items():
        (package / name).write_text(text + "z = 1\n")
        assert (fresh(package) == first) == (name in SILENT), name
        (package / name).write_text(text)
    assert fresh(package) == first
    (package / "methods" / "new.py").write_text("x = 1\n")
    assert fresh(package) == first
    assert sources.code_hash(["methods.other"], package) != first


def test_prose_does_not_count_and_code_does(package):
    first, path = fresh(package), package / "nn" / "blocks.py"
    text = path.read_text()
    for same in ('"""Other\n\nwords."""\n\n# more\n' + text.partition("\n")[2], text.replace("# two\n", "")):
        path.write_bytes(same.replace("\n", "\r\n").encode())
        assert fresh(package) == first
    for other in (text.replace("x = 1", "x = 2"), text.replace("# three", "# four"), text.replace("x", "w")):
        path.write_text(other)
        assert fresh(package) != first


def test_a_module_that_is_gone_makes_a_record_stale():
    settings = recipes.resolve(["iemocap_foal"], []).settings
    code = provenance.code(settings)
    assert {"methods.foal", "data.datamodules"} <= set(code.modules)
    assert any(name.startswith("losses.") for name in code.modules)
    assert not provenance.is_stale(code)
    assert provenance.is_stale(dataclasses.replace(code, hash="e" * 64))
    assert provenance.is_stale(dataclasses.replace(code, modules=("methods.gone",)))
    with pytest.raises(UserError, match=r"methods\.gone: no such module"):
        sources.code_hash(["methods.gone"])
    assert sources.named_modules({"a": [{"class_path": "torch.optim.AdamW"}], "b": "mer_bench.x.Y"}) == ()


def test_the_closure_holds_every_numeric_module_that_a_run_loads():
    """Independent: what a process has really imported once it has built module and datamodule classes."""
    code = (
        "import json, sys\n"
        "import mer_bench.module, mer_bench.data.datamodules, mer_bench.methods.foal, mer_bench.losses.contrastive\n"
        "import mer_bench.training.seeds, mer_bench.training.callbacks\n"
        "from mer_bench.metrics import by_group, cluster_statistics, group_summary, score\n"
        "print(*sorted(name for name in sys.modules if name.startswith('mer_bench.')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("mer_bench.") for name in done.stdout.split()}
    wanted = {name for name in loaded if sources.numeric(name)}
    named = ("methods.foal", "losses.contrastive", "data.datamodules")
    assert wanted <= set(sources.closure((*sources.ALWAYS, *named)))


def test_what_trains_several_runs_together_counts_for_those_alone():
    settings = recipes.resolve(["iemocap_foal"], []).settings
    alone, stack, branches = (provenance.code(settings, name) for name in ("eager", "stack-graphs", "branches"))
    assert alone == provenance.code(settings)
    assert set(stack.modules) - set(alone.modules) == {"training.population", "training.stack"}
    assert set(branches.modules) - set(alone.modules) == {"training.population", "training.branches"}
    assert len({alone.hash, stack.hash, branches.hash}) == 3
    assert not any(provenance.is_stale(code) for code in (alone, stack, branches))
    together = {f"training.{name}" for name in ("flat", "steps", "faster", "member", "executors")} | {"data.joined"}
    assert together <= set(sources.closure(stack.modules)) and not together & set(sources.closure(sources.ALWAYS))


def test_foreign_classes_count_with_what_they_import_of_their_package(tmp_path, monkeypatch):
    files = {
        "__init__.py": "",
        "fusion.py": "import torch\nfrom . import blocks\nfrom outside_parts.deep.layer import x\nimport json\n",
        "blocks.py": "from .deep import other\n",
        "deep/__init__.py": "",
        "deep/layer.py": "x = 1\n",
        "deep/other.py": "x = 1\n",
        "unused.py": "x = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "outside_parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    settings = recipes.resolve(["iemocap_foal"], []).settings
    settings["model"]["method"]["class_path"] = "outside_parts.fusion.Fusion"

    def seen() -> str:
        sources._hash.cache_clear()
        sources._source.cache_clear()
        return provenance.code(settings).hash

    first, code = seen(), provenance.code(settings)
    assert "outside_parts.fusion" in code.modules and "outside_parts" not in sys.modules
    for name, text in files.items():
        (tmp_path / "outside_parts" / name).write_text(text + "z = 1\n")
        assert (seen() == first) == (name == "unused.py"), name
        (tmp_path / "outside_parts" / name).write_text(text)
    assert seen() == first and not provenance.is_stale(code)
    (tmp_path / "outside_parts" / "fusion.py").unlink()
    sources._hash.cache_clear()
    assert provenance.is_stale(code)


def test_foreign_packages_leave_the_hash_of_shipped_methods_as_it_is():
    """Independent: name and code of the closure, as records that are there were hashed."""
    for method in ("foal", "concat", "jmt"):
        modules = sources.named_modules(recipes.resolve(["data/iemocap.yaml", f"method/{method}.yaml"]).settings)
        total = hashlib.sha256()
        for name in sources.closure({*modules, *sources.ALWAYS}):
            path = sources._file(name, sources.PACKAGE)
            text = path.read_text(encoding="utf-8")
            total.update(name.encode() + b"\0" + hashlib.sha256(sources._code(text, ast.parse(text)).encode()).digest())
        assert sources.code_hash(modules) == total.hexdigest()
