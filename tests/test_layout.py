"""The house keeps its plan: every file in a room, imports that go down only, one stem a concept."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room, from the ground up, and the rooms that its files may import: only ones above it here.
# "concepts/*" is the folder of one concept; no concept imports another.
ROOMS = {
    "nouns": "",
    "runtime": "nouns",
    "display": "",
    "charts": "display",
    "weights": "nouns runtime",
    "storage": "nouns runtime",
    "model": "nouns runtime weights",
    "corpus": "nouns runtime display weights model",
    "concepts": "nouns runtime display model corpus",
    "concepts/*": "nouns runtime display model corpus concepts",
    "engine": "nouns runtime weights model corpus concepts",
    "lessons": "nouns display storage corpus concepts engine",
    "classroom": "nouns display storage lessons",
    "commands": "nouns weights model corpus engine lessons classroom",
    "ui/server": "nouns runtime display weights storage model engine lessons classroom",
    "ui/anatomy": "nouns display charts weights corpus concepts engine lessons classroom ui/server",
    "ui/figures": "nouns display charts corpus concepts concepts/* engine ui/server ui/anatomy",
    "ui/lessons": "nouns display charts concepts engine lessons classroom ui/server ui/anatomy",
    "ui/classroom": "nouns display charts weights corpus engine lessons classroom "
    "ui/server ui/anatomy ui/lessons",
    "ui": "nouns ui/server ui/anatomy ui/lessons ui/classroom",
    "pages": "display charts corpus concepts/* ui/anatomy ui/figures",
    "app": "ui/server",
    "bench": "nouns runtime charts weights storage model corpus concepts concepts/* engine lessons "
    "classroom ui/server",
}
ALONE = {  # files that stand in a folder of rooms, not in one of them
    "app.py": "app",
    "strata/__init__.py": "nouns",
    "strata/errors.py": "nouns",
    "strata/edits.py": "nouns",
    "strata/edit_fields.py": "nouns",
    "strata/trace.py": "nouns",
    "strata/__main__.py": "commands",
    "strata/ui/__init__.py": "ui",
    "strata/ui/frame.py": "ui",
}
EVERYWHERE = ("*.py", "pages/**/*.py", "strata/**/*.py", "bench/**/*.py")
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


def sources(*patterns: str, root: Path = ROOT) -> list[Path]:
    return sorted(path for pattern in patterns for path in root.glob(pattern))


# -- rooms ------------------------------------------------------------------------------------


def room_of(file: str) -> str | None:
    """The room of a file, by its path from the root; None if it is in no room."""
    folder, *rest = file.removeprefix("strata/").split("/")
    if file in ALONE or not rest:
        return ALONE.get(file)
    if folder in ("ui", "concepts") and len(rest) > 1:
        folder += f"/{rest[0]}"
    if folder.startswith("concepts/"):
        return folder
    return folder if folder in ROOMS and folder != "ui" else None


def imported_files(path: Path, files: dict[str, Path]) -> Iterator[Path]:
    """The files of the tree that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found: list[Path | None] = []
        if isinstance(node, ast.ImportFrom):
            package = files.get(node.module or "")
            found = [files.get(f"{node.module}.{each.name}", package) for each in node.names]
        elif isinstance(node, ast.Import):
            found = [files.get(each.name) for each in node.names]
        yield from (other for other in found if other not in (None, path))


def breaches(root: Path) -> list[str]:
    """What is against the plan, a sentence each."""
    paths = sources(*EVERYWHERE, root=root)
    local = {path: path.relative_to(root).as_posix() for path in paths}
    files = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path, name in local.items()
    }
    found, graph = [], {}
    for path, name in local.items():
        room = room_of(name)
        if room is None:
            found.append(f"{name} is in no room; tests/test_layout.py lists the rooms.")
            continue
        graph[name] = sorted({local[other] for other in imported_files(path, files)})
        for other in graph[name]:
            there = room_of(other)
            if there is None or there == room or _kind(there) in ROOMS[_kind(room)].split():
                continue
            why = "one concept" if _kind(there) == _kind(room) else room
            found.append(f"{name} imports {other}, and {why} may not import {there}.")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]  # each imports the next
        found.append(f"{circle[0]} imports {circle[1]}, which leads back: {' -> '.join(circle)}.")
    return found


def _kind(room: str) -> str:
    return "concepts/*" if room.startswith("concepts/") else room


def test_every_file_is_in_a_room_and_imports_what_its_room_may() -> None:
    assert breaches(ROOT) == []


def test_the_plan_goes_down_only() -> None:
    above: set[str] = set()
    for room, allowed in ROOMS.items():
        assert set(allowed.split()) <= above, f"{room} may import what stands above it"
        above.add(room)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (
            {"strata/loose.py": ""},
            "strata/loose.py is in no room; tests/test_layout.py lists the rooms.",
        ),
        (
            {"strata/attic/chest.py": ""},
            "strata/attic/chest.py is in no room; tests/test_layout.py lists the rooms.",
        ),
        (
            {"strata/ui/loose.py": ""},
            "strata/ui/loose.py is in no room; tests/test_layout.py lists the rooms.",
        ),
        (
            {
                "strata/model/a.py": "def f():\n from strata.engine import b",
                "strata/engine/b.py": "",
            },
            "strata/model/a.py imports strata/engine/b.py, and model may not import engine.",
        ),
        (
            {
                "strata/concepts/one/tables.py": "from strata.concepts.two.tables import x",
                "strata/concepts/two/tables.py": "",
            },
            "strata/concepts/one/tables.py imports strata/concepts/two/tables.py, and one concept "
            "may not import concepts/two.",
        ),
        (
            {
                "strata/concepts/shared.py": "from strata.concepts.one import x",
                "strata/concepts/one/__init__.py": "",
            },
            "strata/concepts/shared.py imports strata/concepts/one/__init__.py, and concepts may "
            "not import concepts/one.",
        ),
        (
            {
                "strata/engine/a.py": "from strata.engine.b import x",
                "strata/engine/b.py": "if TYPE_CHECKING:\n    from strata.engine.a import y",
            },
            "strata/engine/a.py imports strata/engine/b.py, which leads back: "
            "strata/engine/a.py -> strata/engine/b.py -> strata/engine/a.py.",
        ),
    ],
)
def test_a_breach_names_its_files(tmp_path: Path, tree: dict[str, str], sentence: str) -> None:
    for name, content in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert breaches(tmp_path) == [sentence]


