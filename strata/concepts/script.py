"""'Show the code': the opening that every concept's program shares, with plain transformers."""

from __future__ import annotations

import re
from typing import Any

RUN = """
def run_of(token_ids, **asked):
    # What enters the first block and what each block hands on, (L + 1, T, D), all of them before
    # the final norm; and what the model gives. By hooks: the last entry of transformers'
    # hidden_states has gone through the final norm, and those of some families begin a block late.
    states = []

    def keep(state):
        states.append(state.reshape(*token_ids.shape, -1)[0].clone())  # some write into it later

    def enter(module, args, kwargs):
        keep(args[0] if args else kwargs["hidden_states"])

    def leave(module, args, output):
        keep(output[0] if isinstance(output, (tuple, list)) else output)  # some give several

    blocks = model.get_submodule(BLOCKS)
    hooks = [blocks[0].register_forward_pre_hook(enter, with_kwargs=True)]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    try:
        with torch.inference_mode():
            output = model(token_ids, **asked)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(states), output
"""  # for a body that has BLOCKS

ALL_STATES = f"""{RUN}

raw, output = run_of(token_ids, output_hidden_states=True)
"""  # for a body that wants the states, `raw`, and `output`, whose last hidden state is normed

SAYS = """

def says(states):
    # (..., V) logits: what states would say if the model stopped there, by its own final norm and
    # head, and what its family does to logits.
    norm = model.get_submodule(NORM) if NORM else torch.nn.Identity()
    with torch.inference_mode():
        logits = LOGIT_SCALE * model.get_output_embeddings()(norm(states)).float()
    return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP else logits
"""  # for a body that has NORM, LOGIT_SCALE and LOGIT_CAP, as `logit_lens.modules` has them

SINK_RULE = """
def sinks_of(sizes):
    # Attention sinks of a text, by the norms (L + 1, T) of its states before the final norm: ten
    # times what is typical of a layer. That is the median, but from layer 2 on at most four times
    # what was typical before: most tokens may be sinks.
    typical = sizes.quantile(0.5, dim=1)
    for layer in range(2, len(typical)):
        if typical[layer - 1] > 0:
            typical[layer] = min(typical[layer], 4 * typical[layer - 1])
    far = (sizes >= 10 * typical[:, None])[typical > 0].any(dim=0)
    return far.nonzero().flatten().tolist()


"""

SINKS = """
sinks = sinks_of(raw.double().norm(dim=-1))
print(f"attention sinks: {sinks}")
left_out = ({0} if SKIP_FIRST else set()) | (set(sinks) if SKIP_SINKS else set())
left = [t for t in range(len(tokens)) if t not in left_out]
"""  # for a body that has `raw`, `tokens`, SKIP_FIRST and SKIP_SINKS; it gets `left`

TEXTS = """
def added(token_id, read):
    # What a token adds to the text so far. Alone it would lose the space that it begins with in
    # some tokenizers; a part of a character adds nothing that can be read until it is complete.
    known = tokenizer.decode(read).rstrip("\\ufffd")
    return tokenizer.decode([*read, token_id])[len(known) :]


def spelled(token_ids):
    # The text of each token; the last one of a character that is spread over several carries it.
    texts = [added(token_id, token_ids[:t]) for t, token_id in enumerate(token_ids)]
    return [text.rstrip("\\ufffd") for text in texts[:-1]] + texts[-1:]


"""  # for a body that shows tokens

CANDIDATES = """
def candidate(token_id, read):
    # What a token adds; a part of a character, which alone cannot be read, by its name.
    text = added(token_id, read)
    return tokenizer.convert_ids_to_tokens(token_id) if "\\ufffd" in text else text


"""  # after `TEXTS`, for a body that shows what may come next


NORM = "final_norm = model.get_submodule(NORM) if NORM else torch.nn.Identity()"

FINISH = """
class Finish(torch.nn.Module):
    # What this model does between its last block and its head is no single norm. It is asked of the
    # model itself, on one token: where the last block hands on its state, others are put.
    def forward(self, states):
        read = []

        def put(module, args, output):
            own = first(output)
            rows = states.to(own.dtype).reshape(1, -1, *own.shape[2:])
            several = isinstance(output, (tuple, list))
            return type(output)([rows, *output[1:]]) if several else rows

        hooks = [
            blocks[-1].register_forward_hook(put),
            head.register_forward_pre_hook(lambda module, args: read.append(args[0].float())),
        ]
        dtype = head.weight.dtype
        head.to(model.dtype)
        try:
            model(torch.zeros(1, 1, dtype=torch.int64), use_cache=False)
        finally:
            head.to(dtype)
            for hook in hooks:
                hook.remove()
        return read[0].reshape(*states.shape[:-1], -1)


final_norm = Finish()
""".strip()  # after `blocks`, `head` and `first`, where `final_norm` is no single module

