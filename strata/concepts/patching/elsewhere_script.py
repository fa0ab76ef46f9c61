"""'Show the code' of reading a state elsewhere: the body of its program."""

ELSEWHERE = """
other_ids = tokenizer(OTHER, return_tensors="pt")["input_ids"]  # (1, T2)
blocks = model.get_submodule(BLOCKS)
read = other_ids[0].tolist()
end = model.generation_config.eos_token_id
end = {tokenizer.eos_token_id, *(end if isinstance(end, list) else [end])}


def hook_of(layer, seen):
    # `seen` gets the state of a layer, and may give another for it.
    def enter(module, inputs, given):
        if inputs:
            return (seen(inputs[0]), *inputs[1:]), given
        return inputs, {**given, "hidden_states": seen(given["hidden_states"])}

    def leave(module, inputs, output):
        if isinstance(output, (tuple, list)):  # some families give more than the state
            return type(output)([seen(output[0]), *output[1:]])
        return seen(output)

    if layer == 0:
        return blocks[0].register_forward_pre_hook(enter, with_kwargs=True)
    return blocks[layer - 1].register_forward_hook(leave)


def go_on():
    # Greedily, with the cache: (token id, its probability) at each step.
    step, cache, wrote = other_ids, None, []
    with torch.inference_mode():
        while len(wrote) < N_TOKENS and not end & {token_id for token_id, _ in wrote}:
            output = model(step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            probs = output.logits[0, -1].double().softmax(dim=-1)  # (V,)
            wrote.append((probs.argmax().item(), probs.max().item()))
            step = torch.tensor([[wrote[-1][0]]])
    return wrote


def said(wrote):
    shown = [candidate(each, read + [i for i, _ in wrote[:n]]) for n, (each, _) in enumerate(wrote)]
    return f"{''.join(shown)!r}  (first {wrote[0][1]:.4f})"


kept = {}  # layer: the state at the chosen position
for layer in LAYERS:

    def keep(state):
        kept[layer] = state[0, POSITION].clone()
        return state

    hook = hook_of(layer, keep)
    try:
        with torch.inference_mode():
            model(token_ids)
    finally:
        hook.remove()

control, rows = go_on(), []
print(f"without a state put in: {said(control)}")
for layer in LAYERS:
    waits = [kept[layer]]  # put in once, while the text is read

    def put(state):
        if not waits:
            return state
        changed = state.clone()
        changed[0, AT] = waits.pop()
        return changed

    hook = hook_of(layer if INTO is None else INTO, put)
    try:
        rows.append((layer, go_on()))
    finally:
        hook.remove()
    print(f"state of layer {layer:3d}: {said(rows[-1][1])}")
"""