def test_every_room_says_what_it_is_for() -> None:
    for init in sources("strata/**/__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), init
    for room in ROOMS.keys() - set(ALONE.values()) - {"concepts/*", "pages", "bench"}:
        assert (ROOT / "strata" / room / "__init__.py").is_file(), room


def test_tests_mirror_the_rooms() -> None:
    for test in sources("tests/**/test_*.py"):
        folder = test.parent.relative_to(ROOT / "tests")
        if folder.parts and folder.parts[0] not in ("browser", "hosting"):
            assert (ROOT / "strata" / folder).is_dir(), f"{test} mirrors no room"


# -- concepts ---------------------------------------------------------------------------------


def missing_files(root: Path) -> list[str]:
    """What a concept lacks, by its stem. Lessons count from the day one exists."""
    wanted = ["strata/concepts/{}/__init__.py", "pages/{}.py", "tests/concepts/{}/test_*.py"]
    if any(root.glob("lessons/*.toml")):
        wanted.append("lessons/{}.toml")
    stems = {path.parent.name for path in root.glob("strata/concepts/*/*.py")}
    stems |= {path.stem for path in root.glob("pages/*.py")}
    return [
        form.format(stem)
        for stem in sorted(stems)
        for form in wanted
        if not any(root.glob(form.format(stem)))
    ]


def test_every_concept_has_its_files() -> None:
    assert missing_files(ROOT) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for folder in ("strata/concepts", "pages", "tests/concepts", "lessons"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pages/eighth.py").touch()
    assert missing_files(tmp_path) == [
        "strata/concepts/eighth/__init__.py",
        "tests/concepts/eighth/test_*.py",
    ]
    (tmp_path / "lessons/first.toml").touch()
    assert missing_files(tmp_path)[-1] == "lessons/eighth.toml"


def test_the_wheel_finds_what_it_carries_by_itself() -> None:
    """A new concept's folder, or a script beside a page's part, needs no edit of pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert settings["setuptools"]["packages"] == {"find": {"include": ["strata", "strata.*"]}}
    patterns = ["*.py", *settings["setuptools"]["package-data"]["*"]]
    for path in sources("strata/**/*.*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert any(fnmatch(path.name, pattern) for pattern in patterns), path


# -- other packages ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "forbidden"),
    [
        (["strata/concepts/**/*.py"], {"streamlit", "altair", "transformers"}),
        (["strata/charts/*.py", "strata/display/*.py"], {"torch", "streamlit", "transformers"}),
        (["strata/trace.py"], {"transformers", "streamlit", "pandas", "numpy"}),
        (["strata/weights/*.py", "strata/storage/**/*.py"], {"torch", "streamlit"}),
        (["strata/runtime/side_process.py", "strata/runtime/umap_worker.py"], {"torch", "pandas"}),
        (["strata/[!u]*/**/*.py", "strata/*.py"], STREAMLIT),
        (["strata/classroom/*.py"], STREAMLIT | TORCH | {"transformers"}),
        (["pages/*.py", "strata/ui/**/*.py", "app.py"], {"torch", "transformers", "altair"}),
    ],
)
def test_import_rules(patterns: list[str], forbidden: set[str]) -> None:
    checked = sources(*patterns)
    assert checked, f"no file matches {patterns}"
    for path in checked:
        assert not packages(path) & forbidden, path.relative_to(ROOT)


def test_only_the_model_imports_transformers() -> None:
    users = {p for p in sources("strata/**/*.py", "pages/*.py") if "transformers" in packages(p)}
    names = ("generation", "load", "model", "opened", "second_opinion")
    allowed = {f"strata/model/{name}.py" for name in names}
    assert users == {ROOT / name for name in allowed}


def test_the_model_is_named_but_not_imported_where_pages_begin() -> None:
    """`strata.model` hands on its names late: asked for one while a page's thread and the model's
    both begin, transformers is imported twice at once, and fails in one of them."""
    late = {"strata.model.Model", "strata.model.load_model"}
    rooms = ("charts", "concepts", "corpus", "display", "lessons", "classroom", "ui")
    for path in sources(*(f"strata/{room}/**/*.py" for room in rooms)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                assert not names & late, f"{path.relative_to(ROOT)} does so without TYPE_CHECKING"


def test_pages_and_interface_reach_the_model_through_the_engine_only() -> None:
    for path in sources("pages/*.py", "strata/ui/**/*.py"):
        asked = {name for name in imports(path) if name.startswith("strata.model")}
        assert asked <= {"strata.model.device", "strata.model.device.free_memory"}, path


def test_files_stay_small_and_names_say_something() -> None:
    for path in sources("strata/**/*.py", "pages/*.py", "tests/**/*.py", "bench/*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = 90 if path.parent.name == "pages" else 400
        assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines, over {limit}"
        assert path.stem not in {"utils", "helpers", "manager", "base"}, path.relative_to(ROOT)
