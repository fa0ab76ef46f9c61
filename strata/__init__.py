"""Strata: what happens inside a language model, layer by layer.

>>> from strata.model import load_model
>>> model = load_model("smollm2-135m")
>>> trace = model.capture("The capital of France is")
>>> trace.hidden.shape
torch.Size([31, 5, 576])
"""

__version__ = "0.1.0"