RANDOM_BLOCKS = """
# The same model with random blocks: each matrix Gaussian with its own mean and deviation.
def is_drawn(name):  # norms, biases and a scan's rates of decay are no matrices, even as tables
    *_, within, own = ("", *name.split("."))
    return "norm" not in within.lower() and not own.endswith(("bias", "_log"))


learned, numbers = {}, {}
for block in model.get_submodule(BLOCKS):
    for path, weight in block.named_parameters():
        sides = [n for n in weight.shape if n > 1]
        if len(sides) > 1 and is_drawn(path) and id(weight) not in learned:
            values = weight.detach().double().reshape(-1, *sides[-2:]).numpy()
            moments = values.mean(axis=(1, 2)), values.std(axis=(1, 2))
            numbers[id(weight)] = len(numbers)
            learned[id(weight)] = weight, weight.detach().clone(), sides, moments


def draw_blocks(seed):
    for name, (weight, _, sides, (mean, deviation)) in learned.items():
        mixed = hashlib.sha256(f"{seed} {numbers[name]}".encode()).digest()[:4]
        generator = torch.Generator().manual_seed(int.from_bytes(mixed, "big"))
        matrix = torch.empty(len(mean), *sides[-2:]).normal_(generator=generator)
        mean, deviation = (torch.from_numpy(m).float()[:, None, None] for m in (mean, deviation))
        weight.data = matrix.mul_(deviation).add_(mean).reshape(weight.shape).to(weight)


def learned_blocks():
    for weight, own, _, _ in learned.values():
        weight.data = own
"""  # for a body that imports hashlib and has BLOCKS

FROZEN_NORM = """
def linear(norm, end):
    # A norm is weight * C(x) * scale(x) + bias; C takes the mean away or does nothing. With the
    # scale that it has at the states `end`, (..., D), it is linear. Ask it for weight, bias and C.
    signs = torch.ones(end.shape[-1])
    signs[1::2] = -1
    bias = norm(torch.zeros_like(signs))
    weight = (norm(1e4 * signs) - bias) * signs
    centred = torch.equal(norm(1e4 * torch.ones_like(signs)), bias)

    def unscaled(x):
        return weight * (x - x.mean(dim=-1, keepdim=True) if centred else x)

    right, flat = (norm(end) - bias).double(), unscaled(end).double()
    scale = (right * flat).sum(-1, keepdim=True) / (flat * flat).sum(-1, keepdim=True)
    return lambda part: unscaled(part) * scale.float(), bias


"""  # for a body that tells what parts of a state become behind a norm


def program(
    purpose: str,
    body: str,
    source: str,
    revision: str | None,
    prompt: str | None,
    dtype: str = "float32",
    **constants: Any,
) -> str:
    """A self-contained Python program: its purpose, its constants, the model, then `body`.

    `source` is a folder or a hub id, `revision` a commit of the latter. The body finds `torch`,
    `tokenizer`, `model`, `token_ids` (1, T) of the prompt, if there is one, and each of `constants`
    in capitals. Everything that a learner typed is written by `repr`, so it stays a value and never
    becomes code.
    """
    where = "SOURCE" if revision is None else "SOURCE, revision=REVISION"
    given = {"SOURCE": source, "REVISION": revision, "PROMPT": prompt}
    named = {name: value for name, value in given.items() if value is not None}
    named |= {name.upper(): value for name, value in constants.items()}
    values = "\n".join(f"{name} = {value!r}" for name, value in named.items())
    read = 'token_ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]  # (1, T)\n'
    return (
        f'"""{purpose}"""\n\n'
        "import torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"{values}\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({where})\n"
        f"model = AutoModelForCausalLM.from_pretrained({where}, dtype=torch.{dtype})\n"
        f"{'' if prompt is None else read}"
        f"\n{body.strip()}\n"
    )


def with_note(script: str, note: str) -> str:
    """The program with a comment above the line that names its model."""
    comment = "".join(f"# {line}\n" for line in note.split("\n"))
    return script.replace("\nSOURCE = ", f"\n{comment}SOURCE = ", 1)


def with_reader(program: str, reader: str) -> str:
    """A program that loads its model by another class of transformers, as a wrapper for pictures
    needs it; what a learner typed may name the usual one and stays as it is."""
    named = r"(?m)^(from transformers import |model = )AutoModelForCausalLM\b"
    return re.sub(named, rf"\1{reader}", program)
