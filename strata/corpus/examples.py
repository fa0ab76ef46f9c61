"""Curated prompts, by purpose. What each is said to give was measured on the bundled model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A prompt worth trying. `id` is short and stands in permalinks, so it never changes; `top1` is
    the bundled model's likeliest next token."""

    id: str
    purpose: str
    title: str
    prompt: str
    top1: str
    note: str


_LIGHTHOUSE = (
    "The lighthouse keeper wrote one line in his book every evening, whatever the weather. When "
    "the sea was calm he wrote the number of ships that had passed. When it was rough he wrote the "
    "height of the waves, which he guessed by counting the wet steps of the tower. In forty years "
    "he missed a single day. A storm had carried the book out of the window, and he went down to "
    "the beach at low tide to look for it. He found it among the stones, swollen with salt water, "
    "with a small crab asleep between two pages. He dried it by the stove, and that night he wrote "
    "two lines: one for the ships, and one for the crab. The next morning the keeper climbed the "
    "steps of the"
)
_FACT = "The bundled model knows this one."
_NOTEBOOK = "From the notebooks that Strata grew out of, made for larger models: "

EXAMPLES = (
    Example("paris", "Facts", "Capital of France", "The capital of France is", " Paris", _FACT),
    Example(
        "rome",
        "Facts",
        "The Colosseum",
        "The Colosseum is located in the city of",
        " Rome",
        _FACT,
    ),
    Example("hot", "Facts", "An opposite", "The opposite of hot is", " cold", _FACT),
    Example("gold", "Facts", "A chemical symbol", "The chemical symbol for gold is", " Au", _FACT),
    Example(
        "hamlet", "Facts", "An author", "The author of Hamlet is William", " Shakespeare", _FACT
    ),
    Example(
        "sunset",
        "Facts",
        "Where the sun sets",
        "The sun rises in the east and sets in the",
        " west",
        _FACT,
    ),
    Example(
        "water",
        "Facts",
        "What water is made of",
        "Water is made of hydrogen and",
        " helium",
        "Wrong, and with some confidence: the bundled model prefers helium, oxygen comes second.",
    ),
    Example(
        "repeat",
        "Repetition",
        "A list, again and again",
        "violet anchor pepper seven lantern. violet anchor pepper seven lantern. violet anchor",
        " pepper",
        "Nothing but the prompt itself tells what comes next. Watch surprisal fall in the second "
        "round.",
    ),
    Example(
        "names",
        "Repetition",
        "Who gets the drink?",
        "When Mary and John went to the store, John gave a drink to",
        " Mary",
        "The answer is the name that was not repeated.",
    ),
    Example(
        "pattern",
        "Repetition",
        "Follow the pattern",
        "Germany: Berlin. France: Paris. Italy:",
        " Rome",
        "Two examples in the prompt are enough to show what is asked for.",
    ),
    Example(
        "add",
        "Code",
        "A function in Python",
        "def add(a, b):\n    return a +",
        " b",
        "The line break and the spaces of the indentation are tokens too.",
    ),
    Example(
        "branch",
        "Code",
        "The other branch",
        "if (x > 0) {\n    return true;\n} else {\n    return",
        " false",
        "The model has to look back over the bracket to know what is left.",
    ),
    Example(
        "bat",
        "Words with two meanings",
        "Bat: the stick",
        "He swung the bat and hit the",
        " ball",
        "Compare the states of “bat” with those in the prompt about the animal.",
    ),
    Example(
        "bat2",
        "Words with two meanings",
        "Bat: the animal",
        "At night the bat opened its wings and",
        " began",
        "“flew” comes second.",
    ),
    Example(
        "bank",
        "Words with two meanings",
        "Bank: of a river",
        "She sat on the bank of the",
        " river",
        "The second meaning is in the prompt about money.",
    ),
    Example(
        "bank2",
        "Words with two meanings",
        "Bank: for money",
        "He deposited the money in his bank",
        " account",
        "Here the word comes last, so its own states carry the prediction.",
    ),
    Example(
        "sum",
        "Numbers",
        "Sums by example",
        "2 + 2 = 4\n3 + 3 = 6\n4 + 4 = ",
        "8",
        "The space at the end is meant: this tokenizer gives digits no space of their own.",
    ),
    Example(
        "sum2",
        "Numbers",
        "A bare sum",
        "2 + 2 = ",
        "3",
        "Without examples before it the bundled model gets it wrong: 4 comes only fourth.",
    ),
    Example(
        "count",
        "Numbers",
        "Counting",
        "10, 20, 30, 40, ",
        "5",
        "Numbers are read digit by digit: the top-1 is the 5 of 50.",
    ),
    Example(
        "spanish",
        "Other languages",
        "Counting in Spanish",
        "English: one, two, three. Spanish: uno, dos,",
        " tr",
        "Rare words are cut into pieces: “tr” is the beginning of “tres”.",
    ),
    Example(
        "french",
        "Other languages",
        "Capital of France, in French",
        "La capitale de la France est",
        " une",
        "The bundled model learnt mostly English: the fact that it knows there is lost here.",
    ),
    Example(
        "japanese",
        "Other languages",
        "Capital of Japan, in Japanese",
        "日本の首都は",
        "、",
        "Characters that are rare in its texts are spelled in several tokens, each of them only a "
        "part of a character.",
    ),
    Example(
        "long",
        "Long text",
        "The lighthouse keeper",
        _LIGHTHOUSE,
        " lighthouse",
        "147 tokens: see where the model is surprised, and how that changes as the story goes on.",
    ),
    Example(
        "sink",
        "The first token",
        "Attention sink",
        ". The Space Needle is located in",
        " New",
        "Mind the norm of position 0: more than a hundred times the others at layer 12. From the "
        "logit lens notebook; the bundled model does not know the answer, Seattle.",
    ),
    Example(
        "sink2",
        "The first token",
        "The first token, again and again",
        "very very very very very",
        "_",
        "The same word again grows huge too, here from position 2 on.",
    ),
    Example(
        "basketball",
        "From the notebooks",
        "Shaquille O'Neal",
        "Shaquille O'Neal plays the sport of",
        " the",
        _NOTEBOOK + "the bundled model does not know that he plays basketball.",
    ),
    Example(
        "soccer",
        "From the notebooks",
        "Megan Rapinoe",
        "Megan Rapinoe plays the sport of",
        " the",
        _NOTEBOOK + "the bundled model does not know that she plays soccer.",
    ),
    Example(
        "jones",
        "From the notebooks",
        "KC Jones",
        "In his NBA career, KC Jones played",
        " ",
        _NOTEBOOK + "the bundled model goes on with a number instead of the Celtics.",
    ),
    Example(
        "penguins",
        "From the notebooks",
        "Penguins are cute",
        "A wise man once said: Penguins are cute.",
        "\n",
        _NOTEBOOK + "the sentence is over, so the likeliest next token is a line break.",
    ),
    Example(
        "gregor",
        "From the notebooks",
        "Gregor Samsa",
        "As Gregor Samsa awoke one morning from uneasy dreams, he found himself transformed in his "
        "bed into a gigantic",
        ",",
        _NOTEBOOK
        + "the book says “insect”; the bundled model prefers a comma, “spider” and others.",
    ),
)

BY_ID = {example.id: example for example in EXAMPLES}
DEFAULT = BY_ID["paris"]
FACTS = tuple(example.prompt for example in EXAMPLES if example.purpose == "Facts")
