"""The layout keeps its promises: one stem per concept, and who may import what."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STREAMLIT = {"streamlit"}
TORCH = {"torch"}


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """Full names of all modules that a file imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(root)}: a relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def sources(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def missing_files(root: Path) -> list[str]:
    """The files that a concept lacks, by its stem. Lessons count from the day one exists."""
    folders = [("strata/concepts", "{}.py"), ("pages", "{}.py"), ("tests/concepts", "test_{}.py")]
    if any(root.glob("lessons/*.toml")):
        folders.append(("lessons", "{}.toml"))
    stems: set[str] = set()
    for folder, form in folders[:2]:
        stems |= {p.stem for p in root.glob(f"{folder}/{form.format('*')}") if p.stem[0] != "_"}
    return [
        f"{folder}/{form.format(stem)}"
        for stem in sorted(stems)
        for folder, form in folders
        if not (root / folder / form.format(stem)).is_file()
    ]


def test_every_concept_has_its_files() -> None:
    assert missing_files(ROOT) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for folder in ("strata/concepts", "pages", "tests/concepts", "lessons"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pages/eighth.py").touch()
    assert missing_files(tmp_path) == ["strata/concepts/eighth.py", "tests/concepts/test_eighth.py"]
    (tmp_path / "lessons/first.toml").touch()
    assert "lessons/eighth.toml" in missing_files(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "forbidden"),
    [
        (["strata/concepts/*.py"], {"streamlit", "altair", "transformers"}),
        (["strata/charts/*.py"], {"torch", "streamlit", "transformers"}),
        (["strata/trace.py"], {"transformers", "streamlit", "pandas", "numpy"}),
        (["strata/catalogue.py", "strata/weights.py", "strata/store.py"], {"torch", "streamlit"}),
        (["strata/engine/*.py", "strata/*.py"], STREAMLIT),
        (["strata/classroom/*.py"], STREAMLIT | TORCH | {"transformers"}),
        (["pages/*.py", "strata/ui/*.py", "app.py"], {"torch", "transformers", "altair"}),
    ],
)
def test_import_rules(patterns: list[str], forbidden: set[str]) -> None:
    checked = sources(*patterns)
    assert checked, f"no file matches {patterns}"
    for path in checked:
        assert not packages(path) & forbidden, path.relative_to(ROOT)


def test_only_the_model_imports_transformers() -> None:
    users = {p for p in sources("strata/**/*.py", "pages/*.py") if "transformers" in packages(p)}
    assert users == {ROOT / "strata/model.py"}


def test_pages_and_interface_reach_the_model_through_the_engine_only() -> None:
    for path in sources("pages/*.py", "strata/ui/*.py"):
        assert not imports(path) & {"strata.model", "strata.architecture", "strata.hooks"}, path


def test_files_stay_small_and_names_say_something() -> None:
    for path in sources("strata/**/*.py", "pages/*.py", "tests/**/*.py", "bench/*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = 90 if path.parent.name == "pages" else 400
        assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines, over {limit}"
        assert path.stem not in {"utils", "helpers", "manager", "base"}, path.relative_to(ROOT)
