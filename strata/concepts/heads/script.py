def script(source: str, revision: str | None, prompt: str) -> str:
    return ""
