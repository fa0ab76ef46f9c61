"""What a figure is of, and what it leaves out, as lines under its title.

Each is a paragraph, which `titled` breaks for the figure's width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import ascii_uppercase

from strata.charts.common import LABEL, Chart, Spec
from strata.charts.titled import BETWEEN, WIDEST, lines, width_of
from strata.display.tokens import SHORTENED, display_text

_LINE = 15  # pixels
_SMALL = 300  # pixels: a figure less high than this says in one line what it is of
_LEAST = 12  # characters of a prompt that tell it from others
_OF_A_LINE = 60  # characters of a prompt where its line may be broken
# Lines are broken here, so Vega is not to cut them at the width of the axes: there is more room.
_LOOK: Spec = {
    "limit": 0,
    "offset": 10,
    "subtitleColor": LABEL,
    "subtitleFontSize": 12,
    "subtitlePadding": 4,
}


@dataclass(frozen=True)
class Subject:
    """The texts and the model that a figure is of. Several texts have letters; `sampled` says in
    words which states are drawn, where they are of no one text, and `without` which are not."""

    prompts: tuple[str, ...] = ()
    model: str = ""
    sampled: str = ""
    without: str = ""

    def parts(self, room: int = WIDEST) -> list[str]:
        """What there is to say, each text in a place of so many characters."""
        quotes = ["“{}”"] if len(self.prompts) == 1 else [f"{each} “{{}}”" for each in _LETTERS]
        shown = _told_apart(self.prompts, room - len(quotes[0]) + 2)
        prompts = [quote.format(each) for quote, each in zip(quotes, shown, strict=False)]
        return [each for each in (*prompts, self.sampled, self.model, self.without) if each]


_LETTERS = ascii_uppercase


def shortened(prompt: str, longest: int) -> str:
    """The end of a prompt as plain text in a place of so many characters, of which wide ones take
    two; what is shown for one character may take eight."""
    for count in (longest, longest // 2, longest // 4, longest // 9):
        shown = display_text(prompt, count)
        if width_of(shown) <= longest:
            return shown
    return SHORTENED


def _told_apart(prompts: tuple[str, ...], longest: int) -> list[str]:
    """All of them, each in such a place: their ends, or, where these are the same, from the word on
    at which they part."""
    shown = [shortened(prompt, longest) for prompt in prompts]
    if len({*shown}) >= len({*prompts}):
        return shown
    unlike = (i for i, signs in enumerate(zip(*prompts, strict=False)) if len({*signs}) > 1)
    parted = next(unlike, min(map(len, prompts)))
    return [_from_word_at(prompt, parted, longest) for prompt in prompts]


def _from_word_at(prompt: str, place: int, longest: int) -> str:
    begins = prompt.rfind(" ", 0, place) + 1
    for count in (longest - 2, longest // 2, longest // 4, longest // 9):
        some, after = prompt[begins : begins + count], prompt[begins + count : begins + count + 1]
        if after.strip():  # in a word: that whole, unless it is most of what there is
            whole = some.rfind(" ")
            some = some[:whole] if whole > count // 3 else some
        cut = SHORTENED * (begins > 0), SHORTENED * bool(after)
        shown = cut[0] + display_text(some, max(1, len(some))) + cut[1]
        if width_of(shown) <= longest:
            return shown
    return SHORTENED


def captioned(chart: Chart, subject: Subject, *notes: str) -> Chart:
    """The chart with what it is of and, `notes`, what it leaves out under its title, and higher by
    these lines. Those that it has already stand between the two."""
    left_out = [note for note in notes if note]
    room = WIDEST
    if chart.height < _SMALL:  # one line, in which the prompt has what room the model leaves
        room = max(_LEAST, WIDEST - len(BETWEEN) - len(subject.model))
    first, last = ([BETWEEN.join(each)] * bool(each) for each in (subject.parts(room), left_out))
    if not first + last:
        return chart
    title = chart.spec["title"]
    given = {"text": title} if isinstance(title, str) else title
    own = given.get("subtitle", [])
    own = [own] if isinstance(own, str) else list(own)
    spec = {**chart.spec, "title": {**_LOOK, **given, "subtitle": [*first, *own, *last]}}
    height = chart.height + _LINE * sum(len(lines(each)) for each in first + last)
    return replace(chart, spec=spec, height=height, about=in_words(subject, *left_out))


def in_words(subject: Subject, *notes: str) -> str:
    """The same in a sentence, for those who cannot see the figure."""
    return f"Drawn: {', '.join([*subject.parts(), *filter(None, notes)])}."


def in_a_line(subject: Subject, *notes: str) -> str:
    """The same where a line may be broken anywhere, as in a page's own markup."""
    return BETWEEN.join([*subject.parts(_OF_A_LINE), *filter(None, notes)])
