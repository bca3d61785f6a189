"""The rules of the house that a reader could check with the eye, checked by a test: CONTRIBUTING.md says them."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.source import ROOT, calls, docstrings, modules, tracked

LINES = {"mer_bench": 300, "benchmarks": 300, "tests": 450}
FUNCTION_LINES = 60

#: pieces, so that this file does not hold what it looks for
MACHINE_PATHS = re.compile("|".join(f"/{home}/" for home in ("root", "work", r"home/\w+", r"Users/\w+", "opt/wheels")))
REGISTRIES = re.compile("|".join(map(re.escape, ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org"))))

MODALITIES = {"text", "audio", "vision", "eda", "ecg", "emg", "bio"}
RAW_SEQUENCE_OPERATIONS = {
    "scaled_dot_product_attention",
    "MultiheadAttention",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
    "pack_padded_sequence",
    "pad_packed_sequence",
}
#: calls on a tensor that stop `torch.func.vmap` or wait for the device
HOST_SYNCS = {"item", "tolist", "numpy", "nonzero", "float", "masked_select"}


def test_files_are_short():
    over = []
    for folder, limit in LINES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > limit:
                over.append(f"{path.relative_to(ROOT)}: {lines} lines, {limit} allowed")
    assert not over, over


def test_functions_are_short():
    over = []
    for path, tree in modules("mer_bench", "benchmarks", "tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                if lines > FUNCTION_LINES:
                    over.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    assert not over, over


def test_no_file_is_a_drawer():
    names = {"utils.py", "util.py", "common.py", "misc.py", "helpers.py"}
    assert not [path for path, _ in modules("mer_bench") if path.name in names]


def test_no_machine_path_and_no_registry_host():
    found = []
    for path in tracked():
        text = (ROOT / path).read_bytes().decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line) or REGISTRIES.search(line):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    assert not found, found


def test_one_executable_file():
    mode = {str(path) for path in tracked() if (ROOT / path).stat().st_mode & 0o111}
    assert mode == {".ci/run"}


def _foreign_loads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, why) of every call that may run code from a file."""
    safe_loaders = {"yaml.SafeLoader", "yaml.CSafeLoader"}
    for node in tree.body:  # _LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).endswith(("CSafeLoader", ", yaml.SafeLoader)")):
            safe_loaders |= {ast.unparse(target) for target in node.targets}
    for name, call in calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load" and given.get("weights_only") != "True":
            yield call.lineno, "torch.load without weights_only=True"
        if name.split(".")[0] in ("pickle", "cPickle", "dill", "cloudpickle", "joblib") and "load" in name.lower():
            yield call.lineno, name
        if given.get("allow_pickle", "False") != "False":
            yield call.lineno, "allow_pickle"
        if name == "yaml.load" and given.get("Loader", "") not in safe_loaders:
            yield call.lineno, "yaml.load without a safe loader"
        if name in ("yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system", "torch.hub.load"):
            yield call.lineno, name
        if given.get("shell", "False") != "False":
            yield call.lineno, "shell"


def test_nothing_that_is_read_can_run():
    found = [
        f"{path}:{line}: {why}"
        for path, tree in modules("mer_bench", "benchmarks")
        for line, why in _foreign_loads(tree)
    ]
    assert not found, found


def test_the_search_for_foreign_loads_finds_them():
    bad = """
torch.load(f)
torch.load(f, weights_only=False)
pickle.load(f)
pickle.Unpickler(f).load()
np.load(f, allow_pickle=True)
yaml.load(f, Loader=yaml.Loader)
yaml.load(f)
eval(text)
subprocess.run(text, shell=True)
"""
    good = """
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
torch.load(f, weights_only=True)
np.load(f)
np.load(f, allow_pickle=False)
yaml.load(f, Loader=_LOADER)
yaml.safe_load(f)
model.eval()
"""
    assert [line for line, _ in _foreign_loads(ast.parse(bad))] == list(range(2, 11))
    assert not list(_foreign_loads(ast.parse(good)))


def test_no_question_of_type_by_attribute():
    found = [
        f"{path}:{call.lineno}"
        for path, tree in modules("mer_bench")
        for name, call in calls(tree)
        if name == "hasattr"
    ]
    assert not found, found


def test_methods_and_losses_never_name_a_modality():
    found = []
    for path, tree in modules("mer_bench/methods", "mer_bench/losses", "mer_bench/nn"):
        prose = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in MODALITIES and id(node) not in prose:
                found.append(f"{path}:{node.lineno}: {node.value!r}")
    assert not found, found


def test_only_nn_touches_raw_attention_or_packing():
    found = []
    for path, tree in modules("mer_bench"):
        if path.parts[1] == "nn":
            continue
        for node in ast.walk(tree):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in RAW_SEQUENCE_OPERATIONS:
                found.append(f"{path}:{node.lineno}: {name}")
    assert not found, found


def test_what_is_stacked_never_waits_for_the_device():
    """Inside `forward` of methods, losses and blocks; set-up code may do as it likes."""
    found = []
    for path, tree in modules("mer_bench/methods", "mer_bench/losses", "mer_bench/nn"):
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.name in ("forward", "encode", "fuse", "views"):
                for node in ast.walk(function):
                    method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                    if method and node.func.attr in HOST_SYNCS and not node.args:
                        found.append(f"{path}:{node.lineno}: .{node.func.attr}()")
    assert not found, found


def _imported(tree: ast.Module) -> set[str]:
    """First parts of the names of everything that a module imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"mer_bench", "tests", "benchmarks"}


def _declared(*groups: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for group in groups for line in group}


def test_everything_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    core = _declared(project["dependencies"], *(lines for name, lines in extras.items() if name != "dev"))
    allowed = {"mer_bench": core, "tests": core | _declared(extras["dev"])}
    owners = importlib.metadata.packages_distributions()
    missing = set()
    for folder, declared in allowed.items():
        for path, tree in modules(folder):
            for name in _imported(tree):
                distributions = {canonicalize_name(d) for d in owners.get(name, [name])}
                if not distributions & declared:
                    missing.add(f"{path}: {name}")
    assert not missing, sorted(missing)
