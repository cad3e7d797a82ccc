"""Who may import whom: the layers of the house, as data."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "codiemb_pipeline"
WORDS = {
    *("errors", "schema", "texts", "jsonl", "locations", "hub", "progress", "process_guard"),
    *("benchmarks", "params", "artifacts"),
}
MATHS = {"losses"}
MODEL = {"encoder", "scoring", "distributed", "launch"}
STAGES = {"ingest", "mine", "assemble", "train", "merge", "evaluate", "report"}
RIM = {
    "pipelines",
    "settings",
    "hooks",
    "catalog_types",
    "pipeline_registry",
    "__main__",
    "quickstart",
    "ablation",
    "bundle",
    "check_encoder",
    "dvc_lock",
    "command",
    "join",
    "plan",
    "profiles",
    "watch",
}
RIM_LIBRARIES = {"kedro", "dvc", "click"}

OURS_ALLOWED = {
    **{part: WORDS for part in WORDS},
    **{part: MATHS for part in MATHS},
    "distributed": set(),
    "launch": WORDS | {"launch"},
    "encoder": WORDS | {"encoder"},
    "scoring": WORDS | {"encoder", "scoring"},
    **{stage: WORDS | MATHS | MODEL | {stage} for stage in STAGES},
    **{part: WORDS | MATHS | MODEL | STAGES | RIM for part in RIM},
}
PURE_MATHS = ("losses", "merge/soups.py", "merge/delta_fusion.py", "merge/task_vectors.py", "scoring/metrics.py")


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_imports_only_from_the_layers_below(path):
    part = part_of(path)
    if part == "__init__":
        return
    libraries = {name.split(".")[0] for name in imports(path)}
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("codiemb_pipeline.")}
    assert ours <= OURS_ALLOWED[part], f"{path}: {sorted(ours - OURS_ALLOWED[part])}"
    if part not in RIM:
        assert not libraries & RIM_LIBRARIES
    if part != "evaluate":
        assert "mteb" not in libraries
    if part in WORDS:
        assert not libraries & {"torch", "transformers"}
    if part != "distributed":
        assert not any(name.startswith("torch.distributed") for name in imports(path))


@pytest.mark.parametrize("place", PURE_MATHS)
def test_maths_knows_only_torch(place):
    target = ROOT / place
    for path in sorted(target.rglob("*.py")) if target.is_dir() else [target]:
        foreign = {name.split(".")[0] for name in imports(path)} & {
            "transformers",
            "logging",
            "json",
            "pandas",
            "numpy",
        }
        assert not foreign, f"{path}: {foreign}"


def test_files_stay_under_500_lines():
    long = {str(path): count for path in files() if (count := len(path.read_text().splitlines())) > 500}
    assert not long


def test_functions_stay_under_50_lines():
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and _body_lines(node) > 50
    ]
    assert not long


def _body_lines(node: ast.FunctionDef) -> int:
    """Lines after the docstring."""
    first = node.body[1] if isinstance(node.body[0], ast.Expr) and len(node.body) > 1 else node.body[0]
    return node.end_lineno - first.lineno + 1
