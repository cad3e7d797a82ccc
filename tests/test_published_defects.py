"""The fourteen defects of the released code: each has a regression test of its number, and docs/method.md names it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LISTING = {"listdir", "iterdir", "glob", "rglob", "scandir"}
ORDERLESS = {"sorted", "max", "set", "len"}  # what makes the order of a listing no matter


def named_by_defect() -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, name in re.findall(r"^def (?=test)(?:test_defect_(\d+)_(\w+))", path.read_text("utf-8"), re.M):
            found.setdefault(int(number), set()).add(f"{path.relative_to(ROOT)}: test_defect_{number}_{name}")
    return found


def test_each_of_the_fourteen_has_a_test():
    assert sorted(named_by_defect()) == list(range(1, 15))


def test_the_page_on_the_method_names_every_one_of_them():
    page = (ROOT / "docs/method.md").read_text("utf-8")
    missing = [name for names in named_by_defect().values() for name in names if name.replace(": ", "::") not in page]
    assert not missing


def listings_in_any_order(path: Path) -> list[str]:
    """Return calls that list a folder and are not below a call that makes the order no matter, nor of a for statement.

    A for statement over a listing may only unlink or remove, which is looked at by eye.
    """
    tree = ast.parse(path.read_text("utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LISTING):
            continue
        above, names = node, set()
        while above in parents and not isinstance(above, ast.stmt):
            above = parents[above]
            if isinstance(above, ast.Call) and isinstance(above.func, ast.Name):
                names.add(above.func.id)
            if isinstance(above, ast.SetComp):
                names.add("set")
        if not names & ORDERLESS and not isinstance(above, ast.For):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


# A list of step numbers, of which the largest is taken a line further on.
KNOWN = {"src/codiemb_pipeline/train/resume.py"}


def test_defect_5_no_result_depends_on_the_order_in_which_a_file_system_lists_its_files():
    found = [place for path in SOURCES for place in listings_in_any_order(path)]
    assert {place.split(":")[0] for place in found} <= KNOWN


def test_the_guard_notices_a_listing(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = [p for p in folder.iterdir()]\ny = sorted(folder.glob('*'))\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert listings_in_any_order(tmp_path / "a.py") == ["a.py:1"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_defect_6_nothing_is_killed_by_name_and_no_shell_is_started(path):
    text = path.read_text("utf-8")
    assert not re.search(r"\b(pkill|killall|os\.system|shell=True)\b", text)
