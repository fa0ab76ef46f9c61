"""Class mode is chosen by environment or settings file; a slip ends the server in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strata.classroom import class_mode
from strata.classroom.codes import hashed, is_password
from strata.classroom.settings import ClassSettings, class_settings
from strata.errors import StrataError
from strata.storage.database import place
from strata.storage.secret import secret
from tests.browser.server import ROOT, free_port

OIDC = {
    "STRATA_OIDC_ISSUER": "https://id.school.example",
    "STRATA_OIDC_CLIENT_ID": "strata",
    "STRATA_OIDC_CLIENT_SECRET": "between servers",
    "STRATA_OIDC_TEACHERS": "Ann@school.example, bob@school.example",
}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fields = [f"STRATA_{name.upper()}" for name in ClassSettings.model_fields]
    for name in ("STRATA_MODE", "STRATA_SETTINGS", *fields):
        for variable in (name, f"{name}_FILE"):
            monkeypatch.setenv(variable, "")
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("strata.toml")
    path.write_text(text, encoding="utf-8")
    return path


def test_the_secret_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not class_mode()
    monkeypatch.setenv("STRATA_MODE", "class")
    monkeypatch.setenv("STRATA_TEACHER_SECRET", "correct horse")
    assert class_mode()
    settings = class_settings()
    assert is_password("correct horse", settings.teacher_hash)
    assert "STRATA_TEACHER_SECRET" not in os.environ
    assert "correct horse" not in repr(settings)
    assert settings.hosts == ["*"]


def test_a_hash_stands_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = hashed("correct horse")
    monkeypatch.setenv("STRATA_TEACHER_HASH", kept)
    assert class_settings().teacher_hash == kept


def test_a_file_chooses_class_mode_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write('[class]\nallowed_hosts = ["a.example"]\n')
    monkeypatch.setenv("STRATA_TEACHER_SECRET", "correct horse")
    assert class_mode()
    assert class_settings().allowed_hosts == ("a.example",)
    monkeypatch.setenv("STRATA_TEACHER_SECRET", "correct horse")
    monkeypatch.setenv("STRATA_ALLOWED_HOSTS", "b.example, *.c.example")
    assert class_settings().allowed_hosts == ("b.example", "*.c.example")
    monkeypatch.setenv("STRATA_MODE", "open")
    assert not class_mode()

    monkeypatch.delenv("STRATA_MODE")
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.touch()
    monkeypatch.setenv("STRATA_SETTINGS", str(elsewhere))
    assert not class_mode()


def test_a_secret_comes_from_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = tmp_path / "teacher"
    held.write_text("correct horse\n")
    monkeypatch.setenv("STRATA_TEACHER_SECRET_FILE", str(held))
    assert is_password("correct horse", class_settings().teacher_hash)
    monkeypatch.setenv("STRATA_TEACHER_SECRET", "another horse")
    assert is_password("another horse", class_settings().teacher_hash)
    monkeypatch.setenv("STRATA_TEACHER_SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(StrataError, match=r"SECRET_FILE names .*cannot be read"):
        class_settings()
    held.write_bytes(b"\xff\xfe")
    monkeypatch.setenv("X_FILE", str(held))
    with pytest.raises(StrataError, match="it is not text"):
        secret("X")


def test_the_databases_password_comes_from_a_file_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    monkeypatch.setenv("STRATA_DATABASE_URL", "postgresql://strata@db/strata?connect_timeout=5")
    assert place() == "postgresql://strata@db/strata?connect_timeout=5"
    monkeypatch.setenv("STRATA_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    assert place() == "postgresql://strata:p%40ss%2Fword@db/strata?connect_timeout=5"
    monkeypatch.delenv("STRATA_DATABASE_URL")
    assert place().endswith("strata.sqlite")


def test_teachers_may_have_accounts_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OIDC.items():
        monkeypatch.setenv(name, value)
    settings = class_settings()
    assert settings.has_oidc
    assert settings.teacher_hash == ""
    assert settings.oidc_teachers == ("Ann@school.example", "bob@school.example")
    assert "STRATA_OIDC_CLIENT_SECRET" not in os.environ
    assert "between servers" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STRATA_TEACHER_SECRET", "short", "at least 10 characters"),
        ("STRATA_TEACHER_SECRET", "", "A class needs a teacher"),
        ("STRATA_TEACHER_HASH", "correct horse", "is not what"),
        ("STRATA_TEACHER_HASH", "a$b", "is not what"),
        ("STRATA_ALLOWED_HOSTS", "https://a.example", "names like strata.school.example"),
        ("STRATA_ALLOWED_HOSTS", "a.example:8501", "names like strata.school.example"),
        ("STRATA_ALLOWED_HOSTS", "a.*.example", "names like strata.school.example"),
        ("STRATA_ALLOWED_HOSTS", "a.example,", "names like strata.school.example"),
        ("STRATA_OIDC_ISSUER", "http://id.school.example", "begins with https://"),
        ("STRATA_OIDC_TEACHERS", "", "need STRATA_OIDC_TEACHERS too"),
        ("STRATA_OIDC_TEACHERS", "*@school.example,Ann", "e-mail addresses, not 'Ann'"),
        ("STRATA_OIDC_TEACHERS", "@school.example", "e-mail addresses"),
    ],
)
def test_a_bad_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    if name != "STRATA_TEACHER_SECRET":
        monkeypatch.setenv("STRATA_TEACHER_SECRET", "correct horse")
    if "OIDC" in name:
        for other, good in OIDC.items():
            monkeypatch.setenv(other, good)
    monkeypatch.setenv(name, value)
    with pytest.raises(StrataError, match=message):
        class_settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[class]\nalowed_hosts = ["a"]\n', r"no 'alowed_hosts'; it may have .*allowed_hosts"),
        ("[class]\nallowed_hosts = 3\n", "STRATA_ALLOWED_HOSTS"),
        ('[class]\nteacher_secret = "correct horse"\n', "Keep teacher_secret out of"),
        ('[class]\noidc_client_secret = "x"\n', "Keep oidc_client_secret out of"),
        ("[clas]\n", "has one table, .class.; it cannot hold 'clas'"),
        ('class = "on"\n', "is a table"),
        ("[class\n", "cannot be read"),
        ("[class]\nteacher_hash = 'a'\nteacher_hash = 'b'\n", "cannot be read"),
    ],
)
def test_a_slip_in_the_file_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    write(text)
    monkeypatch.setenv("STRATA_TEACHER_SECRET", "correct horse")
    with pytest.raises(StrataError, match=message) as refused:
        class_settings()
    assert "correct horse" not in str(refused.value)


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_SETTINGS", "nowhere.toml")
    with pytest.raises(StrataError, match=r"names nowhere\.toml, which is not there"):
        class_mode()


def test_a_slip_in_the_mode_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("Class", "school", "1"):
        monkeypatch.setenv("STRATA_MODE", mode)
        with pytest.raises(StrataError, match="STRATA_MODE is open or class"):
            class_mode()
    for mode in ("", "open"):
        monkeypatch.setenv("STRATA_MODE", mode)
        assert not class_mode()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"STRATA_MODE": "school"}, "STRATA_MODE is open or class"),
        ({"STRATA_MODE": "class"}, "A class needs a teacher"),
        (
            {
                "STRATA_MODE": "class",
                "STRATA_TEACHER_SECRET": "correct horse",
                "STRATA_DATABASE_URL": "postgresql://strata@127.0.0.1:1/strata",
            },
            "cannot be used",
        ),
    ],
)
def test_the_server_ends_with_that_sentence(
    environment: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    port = str(free_port())
    options = ["--server.port", port, "--server.headless", "true"]
    ended = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", "app.py", *options],
        cwd=ROOT,
        env={**os.environ, "STRATA_STATE": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("strata: ")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1
