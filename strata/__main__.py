"""The command line: list the models, fetch them ahead, check that they are read right."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strata import __version__
from strata.classroom.commands import add_parser as add_class_parser
from strata.corpus.set_check import add_parser as add_sets_parser
from strata.errors import InputError, StrataError
from strata.weights import sources
from strata.weights.catalogue import catalogue, resolve

REFUSED, FAILED, INTERRUPTED = 1, 2, 130  # exit codes
NAME_HELP = "an id from `models`, a .gguf file, a folder, or a hub id like owner/name"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit code: 0 good, 1 refused by a check, 2 failed."""
    chosen = _parser().parse_args(arguments)
    try:
        code: int = chosen.run(chosen)
        sys.stdout.flush()
        return code
    except StrataError as error:
        _clear_line()
        print(f"strata: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        _clear_line()
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m strata",
        description="Strata shows what happens inside a language model, layer by layer. "
        "These commands look after its models; `streamlit run app.py` opens the app.",
        epilog="Weights are kept in the folder that STRATA_HOME names (else the user's cache). "
        "Models are listed in models.toml, or in the file that STRATA_MODELS names.",
    )
    parser.add_argument("--version", action="version", version=f"strata {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser(
        "models",
        help="list the catalogue and what is cached",
        description="List the models of the catalogue, and which are on this machine already.",
        epilog="example: python -m strata models --json",
    )
    models.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    models.set_defaults(run=_models)

    fetch = commands.add_parser(
        "fetch",
        help="fetch a model or a text ahead of a class",
        description="Download and convert a model, or a text of texts.toml, now, so that later "
        "starts need no network. Progress goes to standard error; where it is on this machine is "
        "printed at the end.",
        epilog="example: python -m strata fetch smollm2-135m",
    )
    fetch.add_argument("name", metavar="NAME", help=f"{NAME_HELP}; or the id of a text")
    fetch.set_defaults(run=_fetch)

    check = commands.add_parser(
        "check",
        help="load a model and test that Strata reads it right",
        description="Load a model (fetching it at need), print its shapes, and test the two "
        "identities that every number rests on: the final layer through the head gives the "
        "model's own logits, and attention plus MLP is what each block added. The exit code is "
        "0 if both hold and 1 if not. With --against, a text that is read otherwise is a line, and "
        "makes the exit code 1.",
        epilog="example: python -m strata check gpt2 --device cpu --against transformers",
    )
    check.add_argument("name", metavar="NAME", help=NAME_HELP)
    check.add_argument("--device", help="cpu, cuda, mps; by default the best there is")
    check.add_argument("--dtype", help="float32, float16 or bfloat16; by default the catalogue's")
    check.add_argument(
        "--against",
        choices=("gguf", "transformers"),
        help="also compare tokens and final logits on some fifty texts with another reader: of the "
        "model's .gguf file (llama.cpp, if llama-cpp-python is installed), or transformers' own "
        "generate on the converted folder",
    )
    check.set_defaults(run=_check)
    _fit_parser(commands)
    _lessons_parser(commands)
    add_sets_parser(commands, _model)
    add_class_parser(commands)
    return parser


def _fit_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = commands.add_parser(
        "fit-lens",
        help="fit a Jacobian lens to a model",
        description="Fit a Jacobian lens to a model and keep it, so that the page of that name "
        "reads the model by it. It takes about a minute of a core for 48 tokens of a model of 135 "
        "million weights, and grows with weights and width. A fit that is broken off goes on where "
        "it stopped when the same command is given again.",
        epilog="example: python -m strata fit-lens smollm2-135m --count 32",
    )
    fit.add_argument("name", metavar="NAME", help=NAME_HELP)
    fit.add_argument(
        "--texts",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="text files to fit on, cut into passages; by default Strata's own passages",
    )
    fit.add_argument("--count", type=int, default=16, help="passages, from the first; 16")
    fit.add_argument("--skip", type=int, default=16, help="first positions to leave out; 16")
    fit.add_argument("--max-tokens", type=int, default=48, help="tokens of each passage; 48")
    fit.add_argument("--device", help="cpu, cuda, mps; by default the best there is")
    fit.add_argument("--dtype", help="float32, float16 or bfloat16; by default the catalogue's")
    fit.add_argument(
        "--random-blocks",
        metavar="SEED",
        type=int,
        help="fit to the model with random blocks instead, which shows what the blocks learned",
    )
    fit.add_argument("--force", action="store_true", help="also in place of one on more passages")
    fit.set_defaults(run=_fit_lens)


