"""Edits of a run, as data: which block's stream or write is changed, and into what.

An edit names what it needs (another prompt, a token, texts) and never holds a tensor, so that it
can be checked, hashed, sent to another process and written down. What is made of it for a run is in
`strata/model/resolved.py`; `docs/edits.md` has the state after each of them in a table.

A block's stream is the residual stream that it hands on, `hidden[block + 1]`; for edits other than
`Scale` and `Skip` the block `EMBEDDING`, -1, is what enters block 0, `hidden[0]`. `positions` are
absolute and count from 0, None is every position, and both hold while a text is written as well.
Edits of one run are made in their order.

`head` is one head of the block's attention: what is edited then is what that head hands on, its
slice of what the output projection is given, and nothing else of the block. It goes with a `Scale`,
`Replace` or `Noise` of "attn", and with `Skip`, which leaves out what this head writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Part = Literal["stream", "attn", "mlp"]
Positions = tuple[int, ...] | None
Texts = tuple[str, ...]

EMBEDDING = -1  # the block before block 0: what it hands on is `hidden[0]`


@dataclass(frozen=True)
class Scale:
    """Multiply what block `block` hands on by `factor`.

    `part` "stream" multiplies the whole residual stream after the block, `hidden[block + 1]`;
    "attn" and "mlp" multiply only what that part added to it. (Of a part of several modules each is
    multiplied, and one that reads another reads what was multiplied.) `positions` None means every
    position, otherwise a tuple of absolute positions, which also holds while generating.
    """

    kind: ClassVar[str] = "scale"
    block: int
    factor: float
    part: Part = "stream"
    positions: Positions = None
    head: int | None = None


@dataclass(frozen=True)
class State:
    """States of the clean run of another prompt, or of the same one: what `Replace` puts in.

    `positions` are positions of `prompt`, one for each position of the edit; None the same ones.
    `block` None is the block of the edit. Another one is for reading a state at another depth than
    the one it was made at (a Patchscope: Ghandeharioun and others 2024); `EMBEDDING` is the state
    that enters block 0.
    """

    kind: ClassVar[str] = "state"
    prompt: str
    positions: Positions = None
    block: int | None = None


@dataclass(frozen=True)
class Replace:
    """Put the state, or the write, of another run in the place of this one's (activation patching).

    `part` "stream" replaces `hidden[block + 1]`, "attn" and "mlp" replace only what that part added
    to it, by what the same part added in the source's run. `positions` None are the positions of
    the prompt, which must then have as many tokens as the source has positions; tokens written
    after the prompt keep their own states. Each position is named once.
    """

    kind: ClassVar[str] = "replace"
    block: int
    part: Part
    source: State
    positions: Positions = None
    head: int | None = None


@dataclass(frozen=True)
class Difference:
    """The direction from one prompt's state to another's: `hidden[layer]` of `first` less that of
    `second`, (D,), as long as it is.

    `position` is where it is taken, one for both prompts or a pair of one for each; negative ones
    count from the end, so -1 is each prompt's last token.
    """

    kind: ClassVar[str] = "difference"
    first: str
    second: str
    layer: int
    position: int | tuple[int, int] = -1


@dataclass(frozen=True)
class Unembedding:
    """A token's row of the head, (D,), as long as it is: along it a normed state gains this token's
    logit fastest. The final norm's weight is not in it."""

    kind: ClassVar[str] = "unembedding"
    token_id: int


@dataclass(frozen=True)
class MeanState:
    """The mean of `hidden[layer]` over all tokens of some texts, (D,), as long as it is, attention
    sinks left out."""

    kind: ClassVar[str] = "mean"
    texts: Texts
    layer: int


@dataclass(frozen=True)
class Principal:
    """The k-th principal component of `hidden[layer]` over all tokens of some texts, (D,), of
    length 1, attention sinks left out.

    `k` 1 is the one of largest variance about the mean. A component has no sign of its own: here
    its largest entry is positive.
    """

    kind: ClassVar[str] = "principal"
    texts: Texts
    layer: int
    k: int = 1


