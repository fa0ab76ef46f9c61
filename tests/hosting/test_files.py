"""What is written for containers names what is there. No container engine is needed to see that."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from strata.classroom.settings import ClassSettings
from tests.browser.server import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
KNOWN = {"FROM", "ENV", "WORKDIR", "ARG", "RUN", "COPY", "USER", "VOLUME", "EXPOSE"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, one by one: what it is, and the rest of its line."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def values(name: str) -> list[str]:
    return [rest for kind, rest in instructions() if kind == name]


def copied() -> list[str]:
    return [path for rest in values("COPY") for path in shlex.split(rest)[:-1]]


def kept_out(path: str) -> bool:
    """Whether .dockerignore keeps a path of the repository out: the last line that matches."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        if pattern == "*" or path == pattern or fnmatch(path, f"{pattern}/*"):
            out = not line.startswith("!")
    return out


def command(of: str) -> list[str]:
    """A command in exec form, in which the program itself gets the signals."""
    found: list[str] = json.loads(of)
    return found


def test_each_instruction_is_one_that_is_meant() -> None:
    assert {kind for kind, _ in instructions()} == KNOWN | {"HEALTHCHECK", "CMD"}


@pytest.mark.parametrize("path", copied())
def test_what_is_copied_is_there_and_is_sent(path: str) -> None:
    assert (ROOT / path).exists()
    files = [ROOT / path] if (ROOT / path).is_file() else sorted((ROOT / path).rglob("*"))
    sent = [file for file in files if not kept_out(str(file.relative_to(ROOT)))]
    assert any(file.is_file() for file in sent), path


def test_all_that_the_app_needs_is_copied_and_no_secret_is() -> None:
    needed = {"app.py", "strata", "pages", "lessons", "models.toml", "texts.toml", ".streamlit"}
    assert needed | {"requirements.txt"} <= set(copied())
    assert "." not in copied()
    for path in ("strata.toml", "secrets/teacher", ".streamlit/secrets.toml", ".git/HEAD"):
        assert kept_out(path), path


def test_it_does_not_run_as_root_and_writes_to_the_volume_only() -> None:
    kinds = [kind for kind, _ in instructions()]
    assert values("USER") == ["strata"]
    assert kinds.index("USER") > max(i for i, kind in enumerate(kinds) if kind in ("RUN", "COPY"))
    environment = dict(pair.split("=", 1) for rest in values("ENV") for pair in rest.split())
    assert values("VOLUME") == [environment["STRATA_STATE"]]
    assert environment["STRATA_HOME"] != environment["STRATA_STATE"]
    fetch = next(i for i, (_, rest) in enumerate(instructions()) if "fetch smollm2-135m" in rest)
    assert kinds.index("ENV") < fetch  # the weights land where the server looks for them


def test_the_port_is_one_and_health_is_readiness() -> None:
    started = command(values("CMD")[0])
    port = started[started.index("--server.port") + 1]
    assert values("EXPOSE") == [port]
    checked = command(values("HEALTHCHECK")[0].split("CMD", 1)[1])
    assert f"http://127.0.0.1:{port}/readyz" in checked[-1]
    compile(checked[-1], "the health check", "exec")
    proxied = COMPOSE["services"]["proxy"]["environment"]["STRATA_UPSTREAMS"].split()
    assert proxied == [f"strata1:{port}", f"strata2:{port}"]


def test_compose_refers_to_what_it_defines() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for secret in service.get("secrets", ()):
            assert secret in COMPOSE["secrets"], name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), name
            else:
                assert source in COMPOSE["volumes"], name
        for other in service.get("depends_on", ()):
            assert "healthcheck" in services[other], name
        assert "ports" not in service or name == "proxy"  # nothing else is reached from outside


def test_compose_sets_what_strata_and_the_proxy_know() -> None:
    strata, proxy = COMPOSE["services"]["strata1"], COMPOSE["services"]["proxy"]
    assert COMPOSE["services"]["strata2"] == strata
    known = {f"STRATA_{name.upper()}" for name in ClassSettings.model_fields}
    known |= {"STRATA_MODE", "STRATA_DATABASE_URL", "STRATA_DATABASE_PASSWORD"}
    for name, value in strata["environment"].items():
        if name.startswith("STRATA_"):
            assert name.removesuffix("_FILE") in known
        if name.endswith("_FILE"):
            assert Path(value).parent == Path("/run/secrets")
            assert Path(value).name in strata["secrets"]
    caddyfile = (ROOT / "hosting/Caddyfile").read_text()
    for name in proxy["environment"]:
        assert f"{{${name}" in caddyfile


def test_secrets_are_kept_out_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"secrets/", "strata.toml", ".streamlit/secrets.toml"} <= set(ignored)
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("secrets/")