def _lessons_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lessons = commands.add_parser(
        "lessons",
        help="check lessons, or begin a new one",
        description="Lessons are TOML files in the folder lessons/ (or the one that "
        "STRATA_LESSONS names); docs/lessons.md says how to write one.",
    )
    what = lessons.add_subparsers(required=True, metavar="WHAT")
    check = what.add_parser(
        "check",
        help="check lesson files on a real model",
        description="Check structure, links, measures, reading level, and every question on a "
        "model. Each thing that is wrong is a line with file, step and reason; the exit code is "
        "0 if there is none and 1 otherwise.",
        epilog="example: python -m strata lessons check lessons/laminar_profile.toml",
    )
    check.add_argument("files", metavar="FILE", nargs="*", type=Path, help="by default all")
    check.add_argument(
        "--model", default=None, help=f"{NAME_HELP}; by default the catalogue's first"
    )
    check.set_defaults(run=_check_lessons)
    new = what.add_parser(
        "new",
        help="write a small lesson to start from",
        description="Write a small lesson that works into the folder of lessons.",
        epilog="example: python -m strata lessons new my_first_lesson",
    )
    new.add_argument("name", metavar="NAME", help="small letters, digits and _")
    new.set_defaults(run=_new_lesson)


def _models(chosen: argparse.Namespace) -> int:
    cards = catalogue().values()
    if chosen.json:
        rows = [{**card.model_dump(), "cached": sources.is_cached(card)} for card in cards]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    header = ("id", "title", "parameters", "source", "licence", "cached")
    table = [header]
    for card in cards:
        size = f"{card.parameters / 1e6:,.0f} M" if card.parameters else "?"
        cached = "yes" if sources.is_cached(card) else "no"
        table.append((card.id, card.title, size, card.source, card.licence, cached))
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        cells = [
            cell.rjust(width) if name == "parameters" else cell.ljust(width)
            for cell, width, name in zip(row, widths, header, strict=True)
        ]
        print("  ".join(cells).rstrip())
    return 0


def _fetch(chosen: argparse.Namespace) -> int:
    from strata.corpus import datasets  # here, because it needs half a second more

    text = datasets.texts().get(chosen.name)
    if text is not None:
        place = datasets.fetch(text, _progress())
    else:
        place = sources.folder(resolve(chosen.name), _convert, _progress())
    _clear_line()
    print(place)
    return 0


def _convert(gguf: Path, folder: Path) -> None:
    from strata.model import convert_gguf  # here, because torch takes seconds to import

    convert_gguf(gguf, folder)


def _check(chosen: argparse.Namespace) -> int:
    from strata.model import load_model
    from strata.trace import WRITE_TOLERANCE

    model = load_model(chosen.name, chosen.device, chosen.dtype, _progress())
    _clear_line()
    check = model.check
    facts = {
        "model": model.name,
        "family": model.family,
        "blocks (L)": model.n_layers,
        "width (D)": model.d_model,
        "vocabulary (V)": model.d_vocab,
        "device": model.device,
        "dtype": str(model.dtype).removeprefix("torch."),
        "final layer": _verdict(check.lens_error, check.lens_ok, check.lens_tolerance),
        "writes": _verdict(check.write_error, check.write_ok, WRITE_TOLERANCE),
        "read back": _verdict(check.read_back_error, check.read_back_ok, 0.0),
        "causal": _verdict(check.causal_error, check.causal_ok, check.agreement),
        "in a batch": _verdict(check.batch_error, check.batch_ok, check.agreement),
        "with a cache": _verdict(check.cache_error, check.cache_ok, check.agreement),
        "replayed": _verdict(check.replay_error, check.replay_ok, check.agreement),
        "adds": _added(model.texts),
        "verdict": "ok" if check.ok else f"refused: {check.reason or 'an identity does not hold'}",
    }
    if not check.read_back_ok:
        facts["note"] = (
            "What is shown of tokens may not be what the model reads: of a short text so many "
            "characters or ids (the error of read back) do not come back from its tokens."
        )
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {value}")
    agreed = not chosen.against or _agrees(model, chosen.against)
    return 0 if check.ok and agreed else REFUSED