Direction = Difference | Unembedding | MeanState | Principal


@dataclass(frozen=True)
class Add:
    """Add a direction to the stream after a block (steering): hidden[block + 1] + factor * d.

    `direction` is as long as its class says, so factor 1 of a `Difference` takes the second
    prompt's state to the first's.
    """

    kind: ClassVar[str] = "add"
    part: ClassVar[Part] = "stream"
    block: int
    direction: Direction
    factor: float
    positions: Positions = None
    head: int | None = None


@dataclass(frozen=True)
class Project:
    """Take a direction out of the stream after a block: hidden[block + 1] less its component along
    d, so that its product with d is 0. The length of `direction` does not count."""

    kind: ClassVar[str] = "project"
    part: ClassVar[Part] = "stream"
    block: int
    direction: Direction
    positions: Positions = None
    head: int | None = None


@dataclass(frozen=True)
class Noise:
    """A random vector of the same norm in place of what is there: the control for all other edits.

    u is a random direction of length 1 (normal numbers, all directions alike). With `factor` None
    a state or write x becomes |x| u: nothing of it is left but its norm. With a number f it becomes
    x + |f - 1| |x| u: pushed exactly as far as `Scale` by f pushes it, in a direction that says
    nothing. Of a part of several modules each gets a vector of its own.

    u depends on `seed`, block, part, head and position only, so it is the same in every run of a
    model, alone and in a batch, in the prompt and while a text is written.
    """

    kind: ClassVar[str] = "noise"
    block: int
    part: Part = "stream"
    seed: int = 0
    positions: Positions = None
    factor: float | None = None
    head: int | None = None


@dataclass(frozen=True)
class Skip:
    """Leave a block out: hidden[block + 1] is hidden[block], to the bit, and both writes are zero.

    In families whose blocks multiply the stream before they add to it, that is left out as well.
    With `head` only that head hands on nothing: zeros in its slice.
    """

    kind: ClassVar[str] = "skip"
    part: ClassVar[Part] = "stream"
    block: int
    positions: Positions = None
    head: int | None = None


@dataclass(frozen=True)
class Keep:
    """Keep only the top k principal components of the stream after a block.

    About the mean m of `hidden[block + 1]` over all tokens of the texts `sample`, attention sinks
    left out, a state x becomes m + P (x - m), where P projects onto the k directions of largest
    variance; k = 0 leaves the mean alone. `positions` None is every position but the prompt's own
    attention sinks, which no sample without sinks describes; positions that are named are all
    changed.
    """

    kind: ClassVar[str] = "keep"
    part: ClassVar[Part] = "stream"
    block: int
    k: int
    sample: Texts
    positions: Positions = None
    head: int | None = None


Edit = Scale | Replace | Add | Project | Noise | Skip | Keep
EDITS = (Scale, Replace, Add, Project, Noise, Skip, Keep)


def leaves_out(edit: Edit) -> bool:
    """Whether a whole block is left out."""
    return isinstance(edit, Skip) and edit.head is None


def breaks_sum(edit: Edit) -> bool:
    """Whether hidden[block + 1] - hidden[block] is no longer what attention and MLP added: the
    stream itself was changed there, and not as a block does."""
    return edit.part == "stream" and edit.block != EMBEDDING and not isinstance(edit, Skip)


def source_prompts(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    """The prompts and texts that are run, each once, before a run with these edits."""
    found: list[str] = []
    for edit in edits:
        match edit:
            case Replace(source=State(prompt=prompt)):
                found.append(prompt)
            case Add(direction=direction) | Project(direction=direction):
                found += _prompts_of(direction)
            case Keep(sample=texts):
                found += texts
    return tuple(dict.fromkeys(found))


def _prompts_of(direction: Direction) -> Texts:
    match direction:
        case Difference(first=first, second=second):
            return first, second
        case MeanState(texts=texts) | Principal(texts=texts):
            return texts
    return ()