def _agrees(model: Any, against: str) -> bool:
    """Compare a model with another reading of it, and print what differs."""
    from strata.model import second_opinion

    with tempfile.TemporaryDirectory() as work:
        if against == "gguf":
            reader = second_opinion.by_llama_cpp(
                sources.gguf_of(model.card, Path(work), _progress())
            )
        else:
            folder = sources.folder(model.card, _convert, _progress())
            reader = second_opinion.by_transformers(folder)
        found = list(second_opinion.compare(model, reader))
    _clear_line()
    alike = [each for each in found if each.same_tokens]
    largest = max((each.difference for each in alike), default=float("nan"))
    same_best = sum(each.same_best for each in alike)
    limit = second_opinion.TOLERANCES[against]
    print(
        f"against {against}: {len(alike)} of {len(found)} texts have the same tokens; of these "
        f"{same_best} the same most likely next token, logits at most {largest:.2g} apart "
        f"({limit:g} allowed)"
    )
    for each in found:
        if not each.same_tokens:
            print(f"tokens of {each.text!r}: {each.ours}, there {each.theirs}")
        elif not each.difference <= limit:
            print(f"logits after {each.text!r}: {each.difference:.2g} apart")
    return all(each.same_tokens and each.difference <= limit for each in found)


def _fit_lens(chosen: argparse.Namespace) -> int:
    from strata.corpus import passages
    from strata.model import load_model
    from strata.model.fingerprint import fingerprint
    from strata.model.fitted import fitted, place
    from strata.model.jacobian import fit

    model = load_model(chosen.name, chosen.device, chosen.dtype, _progress())
    if chosen.random_blocks is not None:
        model = model.random_twin(chosen.random_blocks)
    texts = [
        piece
        for file in chosen.texts or ()
        for piece in passages.split(passages.decoded(_content(file))[0])
    ]
    texts = passages.fitting(model, texts or list(passages.passages().values()))
    if chosen.count < 1:
        raise InputError("Fit on at least one passage.")
    needed = chosen.skip + 2
    usable = [text for text in texts if len(model.encode(text)) >= needed][: chosen.count]
    if not usable:
        raise InputError(f"No passage of these texts has {needed} tokens; give longer ones.")
    used = fitted(model)
    if used is not None and len(usable) < used.n_texts and not chosen.force:
        raise InputError(
            f"The lens of {model.name} that is used now was fitted on {used.n_texts} passages, and "
            f"this one would be on {len(usable)}: give more, or --force to use it all the same."
        )
    final = place(fingerprint(model))
    final.parent.mkdir(parents=True, exist_ok=True)
    keep = final.with_suffix(".unfinished")
    lens = fit(model, usable, chosen.skip, chosen.max_tokens, _progress(), keep)
    lens.save(final)
    keep.unlink(missing_ok=True)
    _clear_line()
    print(final)
    told = f"{lens.n_texts} texts, {lens.n_positions:,} positions"
    if lens.n_texts > 1:
        n = max(lens.changes)
        told += (
            f"; at the worst layer the last texts changed it by {max(lens.changes[n]):.0%}, and "
            f"the fits of two halves have a cosine of {min(lens.halves):.2f}"
        )
    print(told)
    return 0


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}).") from None


def _check_lessons(chosen: argparse.Namespace) -> int:
    from strata.engine import Settings, open_engine
    from strata.lessons import files
    from strata.lessons.check import check

    name = chosen.model or next(iter(catalogue()))
    with open_engine(Settings()) as engine:
        found = check(chosen.files or None, engine, name)
    for sentence in found:
        print(sentence)
    if not found:
        print(f"{len(chosen.files or files())} lessons are whole")
    return REFUSED if found else 0


def _new_lesson(chosen: argparse.Namespace) -> int:
    from strata.lessons import folder
    from strata.lessons.check import new

    path = folder() / f"{chosen.name}.toml"
    new(path)
    print(path)
    return 0


def _model(name: str | None) -> Any:
    from strata.model import load_model

    model = load_model(name or next(iter(catalogue())), progress=_progress())
    _clear_line()
    return model


def _added(texts: Any) -> str:
    """What a tokenizer puts around every text by itself, in words."""
    told = [
        f"{''.join(texts.decode(ids))!r} {where} every text"
        for ids, where in zip(texts.added, ("before", "after"), strict=True)
        if ids
    ]
    if texts.added[1]:
        told.append("what the model says at the end is about what follows that")
    return ", ".join(told) or "nothing to a text"


def _verdict(error: float, ok: bool, tolerance: float) -> str:
    return f"{'ok' if ok else 'refused'} (error {error:.2g}, at most {tolerance:g})"


def _progress() -> sources.Progress:
    """Print progress to standard error: one changing line on a terminal, else each new step."""
    last = ""

    def report(fraction: float, message: str) -> None:
        nonlocal last
        if sys.stderr.isatty():
            print(f"\r\x1b[K{fraction:4.0%}  {message}", end="", file=sys.stderr, flush=True)
        elif message != last:
            print(message, file=sys.stderr, flush=True)
        last = message

    return report


def _clear_line() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
